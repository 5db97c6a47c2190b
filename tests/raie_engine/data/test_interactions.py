"""Reading a log: one recorded order, one digest, ids that keep their rows."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raie.engine.data.catalogue import Catalogue
from raie.engine.data.interactions import Interactions, between, cut_time, late_rows, read_log, watermark
from raie.engine.data.readers.columns import Columns
from raie.engine.data.watermark import Watermark
from raie.engine.errors import DamagedArtifact, InputError, UnknownItem

# user, item, rating, timestamp; not in time order, with one tie (rows 2 and 4) and a repeat visit.
ROWS = [
    ("ann", "tea", 5, 100),
    ("bob", "jam", 4, 300),
    ("ann", "jam", 2, 200),
    ("cat", "tea", 3, 300),
    ("bob", "tea", 5, 150),
    ("ann", "rye", 4, 400),
]


def csv_log(path: Path, rows=ROWS, header="user_id,item_id,rating,timestamp") -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def external(log: Interactions) -> list[tuple[str, str, int]]:
    items = log.catalogue.item_ids(log.item)
    return [(log.catalogue.users[u], i, int(t)) for u, i, t in zip(log.user, items, log.timestamp, strict=True)]


def write_as(kind: str, path: Path, rows, columns=("user_id", "item_id", "rating", "timestamp")) -> Path:
    path = path.with_suffix("." + kind)
    table = pa.table(
        {name: pa.array(list(values)) for name, values in zip(columns, zip(*rows, strict=True), strict=True)}
    )
    if kind == "csv":
        pa.csv.write_csv(table, path)
    elif kind == "parquet":
        pa.parquet.write_table(table, path, row_group_size=2)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    else:
        path.write_text("".join("::".join(map(str, row)) + "\n" for row in rows))
    return path


KINDS = ("csv", "parquet", "jsonl", "dat")


def test_rows_are_sorted_by_time_and_ties_keep_the_order_of_the_file(tmp_path):
    log = read_log(csv_log(tmp_path / "log.csv"))
    assert external(log) == [
        ("ann", "tea", 100),
        ("bob", "tea", 150),
        ("ann", "jam", 200),
        ("bob", "jam", 300),
        ("cat", "tea", 300),
        ("ann", "rye", 400),
    ]
    assert log.catalogue == Catalogue(("ann", "bob", "cat"), ("tea", "jam", "rye"))
    assert log.user.dtype == log.item.dtype == np.int32
    assert log.timestamp.dtype == np.int64


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_same_interactions_and_digest(tmp_path, kind):
    expected = read_log(csv_log(tmp_path / "expected.csv"))
    log = read_log(write_as(kind, tmp_path / "log", ROWS))
    assert external(log) == external(expected)
    assert log.digest == expected.digest


@pytest.mark.parametrize("kind", KINDS)
def test_integer_ids_are_the_same_ids_as_their_text(tmp_path, kind):
    rows = [(7, 30, 5, 1), (8, 30, 5, 2), (7, 31, 5, 3)]
    log = read_log(write_as(kind, tmp_path / "log", rows))
    assert log.catalogue == Catalogue(("7", "8"), ("30", "31"))


def test_ids_that_look_like_missing_values_numbers_or_dates_stay_what_they_are(tmp_path):
    rows = [("NA", "007", 1, 1), ("null", "2010-01-01", 1, 2), ("nan", "1e3", 1, 3)]
    for kind in KINDS:
        log = read_log(write_as(kind, tmp_path / "log", rows))
        assert log.catalogue == Catalogue(("NA", "null", "nan"), ("007", "2010-01-01", "1e3")), kind


def test_a_float_column_of_whole_ids_gives_whole_ids(tmp_path):
    table = pa.table({"user_id": [1.0, 2.0], "item_id": pa.array([5, 6], pa.uint8()), "timestamp": [1, 2]})
    pa.parquet.write_table(table, tmp_path / "log.parquet")
    assert read_log(tmp_path / "log.parquet").catalogue == Catalogue(("1", "2"), ("5", "6"))


def test_a_categorical_parquet_column_is_read_like_a_plain_one(tmp_path):
    users = pa.array([3, 3, 4]).dictionary_encode()
    table = pa.table(
        {"user_id": users, "item_id": pa.array(["a", "b", "a"]).dictionary_encode(), "timestamp": [1, 2, 3]}
    )
    pa.parquet.write_table(table, tmp_path / "log.parquet")
    assert read_log(tmp_path / "log.parquet").catalogue == Catalogue(("3", "4"), ("a", "b"))


@pytest.mark.parametrize(
    "spelling",
    [
        "1288915200",
        "1288915200.75",
        "2010-11-05",
        "2010-11-05 00:00:00",
        "2010-11-05T00:00:00Z",
        "2010-11-05T02:00:00+02:00",
    ],
)
def test_seconds_and_iso_times_mean_the_same_instant(tmp_path, spelling):
    alone = csv_log(tmp_path / "alone.csv", [("a", "x", spelling)], "user_id,item_id,timestamp")
    mixed = csv_log(tmp_path / "mixed.csv", [("a", "x", spelling), ("a", "x", "2010-11-06"), ("a", "y", "1288915201")],
                    "user_id,item_id,timestamp")  # fmt: skip
    assert read_log(alone).timestamp.tolist() == [1288915200]
    assert read_log(mixed).timestamp[0] == 1288915200


def test_parquet_instants_become_seconds(tmp_path):
    times = pa.array([1_500, 2_900], pa.timestamp("ms", "Europe/Paris"))
    pa.parquet.write_table(
        pa.table({"user_id": [1, 1], "item_id": [1, 2], "timestamp": times}), tmp_path / "log.parquet"
    )
    assert read_log(tmp_path / "log.parquet").timestamp.tolist() == [1, 2]


def test_columns_are_named_by_option(tmp_path):
    path = csv_log(tmp_path / "log.csv", header="who,what,stars,moment")
    log = read_log(path, Columns("who", "what", "moment", "stars"), min_rating=4)
    assert [item for _, item, _ in external(log)] == ["tea", "tea", "jam", "rye"]


def test_the_catalogue_holds_only_what_the_threshold_keeps(tmp_path):
    log = read_log(csv_log(tmp_path / "log.csv"), min_rating=5)
    assert log.catalogue == Catalogue(("ann", "bob"), ("tea",))


def test_an_older_catalogue_keeps_its_rows_and_new_ids_append_in_order_of_first_appearance(tmp_path):
    older = Catalogue(("zoe", "bob"), ("rye", "old"))
    log = read_log(csv_log(tmp_path / "log.csv"), catalogue=older)
    assert log.catalogue == Catalogue(("zoe", "bob", "ann", "cat"), ("rye", "old", "tea", "jam"))
    plain = read_log(csv_log(tmp_path / "log.csv"))
    assert external(log) == external(plain)
    assert log.digest == plain.digest  # the digest knows nothing of row numbers


@pytest.mark.parametrize(("choice", "rows"), [("keep", 7), ("drop", 6)])
def test_duplicates_are_kept_or_dropped_by_option(tmp_path, choice, rows):
    path = csv_log(tmp_path / "log.csv", [*ROWS, ROWS[1]])
    assert len(read_log(path, duplicates=choice)) == rows


def test_dropping_duplicates_gives_the_log_without_them(tmp_path):
    with_copies = csv_log(tmp_path / "copies.csv", [row for row in ROWS for _ in range(3)])
    assert read_log(with_copies, duplicates="drop").digest == read_log(csv_log(tmp_path / "log.csv")).digest


def test_the_digest_changes_with_an_id_a_time_or_the_order_of_ties(tmp_path):
    digests = {read_log(csv_log(tmp_path / "log.csv")).digest}
    for row in range(len(ROWS)):
        user, item, rating, time = ROWS[row]
        for changed in (("eve", item, rating, time), (user, "fig", rating, time), (user, item, rating, time + 1)):
            digests.add(read_log(csv_log(tmp_path / "log.csv", [*ROWS[:row], changed, *ROWS[row + 1 :]])).digest)
    swapped = [ROWS[3] if row == ROWS[1] else ROWS[1] if row == ROWS[3] else row for row in ROWS]
    digests.add(read_log(csv_log(tmp_path / "log.csv", swapped)).digest)
    assert len(digests) == 2 + 3 * len(ROWS)


EVENTS = st.lists(
    st.tuples(st.sampled_from("abcde"), st.sampled_from("vwxyz"), st.just(1), st.integers(0, 10**9)),
    min_size=1,
    max_size=30,
    unique_by=lambda row: row[3],
)


@settings(max_examples=40, deadline=None)
@given(rows=EVENTS, seed=st.integers(0, 99))
def test_the_digest_survives_another_format_and_another_row_order(tmp_path_factory, rows, seed):
    folder = tmp_path_factory.mktemp("logs")
    shuffled = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]
    logs = [read_log(write_as(kind, folder / kind, some)) for some in (rows, shuffled) for kind in KINDS]
    assert len({log.digest for log in logs}) == 1
    assert len({tuple(external(log)) for log in logs}) == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.lists(st.text(max_size=3)), st.lists(st.text(max_size=3))), max_size=5))
def test_a_catalogue_is_the_sum_of_its_chunks_and_never_moves_a_row(steps):
    states = [Catalogue()]
    for users, items in steps:
        states.append(states[-1].extend(users, items))
    chunks = [new.chunk_since(old) for old, new in pairwise(states)]
    assert Catalogue.from_chunks(chunks) == states[-1]
    for old in states:
        assert states[-1].items[: len(old.items)] == old.items
        assert states[-1].item_rows(old.items).tolist() == list(range(1, len(old.items) + 1))
        assert states[-1].user_rows(old.users).tolist() == list(range(len(old.users)))


def test_chunks_that_are_missing_or_damaged_are_refused():
    first = Catalogue(("a",), ("x",))
    second = first.extend((), ("y",))
    chunks = [first.chunk_since(Catalogue()), second.chunk_since(first)]
    with pytest.raises(DamagedArtifact, match="missing or out of order"):
        Catalogue.from_chunks(chunks[1:])
    with pytest.raises(DamagedArtifact, match="chunk 2 of 2 is not one"):
        Catalogue.from_chunks([chunks[0], b"{"])
    with pytest.raises(DamagedArtifact, match="twice"):
        Catalogue.from_chunks([chunks[0], chunks[1].replace(b"y", b"x")])
    with pytest.raises(InputError, match="extends the older one"):
        second.chunk_since(Catalogue((), ("other",)))


def test_an_unknown_id_is_named():
    known = Catalogue(("a",), ("x", "7"))
    assert known.item_rows(["7", 7, "x"]).tolist() == [2, 2, 1]
    with pytest.raises(UnknownItem, match="item 'q' and 1 more not in the catalogue of 2 items"):
        known.item_rows(["x", "q", "r"])
    with pytest.raises(InputError, match="user 'b' not in the catalogue of 1 users"):
        known.user_rows(["b"])


def test_between_takes_what_is_after_the_first_time_up_to_and_including_the_second(tmp_path):
    log = read_log(csv_log(tmp_path / "log.csv"))
    assert between(log, 150, 300).timestamp.tolist() == [200, 300, 300]
    assert len(between(log, None, 99)) == len(between(log, 400, None)) == len(between(log, 300, 150)) == 0
    assert between(log, None, None).digest == log.digest
    assert between(log, 150, 300).catalogue is log.catalogue


@pytest.mark.parametrize(
    ("at", "seconds"),
    [
        ("0.5", 250),
        ("1234", 1234),
        ("1970-01-02", 86400),
        ("1970-01-01T00:01:00Z", 60),
        ("1970-01-01T01:00+01:00", 0),
    ],
)
def test_a_cut_is_a_quantile_a_date_or_seconds(tmp_path, at, seconds):
    assert cut_time(read_log(csv_log(tmp_path / "log.csv")), at) == seconds


@pytest.mark.parametrize("at", ["1.5", "0.0", "-1", "yesterday", "", "nan"])
def test_a_cut_that_means_nothing_is_refused(tmp_path, at):
    with pytest.raises(InputError, match="expected a quantile between 0 and 1"):
        cut_time(read_log(csv_log(tmp_path / "log.csv")), at)


def test_rows_that_come_in_behind_the_watermark_are_counted(tmp_path):
    log = read_log(csv_log(tmp_path / "log.csv"))
    mark = watermark(log, 200)
    assert mark == Watermark(200, 3)
    assert Watermark.from_bytes(mark.to_bytes()) == mark
    assert watermark(log) == Watermark(400, 6)
    assert watermark(log, 10**9) == Watermark(400, 6), "what may still come before that time is not consumed"
    assert late_rows(log, mark) == 0
    assert late_rows(read_log(csv_log(tmp_path / "late.csv", [*ROWS, ("dan", "tea", 5, 120)])), mark) == 1
    assert late_rows(between(log, 200, None), mark) == 0
    with pytest.raises(DamagedArtifact, match="watermark"):
        Watermark.from_bytes(b"[]")


def test_reading_a_log_does_not_import_torch_or_pandas(tmp_path):
    path = csv_log(tmp_path / "log.csv")
    code = (
        "import sys; from raie.engine.data.interactions import read_log; "
        "import raie.engine.data.describe, raie.engine.data.synthetic; "
        f"read_log({str(path)!r}, min_rating=4); sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
