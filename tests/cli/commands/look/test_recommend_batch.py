"""Answers of many users in a file: the same lists as one by one, whole or not at all, and resumed after a kill."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raie.batch import users_of_log
from raie.batch.block import BLOCK_USERS
from raie.batch.run import recommend_batch
from raie.batch.users_of_log import UsersOfLog
from raie.engine.errors import InputError
from raie.engine.executor import LOCAL
from raie.errors import RaieError, UsageError
from raie.snapshots.recommend import Recommendation
from raie.snapshots.snapshot_view import SnapshotView
from raie.workspace_file import find
from tests.cli.conftest import Raie
from tests.cli.trained import CONFIG, LOG, MODEL
from tests.raie_engine.travelling import TravellingExecutor

OUT = "out.parquet"
PATIENCE_S = 120.0
HISTORIES = {
    "ada": ["t0-core-00", "never seen", "t0-core-01"],
    "bob": ["t1-core-03"],
    'c"é\n': [],
    "dan": ["never seen"],
    "7": ["t2-core-01"] * 30 + ["t0-core-00"],
}

Row = tuple[Any, ...]


def rows_of(answers: tuple[Recommendation, ...]) -> list[Row]:
    """What the command for single users says, as rows of a batch."""
    return [
        (a.user, rank, best.item, best.score, a.region, a.ignored, a.region is None)
        for a in answers
        for rank, best in enumerate(a.items, start=1)
    ]


def written(path: Path | str) -> list[Row]:
    """The rows of a batch's file, scores as doubles."""
    path = Path(path)
    if path.suffix == ".parquet":
        rows = [tuple(row.values()) for row in pq.read_table(path).to_pylist()]
    elif path.suffix == ".jsonl":
        rows = [tuple(json.loads(line).values()) for line in path.read_text(encoding="utf-8").splitlines()]
    else:
        frame = pd.read_csv(path, dtype={"user": str, "item": str, "region": "Int64"})
        rows = [tuple(None if value is pd.NA else value for value in row) for row in frame.itertuples(index=False)]
    return rows


def as_file(path: Path, histories: dict[str, list[str]]) -> Path:
    """Histories as a file of the kind that its name says."""
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"user_id": list(histories), "items": list(histories.values())}), path)
    elif path.suffix == ".csv":
        pd.DataFrame({"user": list(histories), "items": map(",".join, histories.values())}).to_csv(
            path, index=False
        )
    else:
        lines = [json.dumps({"user": user, "items": items}) + "\n" for user, items in histories.items()]
        path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def head(ready: Path) -> SnapshotView:
    """The head of a small trained model, in the current folder."""
    return find(ready)["head"]


@pytest.mark.parametrize("exclude_seen", [None, True, False])
def test_every_user_of_a_log_gets_the_list_of_the_command_for_one(
    head: SnapshotView, exclude_seen: bool | None
) -> None:
    result = head.recommend_batch(OUT, 7, all_users=LOG, exclude_seen=exclude_seen)
    single = rows_of(head.recommendations(LOG, 7, exclude_seen=exclude_seen))
    assert sorted(written(OUT)) == sorted(single)
    assert (result.users, result.rows, result.cold) == (CONFIG.users, len(single), 0)
    assert result.ignored == sum({row[0]: row[5] for row in single}.values()) > 0


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_histories_get_the_list_of_the_command_for_one_whatever_the_kinds(head: SnapshotView, kind: str) -> None:
    single = rows_of(
        tuple(head.recommendations({user: items or ["?"]}, 5)[0] for user, items in HISTORIES.items())
    )
    single = [
        row if row[0] != 'c"é\n' else (*row[:5], 0, True) for row in single
    ]  # one was asked for to stand for none
    file = as_file(Path(f"in.{kind}"), HISTORIES)
    for output in ("parquet", "csv", "jsonl"):
        result = head.recommend_batch(f"out.{output}", 5, histories=file)
        assert written(f"out.{output}") == single
        assert (result.users, result.cold, result.ignored) == (5, 2, 2)


