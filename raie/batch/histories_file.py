"""A file of histories, a row per user, read some rows at a time.

Columns: `user_id` or `user`, `items` with the oldest first, and `times`, epoch seconds of the items, where the file has
them. Parquet and JSON lines hold lists; CSV holds ids with commas between them, in one quoted field.
Rows in messages count from 1 and leave out a header.
Legend: n users of a block, h items of all their histories.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from raie.batch.block import BLOCK_USERS, Block, block_of
from raie.engine.data.readers.sources import Source, kind_of
from raie.engine.errors import InputError
from raie.engine.model import ModelView

__all__ = ["HistoriesFile"]

_JSON = (".jsonl", ".ndjson")
_KINDS = (".parquet", ".csv", *_JSON)
_ITEMS, _TIMES = "items", "times"
_CSV_BYTES = 1 << 22


@dataclass(frozen=True)
class HistoriesFile:
    """The histories of a file.

    Attributes:
        path: The file, .parquet, .csv or .jsonl; the last two may be compressed.
        user_column: Name of the column of users; None for `user_id` or `user`.
    """

    path: Path
    user_column: str | None = None

    def require(self, view: ModelView) -> None:
        """Refuse a file of another kind, or one that is not there.

        Raises:
            InputError: It is one.
        """
        if kind_of(self.path) not in _KINDS:
            raise InputError(
                f"{self.path}: expected histories in a file named .parquet, .csv or .jsonl, found {self.path.suffix!r}; "
                "rename or convert the file"
            )
        if not self.path.is_file():
            kind = "a folder" if self.path.is_dir() else "nothing"
            raise InputError(f"{self.path}: expected a file of histories, found {kind}; check the path")

    def blocks(self, view: ModelView, folder: Path) -> Iterator[tuple[Block, int, int]]:
        """The histories, BLOCK_USERS at a time and the rest at the end, in the file's order.

        Args:
            view: The snapshot.
            folder: Where a source may keep what it needs; this one needs nothing.

        Yields:
            A block, how many rows are read, and about how many there are.

        Raises:
            InputError: The file cannot be read, or a row of it; the message names the row.
        """
        known, total = _Known(pa.array(view.catalogue.items, pa.string())), self._about()
        first = 1
        for table in _even(self._tables()):
            block = _block(table, known, self.path, first)
            first += len(table)
            yield block, first - 1, total

    def _about(self) -> int:
        with _broken_as_input_error(self.path):
            if kind_of(self.path) == ".parquet":
                return int(pa.parquet.read_metadata(self.path).num_rows)
            with Source(self.path).open() as file:
                return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(_CSV_BYTES), b""))

    def _tables(self) -> Iterator[pa.Table]:
        """Columns user, items and, where there are any, times."""
        kind = kind_of(self.path)
        with _broken_as_input_error(self.path):
            if kind == ".parquet":
                yield from self._parquet()
            elif kind == ".csv":
                yield from self._csv()
            else:
                yield from self._json_lines()

    def _parquet(self) -> Iterator[pa.Table]:
        with pa.parquet.ParquetFile(self.path) as file:
            columns = self._columns(file.schema_arrow.names)
            for batch in file.iter_batches(BLOCK_USERS, columns=list(columns.values())):
                yield _chosen(pa.Table.from_batches([batch]), columns)

    def _csv(self) -> Iterator[pa.Table]:
        source = Source(self.path)
        source.require_text()
        reading = pa.csv.ReadOptions(block_size=_CSV_BYTES)
        parsing = pa.csv.ParseOptions(newlines_in_values=True)
        with source.open() as file:
            names = pa.csv.open_csv(file, reading, parsing).schema.names
        columns = self._columns(names)
        converting = pa.csv.ConvertOptions(
            include_columns=list(columns.values()), column_types=dict.fromkeys(columns.values(), pa.string())
        )
        with source.open() as file, pa.csv.open_csv(file, reading, parsing, converting) as batches:
            for batch in batches:
                yield _chosen(pa.Table.from_batches([batch]), columns)

    def _json_lines(self) -> Iterator[pa.Table]:
        source = Source(self.path)
        source.require_text()
        rows = enumerate((line for line in source.lines() if line.strip()), start=1)
        columns: dict[str, str] | None = None
        while some := list(islice(rows, BLOCK_USERS)):
            values = [_object(self.path, number, line) for number, line in some]
            columns = columns or self._columns(list(values[0]))
            yield _of_objects(self.path, some[0][0], values, columns)

    def _columns(self, names: Sequence[str]) -> dict[str, str]:
        """The file's columns by role."""
        wanted = [self.user_column] if self.user_column else ["user_id", "user"]
        user = next((name for name in wanted if name in names), None)
        if user is None or _ITEMS not in names:
            missing = f"{_ITEMS!r} of item ids" if user else f"{' or '.join(map(repr, wanted))} of users"
            raise InputError(
                f"{self.path}: expected a column {missing}, found {', '.join(names):.300}; a log, with a row per "
                "interaction, goes with --all-users"
            )
        return {"user": user, _ITEMS: _ITEMS} | ({_TIMES: _TIMES} if _TIMES in names else {})


@contextmanager
def _broken_as_input_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeError, EOFError) as error:
        raise InputError(
            f"{path}: expected readable histories, found: {' '.join(str(error).split()):.300}; repair or convert the file"
        ) from error


def _chosen(table: pa.Table, columns: Mapping[str, str]) -> pa.Table:
    return table.select(list(columns.values())).rename_columns(list(columns))


