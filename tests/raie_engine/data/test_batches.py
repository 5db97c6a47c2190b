"""A log that is read some rows at a time is the log read whole: the same rows, the same notes, the same refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raie.engine import arrays
from raie.engine.data import interactions
from raie.engine.data.interactions import read_log
from raie.engine.data.readers import delimited, files, gathered, jsonl
from raie.engine.data.readers.columns import Columns
from raie.engine.data.readers.gathered import NotPlain
from raie.engine.data.readers.parquet import stream_parquet
from raie.engine.errors import InputError

NAMES = ("user_id", "item_id", "timestamp", "rating")
_ids = st.sampled_from(["ann", "bob", "7", "7.0", "NA", "x y", "long name of somebody", "007"])
_odd_ids = st.sampled_from(["ann", "bob", "", "a,b", 'say "hi"', "two\nlines", "z\u00e4h", " ann"])
_seconds = st.integers(1_700_000_000, 1_700_000_009)
_times = st.sampled_from(
    [
        _seconds,
        st.integers(0, 9),
        _seconds.map(float) | _seconds.map(lambda at: at + 0.5),
        _seconds | _seconds.map(lambda at: at + 0.5),
        st.integers(10, 28).map(lambda day: f"2024-01-{day}"),
        st.integers(10, 28).map(lambda day: 20240100 + day),
        st.integers(10, 28).map(lambda day: f"2024-01-{day}T10:00:00Z"),
        st.sampled_from(["2024-01-10", "2024-01-10 11:12:13", "2024-01-10T11:12:13.5", "1704888733"]),
        _seconds.map(lambda at: at * 1000),
        _seconds | st.sampled_from(["", "soon", "-5", "NaN"]),
    ]
)


_ratings = st.sampled_from([st.integers(1, 5), st.sampled_from([1, 2.5, 4]), st.sampled_from([3, "", "good"])])
_columns = st.tuples(st.sampled_from([_ids, _ids, _ids, _odd_ids]), _times, _ratings)
_logs = _columns.flatmap(lambda kinds: st.lists(st.tuples(kinds[0], *kinds), min_size=1, max_size=40))


def _quoted(value: Any) -> str:
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n') else text


def _written(kind: str, path: Path, rows: list[tuple[Any, ...]]) -> Path:
    if kind == "parquet":
        columns = [list(column) for column in zip(*rows, strict=True)]
        mixed = [
            column if len({type(value) for value in column}) == 1 else list(map(str, column)) for column in columns
        ]
        pa.parquet.write_table(pa.table(dict(zip(NAMES, mixed, strict=True))), path, row_group_size=7)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(dict(zip(NAMES, row, strict=True))) + "\n" for row in rows))
    else:
        path.write_text("\n".join(",".join(map(_quoted, row)) for row in [NAMES, *rows]) + "\n")
    return path


def _read(path: Path, **options: Any) -> Any:
    """Everything that a log says, or how it is refused."""
    try:
        log = read_log(path, Columns(rating="rating"), **options)
    except InputError as error:
        return str(error)
    times = log.timestamp.tolist()
    return log.user.tolist(), log.item.tolist(), times, log.catalogue, log.digest, log.reading


def _in_small_batches(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(delimited, "_BLOCK_BYTES", 100)
    patch.setattr(jsonl, "_BLOCK_BYTES", 300)
    patch.setattr(gathered, "_ENCODED_ROWS", 3)
    patch.setattr(gathered, "_MERGED_ROWS", 8)
    patch.setattr(interactions, "_CHUNK_ROWS", 4)
    patch.setattr(arrays, "_CHUNK", 3)
    patch.setattr(files, "stream_parquet", lambda *given: stream_parquet(*given[:3], 5))


def _not_plain(*_: Any) -> Any:
    raise NotPlain


@settings(max_examples=120, deadline=None)
@given(
    kind=st.sampled_from(["csv", "parquet", "jsonl"]),
    rows=_logs,
    duplicates=st.sampled_from(["error", "drop", "keep"]),
    min_rating=st.sampled_from([None, None, 3.0]),
)
def test_a_log_in_batches_is_the_log_read_whole(tmp_path_factory, kind, rows, duplicates, min_rating):
    path = _written(kind, tmp_path_factory.mktemp("log") / f"log.{kind}", rows)
    options = {"duplicates": duplicates, "min_rating": min_rating}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_gathered", _not_plain)
        whole = _read(path, **options)
    with pytest.MonkeyPatch.context() as patch:
        _in_small_batches(patch)
        assert _read(path, **options) == whole
    assert _read(path, **options) == whole


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_a_plain_log_is_never_read_whole(tmp_path, kind, monkeypatch):
    rows = [(f"user {row % 7}", f"item {row % 5}", 1_700_000_000 + row // 2, 4) for row in range(60)]
    path = _written(kind, tmp_path / f"log.{kind}", rows)
    whole = _read(path)
    monkeypatch.setattr(files, "read_table", _not_plain)
    _in_small_batches(monkeypatch)
    assert _read(path) == whole