def test_the_metadata_says_which_snapshot_answered_what_with_which_options(head: SnapshotView) -> None:
    file = as_file(Path("in.jsonl"), HISTORIES)
    for output in (OUT, "out.csv"):
        head.recommend_batch(output, 5, histories=file, exclude_seen=True)
    metadata = pq.read_schema(OUT).metadata
    facts = {
        key.decode().removeprefix("raie."): value.decode() for key, value in metadata.items() if b"raie." in key
    }
    assert facts == json.loads(Path("out.csv.meta.json").read_text(encoding="utf-8"))
    assert (facts["snapshot"], facts["model"], facts["users"], facts["cold"]) == (head.id, MODEL, "5", "2")
    assert json.loads(facts["options"]) == {"top": 5, "exclude_seen": True, "user_column": None}
    kinds = {field.name: str(field.type) for field in pq.read_schema(OUT)}
    assert kinds == {
        "user": "string", "rank": "int32", "item": "string", "score": "float", "region": "int32", "ignored": "int32",
        "cold": "bool",
    }  # fmt: skip


def test_a_log_dealt_out_to_many_files_gives_the_same_lists(
    head: SnapshotView, monkeypatch: pytest.MonkeyPatch
) -> None:
    head.recommend_batch(OUT, 3, all_users=LOG)
    monkeypatch.setattr(users_of_log, "_FILE_BYTES", Path(LOG).stat().st_size // 6)
    pd.read_csv(LOG).to_parquet("log.parquet")
    Path("log.csv.gz").write_bytes(gzip.compress(Path(LOG).read_bytes()))
    for log in (LOG, "log.parquet", "log.csv.gz"):
        head.recommend_batch("many.parquet", 3, all_users=log, replace=True)
        assert sorted(written("many.parquet")) == sorted(written(OUT))


def test_rows_of_a_log_are_dropped_and_refused_as_everywhere(head: SnapshotView) -> None:
    frame = pd.read_csv(LOG)
    pd.concat([frame, frame.iloc[100:103]]).to_csv("twice.csv", index=False)
    with pytest.raises(InputError) as everywhere:
        head.recommendations("twice.csv")
    with pytest.raises(InputError) as refused:
        head.recommend_batch(OUT, all_users="twice.csv")
    assert str(refused.value) == str(everywhere.value)
    head.recommend_batch(OUT, all_users="twice.csv", reading={"duplicates": "drop"})
    assert sorted(written(OUT)) == sorted(rows_of(head.recommendations(LOG)))


BAD_ROWS = {
    "no user": ({"user": [None], "items": [["a"]]}, "a user id, found an empty one in row 2"),
    "no items": ({"user": ["x"], "items": [None]}, "a list of item ids, found none in row 2"),
    "no item": ({"user": ["x"], "items": [["a", None]]}, "a list of item ids, found an empty one in row 2"),
    "a time too few": (
        {"user": ["x"], "items": [["a", "b"]], "times": [[1]]},
        "a time in epoch seconds for each item, found 1 for 2 in row 2",
    ),
}


@pytest.mark.parametrize("bad", BAD_ROWS)
def test_a_bad_row_is_named_and_nothing_is_written(head: SnapshotView, bad: str) -> None:
    columns, words = BAD_ROWS[bad]
    good = {"user": ["w"], "items": [["a"]], "times": [[1]]}
    before = sorted(os.listdir())
    pq.write_table(pa.table({name: [*good[name], *values] for name, values in columns.items()}), "in.parquet")
    with pytest.raises(InputError, match=f"in.parquet: expected {words}"):
        head.recommend_batch(OUT, histories="in.parquet")
    assert sorted(os.listdir()) == sorted([*before, "in.parquet"])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"user": "x", "items": "a,b"}', 'a list of item ids, found "a,b" in row 2'),
        ('{"user": 1.5, "items": []}', "a user id, found 1.5 in row 2"),
        ('{"user": "x"', "one JSON object per line, found in row 2"),
        ("[1]", "one JSON object per line, found in row 2"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_written(head: SnapshotView, line: str, words: str) -> None:
    Path("in.jsonl").write_text(f'{{"user": "w", "items": [3]}}\n{line}\n', encoding="utf-8")
    with pytest.raises(InputError, match=f"in.jsonl: expected {words}"):
        head.recommend_batch(OUT, histories="in.jsonl")
    assert not [name for name in os.listdir() if name.startswith((".out", "out"))]


def test_what_is_no_file_of_histories_or_no_place_for_answers_is_refused_before_the_work(
    head: SnapshotView,
) -> None:
    file = as_file(Path("in.csv"), HISTORIES)
    Path("bad.parquet").write_bytes(b"PAR1 and more")
    Path("cut.csv").write_bytes(gzip.compress(bytes(file.read_bytes()) * 100)[:-20])
    for source in ("bad.parquet", "cut.csv"):
        with pytest.raises(InputError, match=f"{source}: expected readable histories"):
            head.recommend_batch(OUT, histories=source)
    for source, words in (("none.csv", "nothing"), (".", "''"), ("in.txt", "'.txt'"), (LOG, "--all-users")):
        with pytest.raises(InputError, match=words):
            head.recommend_batch(OUT, histories=source)
    with pytest.raises(RaieError, match=r"named \.parquet, \.csv or \.jsonl"):
        head.recommend_batch("out.txt", histories=file)
    Path(OUT).write_bytes(b"mine")
    with pytest.raises(RaieError, match=OUT):
        head.recommend_batch(OUT, histories=file)
    assert Path(OUT).read_bytes() == b"mine"
    head.recommend_batch(OUT, histories=file, replace=True)
    assert len(written(OUT)) == 50
    with pytest.raises(UsageError):
        head.recommend_batch("other.csv", histories=file, all_users=LOG)


def many(path: Path, view: SnapshotView, users: int) -> Path:
    """Histories of many users, random ones."""
    generator, items = np.random.default_rng(7), np.array(view._view.catalogue.items)
    size = generator.integers(0, 6, users)
    of_user = np.split(items[generator.integers(0, len(items), size.sum())], np.cumsum(size)[:-1])
    return as_file(path, {f"u{number}": list(map(str, mine)) for number, mine in enumerate(of_user)})


def running(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "raie.cli.main", "--workspace", str(folder), "recommend", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(is_reached: Callable[[], object], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not is_reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_killed_batch_goes_on_where_it_was_and_ends_with_the_same_bytes(
    raie: Raie, ready: Path, head: SnapshotView
) -> None:
    file = many(Path("in.parquet"), head, 2 * BLOCK_USERS + 100)
    asked = ("--input", str(file), "--top", "3", "--output")
    process = running(ready, *asked, OUT)
    try:
        wait_for(lambda: list(ready.glob(".out.parquet.raie-*/*.part")), process)
        process.send_signal(signal.SIGKILL)
    finally:
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == -signal.SIGKILL
    assert not Path(OUT).exists()
    (work,) = ready.glob(".out.parquet.raie-*")
    damaged = work / "00000001-0.part"
    damaged.write_bytes(b"of a disk that lies")
    resumed = raie("recommend", *asked, OUT, "--json")
    assert resumed.code == 0
    assert BLOCK_USERS <= resumed.json["resumed"] < resumed.json["users"] == 2 * BLOCK_USERS + 100
    whole = raie("recommend", *asked, "whole.parquet", "--json")
    assert whole.json["resumed"] == 0
    assert Path(OUT).read_bytes() == Path("whole.parquet").read_bytes()
    assert not list(ready.glob(".*.raie-*"))


def test_the_command_takes_one_source_and_an_output(raie: Raie, ready: Path) -> None:
    ran = raie("recommend", LOG, "--all-users", "--output", "out.csv", "--top", "2")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(
        f"{2 * CONFIG.users} rows for {CONFIG.users} users, none of them cold, in out.csv by "
    )
    for words in (
        ["--all-users", "--output", OUT],
        [LOG, "--output", OUT],
        [LOG, "--all-users"],
        [LOG, "--all-users", "--user", "u00001", "--output", OUT],
        [LOG, "--input", "in.csv", "--output", OUT],
        ["--input", "in.csv", "--separator", "tab", "--output", OUT],
    ):
        assert raie("recommend", *words).code == 2
    assert raie("recommend", LOG, "--all-users", "--output", "out.csv").code == 1
    assert raie("recommend", "--input", "no.csv", "--output", OUT).code == 3


def test_titles_are_a_column_where_the_snapshot_knows_some(head: SnapshotView) -> None:
    catalogue = head._view.catalogue
    head._view.__dict__["catalogue"] = catalogue.with_titles({"t0-core-00": 'The "first"'}, since=0)
    file = as_file(Path("in.jsonl"), {"ada": ["t1-core-03"]})
    for output in (OUT, "out.jsonl"):
        head.recommend_batch(output, len(catalogue.items), histories=file)
        titles = {row[2]: row[7] for row in written(output)}
        assert titles["t0-core-00"] == 'The "first"'
        assert {title for item, title in titles.items() if item != "t0-core-00"} == {None}


def test_cold_users_of_a_snapshot_without_a_mixture_are_counted_and_have_no_row(head: SnapshotView) -> None:
    head._view.__dict__["mixtures"] = {}
    result = head.recommend_batch(OUT, 5, histories=as_file(Path("in.csv"), HISTORIES))
    assert (result.users, result.cold, {row[0] for row in written(OUT)}) == (5, 2, {"ada", "bob", "7"})


def test_two_batches_for_one_output_never_meet_and_unfinished_ones_are_deleted(
    head: SnapshotView, ready: Path
) -> None:
    file = as_file(Path("in.jsonl"), HISTORIES)

    def stops(stage: str, done: int, total: int) -> None:
        if stage == "recommending":
            raise KeyboardInterrupt

    for k in (3, 4):
        with pytest.raises(KeyboardInterrupt):
            head.recommend_batch(OUT, k, histories=file, progress=stops)
    first, second = sorted(ready.glob(".out.parquet.raie-*"))

    def meets_another(stage: str, done: int, total: int) -> None:
        if stage == "recommending":
            head.recommend_batch(OUT, 3, histories=file)

    with pytest.raises(RaieError, match="another process"):
        head.recommend_batch(OUT, 3, histories=file, progress=meets_another)
    assert sorted(ready.glob(".out.parquet.raie-*")) == [first, second]
    assert head.recommend_batch(OUT, 3, histories=file).resumed == 5
    assert not list(ready.glob(".out.parquet.raie-*"))


def test_blocks_that_are_answered_elsewhere_and_out_of_order_make_the_file_of_this_process(
    head: SnapshotView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users_of_log, "BLOCK_USERS", 50)
    executor = TravellingExecutor()
    for output, runner in (("here.csv", LOCAL), ("there.csv", executor)):
        recommend_batch(
            head._view,
            head.snapshot,
            UsersOfLog(Path(LOG), {}),
            Path(output),
            5,
            executor=runner,
            exclude_seen=None,
        )
    assert Path("there.csv").read_bytes() == Path("here.csv").read_bytes()
    assert len(executor.ran) == -(-CONFIG.users // 50)


def test_an_input_that_changes_meanwhile_is_refused_and_nothing_is_written(
    head: SnapshotView, ready: Path
) -> None:
    file = as_file(Path("in.jsonl"), HISTORIES)

    def changes(stage: str, done: int, total: int) -> None:
        if stage == "recommending":
            as_file(file, {"another": []})

    with pytest.raises(InputError, match="changed meanwhile"):
        head.recommend_batch(OUT, 3, histories=file, progress=changes)
    assert not [path.name for path in ready.iterdir() if "out.parquet" in path.name]