def _even(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows, BLOCK_USERS at a time: how a file is cut must not show in the parts."""
    held: pa.Table | None = None
    for table in tables:
        held = table if held is None else pa.concat_tables([held, table], promote_options="permissive")
        while len(held) >= BLOCK_USERS:
            yield held[:BLOCK_USERS]
            held = held[BLOCK_USERS:]
    if held is not None and len(held):
        yield held


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected one JSON object per line, found in row {number}: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected one JSON object per line, found in row {number}: {line.strip()[:60]}")
    return value


def _of_objects(
    path: Path, first: int, values: Sequence[Mapping[str, Any]], columns: Mapping[str, str]
) -> pa.Table:
    """Ids may be texts or whole numbers; they become texts."""
    kinds = {"user": pa.string(), _ITEMS: pa.list_(pa.string()), _TIMES: pa.list_(pa.int64())}
    arrays = {}
    for role, name in columns.items():
        column = [value.get(name) for value in values]
        for number, entry in enumerate(column, start=first):
            if not _fits(role, entry):
                raise _bad(path, role, f"{json.dumps(entry):.60}", number)
        if role == "user":
            column = [str(entry) for entry in column]
        elif role == _ITEMS:
            column = [[str(item) for item in entry or ()] for entry in column]
        arrays[role] = pa.array(column, kinds[role])
    return pa.table(arrays)


def _fits(role: str, value: Any) -> bool:
    if role == "user":
        return _is_id(value)
    if not isinstance(value, list):
        return False
    return all(map(_is_id if role == _ITEMS else _is_whole, value))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) or _is_whole(value)


def _bad(path: Path, role: str, shown: str, row: int) -> InputError:
    expected = {"user": "a user id", _ITEMS: "a list of item ids", _TIMES: "a time in epoch seconds for each item"}
    return InputError(
        f"{path}: expected {expected[role]}, found {shown} in row {row}; repair the row or leave it out"
    )


@dataclass(frozen=True)
class _Known:
    """The ids that the snapshot knows, in the order of their rows."""

    items: Any

    def rows(self, ids: Any) -> NDArray[np.int32]:
        """int32 [h]: the row of each id, 0 for one that is not known."""
        index = pc.fill_null(pc.index_in(ids, value_set=self.items), -1)
        return np.asarray(index.to_numpy(zero_copy_only=False) + 1, np.int32)


def _block(table: pa.Table, known: _Known, path: Path, first: int) -> Block:
    """first: the number of the table's first row, for messages."""
    users = _ids(table["user"].combine_chunks(), path, "user", np.arange(first, first + len(table)))
    items, size = _flat(table[_ITEMS].combine_chunks(), path, _ITEMS, first)
    row = np.repeat(np.arange(first, first + len(table)), size)
    rows = known.rows(_ids(items, path, _ITEMS, row))
    return block_of(users, rows, size, _times(table, size, path, first))


def _times(table: pa.Table, size: NDArray[np.int64], path: Path, first: int) -> NDArray[np.int64] | None:
    if _TIMES not in table.column_names:
        return None
    times, timed = _flat(table[_TIMES].combine_chunks(), path, _TIMES, first)
    if (timed != size).any():
        index = int(np.argmax(timed != size))
        raise _bad(path, _TIMES, f"{timed[index]} for {size[index]}", first + index)
    row = np.repeat(np.arange(first, first + len(table)), timed)
    if times.null_count:
        raise _bad(path, _TIMES, "none", int(row[np.argmax(_is_null(times))]))
    if pa.types.is_string(times.type):
        whole = pc.match_substring_regex(times, r"^\d{1,18}$").to_numpy(zero_copy_only=False)
        if not whole.all():
            index = int(np.argmin(whole))
            raise _bad(path, _TIMES, repr(times[index].as_py()), int(row[index]))
    elif not pa.types.is_integer(times.type):
        raise InputError(f"{path}: expected times in epoch seconds, found a column of {times.type}; convert it")
    return np.asarray(times.cast(pa.int64()).to_numpy(zero_copy_only=False), np.int64)


def _is_null(values: Any) -> NDArray[np.bool_]:
    return np.asarray(values.is_null().to_numpy(zero_copy_only=False), bool)


def _ids(values: Any, path: Path, role: str, row: NDArray[np.int64]) -> Any:
    """Ids of any type as text; row: of the file, of each."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind = values.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)):
        if pa.types.is_null(kind) and not len(values):
            return pa.array([], pa.string())
        raise InputError(
            f"{path}: expected ids of text or whole numbers in the column of {role}, found {kind}; write it anew as text"
        )
    texts = values.cast(pa.string())
    bad = _is_null(texts) | (pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False) == 0)
    if bad.any():
        raise _bad(path, role, "an empty one", int(row[np.argmax(bad)]))
    return texts


def _flat(lists: Any, path: Path, role: str, first: int) -> tuple[Any, NDArray[np.int64]]:
    """The values of all lists, one after the other, and the size of each list; a text is cut at its commas."""
    kind = lists.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _cut(lists)
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        raise InputError(
            f"{path}: expected lists in the column {role!r}, found {kind}; write a list for each user"
        )
    if lists.null_count:
        raise _bad(path, role, "none", first + int(np.argmax(_is_null(lists))))
    return lists.flatten(), np.asarray(pc.list_value_length(lists).to_numpy(zero_copy_only=False), np.int64)


def _cut(texts: Any) -> tuple[Any, NDArray[np.int64]]:
    """Of the texts of a CSV file; an empty one is an empty list."""
    texts = pc.fill_null(pc.utf8_trim_whitespace(texts), "")
    lists = pc.split_pattern(texts, ",")
    size = np.asarray(pc.list_value_length(lists).to_numpy(zero_copy_only=False), np.int64)
    empty = pc.equal(texts, "").to_numpy(zero_copy_only=False)
    values = pc.utf8_trim_whitespace(lists.filter(pa.array(~empty)).flatten())
    return values, np.where(empty, 0, size)
