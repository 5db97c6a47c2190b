"""Logs of text, a row per line: CSV, TSV, RecBole's atomic files, MovieLens' u.data and ratings.dat.

The separator is the one under which the header names the columns; a first row that is data is refused, with the options
that read it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from raie.engine.data.readers.columns import Matched, match, missing_column
from raie.engine.data.readers.sources import Source, kind_of, unpacked_name
from raie.engine.errors import InputError

__all__ = ["SEPARATORS", "Delimited", "is_movielens_100k", "parser_reason", "read_delimited", "stream_delimited"]

SEPARATORS = {"comma": ",", "tab": "\t", "semicolon": ";", "pipe": "|"}
_WORDS = {"\t": "tabs", ";": "semicolons", "|": "pipes", ",": "commas"}
_TEXT = pa.dictionary(pa.int32(), pa.string())
_BLOCK_BYTES = 1 << 23  # each block has its own dictionary of ids: fewer blocks, less to merge
_HEADER_BYTES = 1 << 16
_FIXED_NAMES = ("user_id", "item_id", "rating", "timestamp")
_MOVIELENS_100K = re.compile(r"^u[0-9ab]?\.(data|base|test)$")
_NUMBER = re.compile(r"^\s*[+-]?\d+(\.\d*)?\s*$")


@dataclass(frozen=True)
class Delimited:
    """How a file of text is cut. separator: None, to look for it.  header: whether the first row names the columns."""

    separator: str | None = None
    header: bool = True


def is_movielens_100k(path: Path) -> bool:
    """Whether the name is one of MovieLens-100K's files of ratings: u.data, u1.base, ua.test.

    Args:
        path: the file.

    Returns:
        Whether it is.
    """
    return _MOVIELENS_100K.match(unpacked_name(path).lower()) is not None


@dataclass(frozen=True)
class _Layout:
    """How a file is read. columns: names by role.  naming: of columns without a header.  separator: as people say it."""

    matched: Matched
    columns: Mapping[str, str]
    separator: str
    naming: Mapping[str, Any]

    @property
    def parsing(self) -> Any:
        return pa.csv.ParseOptions(delimiter=self.separator[0])


def read_delimited(
    source: Source, cut: Delimited, wanted: Mapping[str, str], named: Mapping[str, str]
) -> tuple[pa.Table, Matched, str]:
    """The wanted columns by role, how they were found, and the separator.

    Args:
        source: the file that may be compressed.
        cut: how a file of text is cut.
        wanted: a name for each role.
        named: further columns that must be there.

    Returns:
        The columns by role, how they were found, and the separator.

    Raises:
        InputError: for a column that is missing or there twice, and a first row that is no header.
    """
    layout = _layout(source, cut, wanted, named)
    return _table(source, layout.columns, layout.naming, layout.parsing), layout.matched, layout.separator


def stream_delimited(
    source: Source, cut: Delimited, wanted: Mapping[str, str], named: Mapping[str, str], *, as_text: bool
) -> Iterator[tuple[pa.Table, Matched, str]]:
    """The same, some megabytes at a time.

    Args:
        source: the file that may be compressed.
        cut: how a file of text is cut.
        wanted: a name for each role.
        named: further columns that must be there.
        as_text: every column is text, so that no block decides what the next one is. Otherwise the first block decides,
            and a later one that differs is an error, as is a field of several lines.

    Yields:
        As `read_delimited` returns.

    Raises:
        InputError: as `read_delimited`.
        pa.ArrowInvalid: for a line that is broken, or differs from those of the first block.
    """
    layout = _layout(source, cut, wanted, named)
    parsing, converting = layout.parsing, _converting(layout.columns)
    parsing.newlines_in_values = as_text
    # Text is encoded once for many blocks, not in each of them.
    texts = [name for role, name in layout.columns.items() if as_text or role in ("user", "item", "title")]
    converting.column_types = dict.fromkeys(texts, pa.string())
    reading = pa.csv.ReadOptions(block_size=_BLOCK_BYTES, **layout.naming)
    with source.open() as file, pa.csv.open_csv(file, reading, parsing, converting) as batches:
        for batch in batches:
            table = pa.Table.from_batches([batch]).rename_columns(list(layout.columns))
            yield table, layout.matched, layout.separator


def _layout(source: Source, cut: Delimited, wanted: Mapping[str, str], named: Mapping[str, str]) -> _Layout:
    source.require_text()
    if kind_of(source.path) == ".dat":
        return _fixed(source, "::", "MovieLens' ratings.dat", wanted, named)
    if is_movielens_100k(source.path) and cut == Delimited():
        return _fixed(source, "\t", "MovieLens-100K's u.data", wanted, named)
    line = _first_line(source)
    if not cut.header:
        return _numbered(source, cut, line, wanted, named)
    for separator in _candidates(source.path, cut):
        matched = match(str(source.path), _fields(line, separator), {**named, **wanted})
        if matched is not None:
            return _Layout(matched, {role: matched.names[role] for role in wanted}, separator, {})
    raise _no_header(source.path, line, cut, wanted, named)


def _fixed(
    source: Source, separator: str, kind: str, wanted: Mapping[str, str], named: Mapping[str, str]
) -> _Layout:
    """A file without a header whose columns are known."""
    columns = {**wanted, **named}
    matched = match(str(source.path), _FIXED_NAMES, columns)
    if matched is None:
        raise missing_column(str(source.path), _FIXED_NAMES, columns)
    # "::" read as the delimiter ":" leaves an empty column between any two.
    names = list(_FIXED_NAMES)
    if separator == "::":
        names = [name for pair in zip(names, ("_1", "_2", "_3", ""), strict=True) for name in pair if name]
    of_role = {role: matched.names[role] for role in wanted}
    return _Layout(Matched(matched.names, kind), of_role, separator, {"column_names": names})


def _numbered(
    source: Source, cut: Delimited, line: str, wanted: Mapping[str, str], named: Mapping[str, str]
) -> _Layout:
    """A file without a header, whose columns are named by their numbers, from 1."""
    separator = cut.separator or max(SEPARATORS.values(), key=lambda candidate: len(_fields(line, candidate)))
    fields = _fields(line, separator)
    numbers = [str(number) for number in range(1, len(fields) + 1)]
    matched = match(str(source.path), numbers, {**named, **wanted})
    if matched is None:
        raise InputError(
            f"{source.path}: expected the columns of a file without a header by number, from 1 to {len(fields)}, found "
            f"{', '.join({**wanted, **named}.values())}; give {_numbers_advice(fields)}"
        )
    of_role = {role: matched.names[role] for role in wanted}
    return _Layout(matched, of_role, separator, {"column_names": numbers})


def _candidates(path: Path, cut: Delimited) -> tuple[str, ...]:
    if cut.separator is not None:
        return (cut.separator,)
    likely = "," if kind_of(path) == ".csv" else "\t"
    return (likely, *(separator for separator in SEPARATORS.values() if separator != likely))


def _first_line(source: Source) -> str:
    with source.open() as file:
        head = bytes(file.read(_HEADER_BYTES))
    if b"\0" in head.partition(b"\n")[0]:
        raise InputError(f"{source.path}: expected a header of text, found NUL bytes; save the file as UTF-8")
    lines = head.decode("utf-8", "replace").splitlines()
    return next((line for line in lines if line.strip()), "")


def _fields(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator), [])


def _no_header(
    path: Path, line: str, cut: Delimited, wanted: Mapping[str, str], named: Mapping[str, str]
) -> InputError:
    """Why the first row names no columns: they are others, or it is data."""
    separator = max(_candidates(path, cut), key=lambda candidate: len(_fields(line, candidate)))
    fields = _fields(line, separator)
    cut_by = "" if separator == "," or len(fields) < 2 else f" (separated by {_WORDS.get(separator, separator)})"
    if len(fields) >= 3 and any(_NUMBER.match(field) for field in fields):
        return InputError(
            f"{path}: expected a header with {', '.join(wanted.values())}, found a first row of data: "
            f"{', '.join(fields):.200}{cut_by}; if there is no header, give {_numbers_advice(fields)}"
        )
    return missing_column(str(path), fields, {**wanted, **named}, cut_by)


def _numbers_advice(fields: Sequence[str]) -> str:
    """The options that read a file without a header, the likely ones: users, items, ratings if any, times last."""
    return f"--no-header --user-column 1 --item-column 2 --time-column {max(3, len(fields))}, each its column's number"


def _table(source: Source, columns: Mapping[str, str], naming: Mapping[str, Any], parsing: Any) -> pa.Table:
    converting = _converting(columns)
    reading = pa.csv.ReadOptions(block_size=_BLOCK_BYTES, **naming)
    try:
        with source.open() as file:
            table = pa.csv.read_csv(file, reading, parsing, converting)
    except pa.ArrowInvalid:
        # One thread is slower and its message names the row; a field of several lines may have been cut by a block's end.
        reading.use_threads, parsing.newlines_in_values = False, True
        with source.open() as file:
            table = pa.csv.read_csv(file, reading, parsing, converting)
    return table.rename_columns(list(columns))


def _converting(columns: Mapping[str, str]) -> Any:
    return pa.csv.ConvertOptions(
        include_columns=list(columns.values()),
        column_types={columns[role]: _TEXT for role in ("user", "item", "title") if role in columns},
        # Only an empty field is missing: "NA" and "null" are ids like any other.
        null_values=[""],
        strings_can_be_null=True,
    )


def parser_reason(reason: str, *, headers: int) -> str:
    """The CSV parser's "Row #4", which counts the header, as "row 3", like every other row in a message.

    Args:
        reason: of the CSV parser.
        headers: lines of the header, 0 or 1.

    Returns:
        The text.
    """
    return re.sub(
        r"^(CSV parse error: |In CSV column #\d+: )Row #(\d+)",
        lambda match: f"{match[1]}row {int(match[2]) - headers}",
        reason,
    )
