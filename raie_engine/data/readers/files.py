"""Log files of any kind become raw columns in file order, or one clear error; and what they were read as.

Ids leave here as text, dictionary-encoded: a code per row and the distinct texts, never a string per row. A log is read
some rows at a time; one that is out of the ordinary is read again as a whole, and that reading says what is wrong.
n rows. Rows in messages count from 1 and leave out a header.
Legend: n rows of the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raie.engine.data.arrow import first_true, to_numpy, whole
from raie.engine.data.readers.columns import Columns, Matched
from raie.engine.data.readers.delimited import (
    Delimited,
    is_movielens_100k,
    parser_reason,
    read_delimited,
    stream_delimited,
)
from raie.engine.data.readers.gathered import NotPlain, gathered
from raie.engine.data.readers.ids import Codes, id_codes, spelt_twice
from raie.engine.data.readers.jsonl import batches_jsonl, read_jsonl, stream_jsonl
from raie.engine.data.readers.parquet import read_parquet, stream_parquet
from raie.engine.data.readers.paths import LogFile, log_files
from raie.engine.data.readers.sources import Source, kind_of
from raie.engine.data.readers.timestamps import read_times
from raie.engine.errors import InputError

__all__ = [
    "RawLog",
    "Read",
    "Reading",
    "checked_files",
    "read_raw",
    "read_table",
    "stream_raw",
]

_DELIMITED = (".csv", ".tsv", ".dat", ".inter", ".item")
_JSON = (".jsonl", ".ndjson", ".json")
_ROWS = 262_144  # of a Parquet file that are handed on at a time
_BROKEN = (pa.ArrowException, OSError, UnicodeError, EOFError)
_SEPARATOR_NAMES = {"\t": "tabs", ";": "semicolons", "|": "pipes", "::": "::"}


@dataclass(frozen=True)
class Reading:
    """What a log was read as.

    columns: as the file spells them.  line: one line for a person, None where all is as was asked for.  notes: what a
    person should know of the values.  titles: a file of titles that lies beside the log.
    """

    columns: Columns
    line: str | None = None
    notes: tuple[str, ...] = ()
    titles: Path | None = None

    @property
    def lines(self) -> tuple[str, ...]:
        """Every line that a person should see."""
        return (*([self.line] if self.line else ()), *self.notes)


@dataclass(frozen=True, eq=False)
class RawLog:
    """The columns of a log in file order.  timestamp: int64 [n], epoch seconds UTC.  rating: float64 [n]."""

    user: Codes
    item: Codes
    timestamp: NDArray[np.int64]
    rating: NDArray[np.float64] | None
    reading: Reading


@dataclass(frozen=True)
class Read:
    """A table whose columns are named by role, where they were found, and the separator of a file of text."""

    table: pa.Table
    matched: Matched
    separator: str | None = None


def read_raw(
    path: str | Path,
    columns: Columns,
    *,
    with_rating: bool,
    cut: Delimited = Delimited(),  # noqa: B008 (frozen)
) -> RawLog:
    """Read the needed columns of a log.

    Args:
        path: a file, a folder of Parquet parts, or a pattern.
        columns: names of the columns by role.
        with_rating: whether ratings are read.
        cut: how a file of text is cut.

    Returns:
        The columns in file order, files by their paths.

    Raises:
        InputError: for a file that is missing, empty, of an unknown kind or broken; for missing or doubled columns,
            ids, timestamps or ratings; and for values of the wrong type, each with the row it was found in.
    """
    path = Path(path)
    wanted, named = _columns_wanted(columns, with_rating)
    files = checked_files(path)
    try:
        return _raw(path, _gathered(path, files, wanted, named, cut), columns, with_rating=with_rating)
    except (NotPlain, InputError, *_BROKEN):
        if len(files) > 1:
            _require_each(files, columns, with_rating=with_rating, cut=cut)
        return _raw(path, read_table(path, wanted, named, cut), columns, with_rating=with_rating)


def _require_each(files: Sequence[LogFile], columns: Columns, *, with_rating: bool, cut: Delimited) -> None:
    """Raises InputError for the first file that is no log by itself: its own row is easier to find than one of all."""
    wanted, named = _columns_wanted(columns, with_rating)
    for file in files:
        read = _whole(file, wanted, named, cut)
        if read.table.num_rows:
            _raw(file.path, read, columns, with_rating=with_rating)


def _gathered(
    path: Path, files: Sequence[LogFile], wanted: Mapping[str, str], named: Mapping[str, str], cut: Delimited
) -> Read:
    """All rows of plain files, without a text per row."""
    first: Read | None = None

    def tables() -> Iterator[pa.Table]:
        nonlocal first
        for file in files:
            for parts in _batches(file, wanted, named, cut):
                first = first or Read(*parts)
                if not _values_alike(first.matched, parts[1]):
                    raise NotPlain
                yield parts[0]

    table = gathered(tables(), lambda column: _ratings(column, "rating"))
    if first is None or not table.num_rows:
        raise NotPlain
    return replace(first, table=table)


def _batches(
    file: LogFile, wanted: Mapping[str, str], named: Mapping[str, str], cut: Delimited
) -> Iterator[tuple[Any, ...]]:
    """A file's tables, some megabytes at a time: all of the types of the first."""
    source, kind = Source(file.path), kind_of(file.path)
    if kind == ".parquet":
        yield from stream_parquet(file, wanted, named)
    elif kind in _JSON:
        source.require_text()
        yield from batches_jsonl(source, wanted, named)
    else:
        yield from stream_delimited(source, cut, wanted, named, as_text=False)


