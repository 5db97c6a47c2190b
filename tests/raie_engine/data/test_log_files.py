"""A log of several files: patterns, folders and partitions are one log, in the order of their paths."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from raie.engine.data.interactions import read_log
from raie.engine.data.readers import files
from raie.engine.data.readers.columns import Columns
from raie.engine.data.readers.files import stream_raw
from raie.engine.data.readers.timestamps import iso
from raie.engine.errors import InputError

ROWS = [("ann", "tea", 100), ("bob", "jam", 300), ("ann", "jam", 200), ("cat", "tea", 300), ("bob", "tea", 150)]
NAMES = ("user_id", "item_id", "timestamp")


def part(path: Path, rows, names=NAMES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)) if rows else {}
    if path.suffix == ".parquet":
        pa.parquet.write_table(pa.table(columns), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
    else:
        path.write_text("\n".join([",".join(names), *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_files_of_a_pattern_are_one_log_in_the_order_of_their_paths(tmp_path, kind):
    whole = read_log(part(tmp_path / "whole.csv", ROWS))
    # Written in another order than that of their names, which counts: rows 2 and 4 are of one second.
    for name, rows in (("b", ROWS[2:4]), ("c", ROWS[4:]), ("a", ROWS[:2])):
        part(tmp_path / "logs" / f"2026-{name}.{kind}", rows)
    part(tmp_path / "logs" / f"2025.{kind}", [("eve", "rye", 1)])
    (tmp_path / "logs" / f"_2026.{kind}").touch()
    log = read_log(tmp_path / "logs" / f"2026-*.{kind}")
    assert (log.digest, log.catalogue) == (whole.digest, whole.catalogue)
    streamed = stream_raw(tmp_path / "logs" / f"2026-?.{kind}", Columns(), with_rating=False)
    assert [at for some in streamed for at in some.timestamp.tolist()] == [at for _, _, at in ROWS]


@pytest.mark.parametrize(
    "pattern", ["logs", "logs/day=*", "logs/*/part-0.parquet", "logs/**/*.parquet", "logs/day=?"]
)
def test_folders_may_be_partitions_that_no_column_is(tmp_path, pattern):
    whole = read_log(part(tmp_path / "whole.csv", ROWS))
    for day, rows in ((1, ROWS[:2]), (2, ROWS[2:])):
        part(tmp_path / "logs" / f"day={day}" / "part-0.parquet", rows)
    (tmp_path / "logs" / "_SUCCESS").touch()
    assert read_log(tmp_path / pattern).digest == whole.digest


def test_the_name_of_a_partition_below_the_fixed_part_of_a_pattern_is_a_column(tmp_path):
    for day in ("2026-11-01", "2026-11-02"):
        part(tmp_path / "logs" / f"day={day}" / "p.parquet", [("ann", f"tea {day}")], NAMES[:2])
    log = read_log(tmp_path / "logs" / "day=2026-11-*", Columns(timestamp="day"))
    assert [iso(int(at))[:10] for at in log.timestamp] == ["2026-11-01", "2026-11-02"]
    one_day = tmp_path / "logs" / "day=2026-11-01" / "*.parquet"
    with pytest.raises(InputError, match="expected a column 'day'"):
        read_log(one_day, Columns(timestamp="day"))


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    part(tmp_path / "log1.csv", [("eve", "rye", 1)])
    path = part(tmp_path / "log[1].csv", ROWS)
    assert len(read_log(path)) == len(ROWS)


@pytest.mark.parametrize(
    ("kind", "rows", "names", "words"),
    [
        ("csv", ROWS, ("who", "item_id", "timestamp"), "b.csv: expected a column 'user_id'"),
        ("csv", [("ann", "tea", "2026-11-01")], NAMES, "b.csv: expected columns of the types in"),
        (
            "csv",
            [*ROWS, ("ann", "", 7)],
            NAMES,
            "b.csv: item_id: expected item ids in every row, found none in row 6",
        ),
        ("csv", [("ann", "tea", 10**12)], NAMES, "b.csv: timestamp: expected epoch seconds .* in row 1"),
        ("parquet", [(1, "tea", 5)], NAMES, "b.parquet: expected columns of the types in .* found user int64"),
        ("jsonl", [(1, "tea", 5)], NAMES, "b.jsonl: expected columns of the types in .* found user int64"),
        ("parquet", [("ann", "tea")], NAMES[:2], "b.parquet: expected a column 'timestamp'"),
    ],
)
def test_the_file_that_is_unlike_the_others_is_named(tmp_path, kind, rows, names, words):
    part(tmp_path / f"a.{kind}", ROWS)
    part(tmp_path / f"b.{kind}", rows, names)
    part(tmp_path / f"c.{kind}", ROWS)
    with pytest.raises(InputError, match=words) as refused:
        read_log(tmp_path / f"*.{kind}", duplicates="keep")
    assert "\n" not in str(refused.value)


def test_a_file_that_vanishes_is_named(tmp_path, monkeypatch):
    for name in "abc":
        part(tmp_path / f"{name}.csv", ROWS)
    checked = files.checked_files

    def vanishing(path):
        listed = checked(path)
        (tmp_path / "b.csv").unlink(missing_ok=True)
        return listed

    monkeypatch.setattr(files, "checked_files", vanishing)
    with pytest.raises(InputError, match=r"b\.csv: expected a readable csv log, found: .*No such file"):
        read_log(tmp_path / "*.csv")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("*.tsv", "expected files of this pattern, found none; check the path"),
        ("*", r"log.jsonl: expected a .csv like .*a.csv, found '.jsonl'; name files of one kind"),
        ("em*.csv", "empty.csv: expected interactions, found an empty file"),
        ("head*.csv", "head.*csv: expected interactions, found a header and no rows"),
        ("*.txt", "note.txt: expected a log named .csv"),
    ],
)
def test_a_pattern_that_names_no_log_is_refused(tmp_path, name, words):
    part(tmp_path / "a.csv", ROWS)
    part(tmp_path / "head1.csv", [])
    part(tmp_path / "head2.csv", [])
    part(tmp_path / "log.jsonl", ROWS)
    (tmp_path / "empty.csv").touch()
    (tmp_path / "note.txt").write_text("-")
    with pytest.raises(InputError, match=words):
        read_log(tmp_path / name)


def test_a_file_without_rows_among_others_adds_none(tmp_path):
    part(tmp_path / "a.csv", [])
    part(tmp_path / "b.csv", ROWS)
    assert len(read_log(tmp_path / "*.csv")) == len(ROWS)


def test_an_address_is_no_log_on_this_machine():
    with pytest.raises(
        InputError, match=r"expected a log on this machine, found s3://bucket/log\.parquet: copy it here"
    ):
        read_log("s3://bucket/log.parquet")


def test_columns_spelt_otherwise_in_a_later_file_are_read_where_their_values_are_alike(tmp_path):
    part(tmp_path / "a.csv", ROWS)
    part(tmp_path / "b.csv", [("eve", "rye", 400)], ("USER_ID", "item_id", "timestamp"))
    assert len(read_log(tmp_path / "*.csv")) == len(ROWS) + 1
    part(tmp_path / "b.csv", [("eve", "rye", 400)], ("user_id ", "item_id", "timestamp"))
    with pytest.raises(InputError, match=r"b.csv: expected the columns of .*a.csv"):
        read_log(tmp_path / "*.csv")