def stream_raw(
    path: str | Path,
    columns: Columns,
    *,
    with_rating: bool,
    cut: Delimited = Delimited(),  # noqa: B008 (frozen)
) -> Iterator[RawLog]:
    """The same columns some rows at a time, for a log that does not fit in memory.

    Args:
        path: a file, a folder of Parquet parts, or a pattern.
        columns: names of the columns by role.
        with_rating: whether ratings are read.
        cut: how a file of text is cut.

    Yields:
        The columns of the next rows, in file order.

    Raises:
        InputError: as `read_raw`; the row that a message names counts from the beginning of some rows.
    """
    wanted, named = _columns_wanted(columns, with_rating)
    for file in checked_files(Path(path)):
        source, kind = Source(file.path), kind_of(file.path)
        with _broken_as_input_error(file.path):
            if kind == ".parquet":
                tables: Iterator[Any] = stream_parquet(file, wanted, named, _ROWS)
            elif kind in _JSON:
                source.require_text()
                tables = stream_jsonl(source, wanted, named)
            else:
                tables = stream_delimited(source, cut, wanted, named, as_text=True)
            for parts in tables:
                yield _raw(file.path, Read(*parts), columns, with_rating=with_rating)


def _columns_wanted(columns: Columns, with_rating: bool) -> tuple[dict[str, str], dict[str, str]]:
    """Names by role of the columns that are read, and of others that must be there."""
    wanted = {"user": columns.user, "item": columns.item, "time": columns.timestamp}
    if with_rating:
        wanted["rating"] = columns.rating or "rating"
    return wanted, {} if columns.rating is None else {"rating": columns.rating}


def _raw(path: Path, read: Read, columns: Columns, *, with_rating: bool) -> RawLog:
    table, names = read.table, read.matched.names
    with _broken_as_input_error(path):
        user, item = (
            id_codes(table[role], f"{path}: {names[role]}", role, blanks=read.matched.blanks)
            for role in ("user", "item")
        )
        timestamp, time_notes = read_times(
            table["time"], f"{path}: {names['time']}", milliseconds=read.matched.milliseconds
        )
        rating = _ratings(table["rating"], f"{path}: {names['rating']}") if with_rating else None
    spelt = {"user": names["user"], "item": names["item"], "timestamp": names["time"]}
    if columns.rating is not None:
        spelt["rating"] = names["rating"]
    as_spelt = Columns(**{**vars(columns), **spelt})
    notes = (*time_notes, *_spelling_notes(names["user"], user), *_spelling_notes(names["item"], item))
    return RawLog(user, item, timestamp, rating, Reading(as_spelt, _line(read, with_rating), notes))


def _line(read: Read, with_rating: bool) -> str | None:
    """What a file was read as, where that is not plain from what was asked for."""
    kind, names = read.matched.read_as, read.matched.names
    cut = _SEPARATOR_NAMES.get(read.separator or ",")
    if kind is None and cut is None:
        return None
    roles = ("user", "item", *(("rating",) if with_rating else ()), "time")
    words = [kind or "", f"separated by {cut}" if cut not in (None, "::") else ""]
    return f"read as {', '.join(filter(None, words))}: {', '.join(names[role].strip() for role in roles)}"


def _spelling_notes(column: str, codes: Codes) -> Iterator[str]:
    pair = spelt_twice(codes.texts)
    if pair is not None:
        yield f"{column.strip()} holds both {pair[0]} and {pair[1]}, which are two ids, because ids are compared as text"


def read_table(
    path: Path,
    wanted: Mapping[str, str],
    named: Mapping[str, str] | None = None,
    cut: Delimited = Delimited(),  # noqa: B008 (frozen)
) -> Read:
    """The columns of a file by role.

    Args:
        path: the file.
        wanted: their names by role, as in `Columns`.
        named: others that must be there.
        cut: how a file of text is cut.

    Returns:
        The columns by role; those of several files one after the other.

    Raises:
        InputError: for a file that is missing, empty, of an unknown kind or broken, and for a missing column.
    """
    reads = [_whole(file, wanted, named or {}, cut) for file in checked_files(path)]
    read = reads[0] if len(reads) == 1 else _concatenated([file.path for file in checked_files(path)], reads)
    if read.table.num_rows == 0:
        raise InputError(f"{path}: expected interactions, found a header and no rows")
    return read


def _whole(file: LogFile, wanted: Mapping[str, str], named: Mapping[str, str], cut: Delimited) -> Read:
    source, kind = Source(file.path), kind_of(file.path)
    with _broken_as_input_error(file.path):
        if kind == ".parquet":
            return Read(*read_parquet(file, wanted, named))
        if kind in _JSON:
            source.require_text()
            return Read(*read_jsonl(source, wanted, named))
        return Read(*read_delimited(source, cut, wanted, named))


def _concatenated(paths: Sequence[Path], reads: Sequence[Read]) -> Read:
    """The rows of files whose columns are of types that go together."""
    filled = [(path, read) for path, read in zip(paths, reads, strict=True) if read.table.num_rows]
    tables: list[pa.Table] = []
    for path, read in filled:
        if not _values_alike(filled[0][1].matched, read.matched):
            raise InputError(
                f"{path}: expected the columns of {filled[0][0]} ({', '.join(filled[0][1].matched.names.values())}), "
                f"found {', '.join(read.matched.names.values())}; write both alike"
            )
        try:
            tables = [pa.concat_tables([*tables, read.table], promote_options="permissive")]
        except pa.ArrowException as error:
            raise InputError(
                f"{path}: expected columns of the types in {filled[0][0]} ({_types(filled[0][1].table)}), found "
                f"{_types(read.table)}; write both alike"
            ) from error
    return replace(reads[0], table=tables[0] if tables else reads[0].table)


def _values_alike(first: Matched, later: Matched) -> bool:
    """Whether values of both files are spelt alike, wherever their columns lie."""
    return (first.blanks, first.milliseconds) == (later.blanks, later.milliseconds)


def _types(table: pa.Table) -> str:
    return ", ".join(f"{field.name} {getattr(field.type, 'value_type', field.type)}" for field in table.schema)


def checked_files(path: Path) -> list[LogFile]:
    """The files that a LOG names, each of a kind that is read.

    Args:
        path: a file, a folder of Parquet parts, or a pattern.

    Returns:
        At least one file.

    Raises:
        InputError: for a file that is missing, empty or of an unknown kind, and a pattern that nothing matches.
    """
    with _broken_as_input_error(path):
        files = log_files(path)
    for file in files:
        _require_known(file.path)
        with _broken_as_input_error(file.path):
            _require_file(file.path)
    return files


def _require_known(path: Path) -> None:
    if kind_of(path) not in (*_DELIMITED, *_JSON, ".parquet") and not is_movielens_100k(path):
        raise InputError(
            f"{path}: expected a log named .csv, .parquet, .jsonl or .dat (MovieLens), .tsv, .inter (RecBole) or u.data, "
            f"plain or compressed (.gz, .zst), found {path.suffix!r}; rename or convert the file"
        )


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise InputError(
            f"{path}: expected a log file, found {'a folder' if path.is_dir() else 'nothing'}; check the path"
        )
    if path.stat().st_size == 0:
        raise InputError(f"{path}: expected interactions, found an empty file (0 bytes)")


@contextmanager
def _broken_as_input_error(path: Path) -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        kind = kind_of(path).lstrip(".")
        reason = parser_reason(" ".join(str(error).split()), headers=kind in ("csv", "tsv", "inter"))
        raise InputError(
            f"{path}: expected a readable {kind} log, found: {reason:.300}; repair or convert the file"
        ) from error


def _ratings(column: pa.ChunkedArray, where: str) -> NDArray[np.float64]:
    column = whole(column)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        number = pc.match_substring_regex(column, r"^\s*[+-]?(\d+\.?\d*|\.\d+)\s*$")
        bad = first_true(pc.invert(number))
        if bad is not None:
            raise InputError(
                f"{where}: expected a number, found {column[bad].as_py()!r} in row {bad + 1}; "
                "repair the row, or name another column with --rating-column"
            )
        column = pc.utf8_trim_whitespace(column)
    column = column.cast(pa.float64())
    missing = first_true(pc.is_null(column, nan_is_null=True))
    if missing is not None:
        raise InputError(
            f"{where}: expected a rating in every row, found none in row {missing + 1}; fill it or remove the row"
        )
    return to_numpy(column)
