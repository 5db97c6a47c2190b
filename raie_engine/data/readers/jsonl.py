"""JSONL logs: one object per line. The first line says which columns there are and of which type each is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json

from raie.engine.data.readers.columns import Matched, match, missing_column
from raie.engine.data.readers.sources import Source
from raie.engine.errors import InputError

__all__ = ["batches_jsonl", "read_jsonl", "stream_jsonl"]

_LINES = 65_536
"""Lines that are parsed at a time, where a log is read in parts."""
_BLOCK_BYTES = 1 << 22


def read_jsonl(source: Source, wanted: Mapping[str, str], named: Mapping[str, str]) -> tuple[pa.Table, Matched]:
    """The wanted columns by role.

    Args:
        source: the file that may be compressed.
        wanted: a name for each role.
        named: further columns that must be there.

    Returns:
        The columns by role, and how they were found.

    Raises:
        InputError: for a line that is no object, a missing or doubled column, and values of several types.
    """
    columns, values, kinds, matched = _first_line(source, wanted, named)
    try:
        table = _read(source, kinds)
    except pa.ArrowInvalid:
        # A column may hold 1 and 1.0, of which one user is to come and not two; any other fault is named by its line.
        _require_alike(source, values, list(columns.values()))
        table = _read(source, {name: _as_float(kind) for name, kind in kinds.items()})
    return table.select(list(columns.values())).rename_columns(list(columns)), matched


def stream_jsonl(
    source: Source, wanted: Mapping[str, str], named: Mapping[str, str]
) -> Iterator[tuple[pa.Table, Matched]]:
    """The same, so many lines at a time; lines decide for themselves what is a float.

    Args:
        source: the file that may be compressed.
        wanted: a name for each role.
        named: further columns that must be there.

    Yields:
        As `read_jsonl` returns.

    Raises:
        InputError: as `read_jsonl`.
    """
    columns, _, kinds, matched = _first_line(source, wanted, named)
    lines = (line for line in source.lines() if line.strip())
    while some := "".join(islice(lines, _LINES)):
        data = some.encode()
        try:
            table = _parsed(pa.BufferReader(data), kinds)
        except pa.ArrowInvalid:
            table = _parsed(pa.BufferReader(data), {name: _as_float(kind) for name, kind in kinds.items()})
        yield table.select(list(columns.values())).rename_columns(list(columns)), matched


def batches_jsonl(
    source: Source, wanted: Mapping[str, str], named: Mapping[str, str]
) -> Iterator[tuple[pa.Table, Matched]]:
    """The same, some megabytes at a time, of the types of the first line.

    Args:
        source: the file that may be compressed.
        wanted: a name for each role.
        named: further columns that must be there.

    Yields:
        As `read_jsonl` returns.

    Raises:
        InputError: for a first line that is no object, and a missing or doubled column.
        pa.ArrowInvalid: for a line that is broken, or not of those types.
    """
    columns, _, kinds, matched = _first_line(source, wanted, named)
    reading = pa.json.ReadOptions(block_size=_BLOCK_BYTES)
    with source.open() as file, pa.json.open_json(file, reading, _parsing(kinds)) as batches:
        for batch in batches:
            table = pa.Table.from_batches([batch])
            yield table.select(list(columns.values())).rename_columns(list(columns)), matched


def _first_line(
    source: Source, wanted: Mapping[str, str], named: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, Any], dict[str, pa.DataType], Matched]:
    """The columns by role, and what the first line holds, and of which type each is."""
    path = source.path
    first = _object(path, 1, next((line for line in source.lines() if line.strip()), ""))
    names = [name for name, _ in first]
    matched = match(str(path), names, {**named, **wanted})
    if matched is None:
        raise missing_column(str(path), names, {**wanted, **named})
    columns = {role: matched.names[role] for role in wanted}
    values = dict(first)
    # The first line fixes the types, so that a text that looks like a date stays the text it is.
    kinds = {name: _type_of(values[name], is_id=role in ("user", "item")) for role, name in columns.items()}
    return columns, values, kinds, matched


def _read(source: Source, kinds: Mapping[str, pa.DataType]) -> pa.Table:
    with source.open() as file:
        return _parsed(file, kinds)


def _parsed(file: Any, kinds: Mapping[str, pa.DataType]) -> pa.Table:
    return pa.json.read_json(file, parse_options=_parsing(kinds))


def _parsing(kinds: Mapping[str, pa.DataType]) -> Any:
    return pa.json.ParseOptions(explicit_schema=pa.schema(list(kinds.items())), unexpected_field_behavior="ignore")


def _object(path: Path, number: int, line: str) -> list[tuple[str, Any]]:
    """The names and values of a line in their order; a name may come twice."""
    try:
        value = json.loads(line, object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected one JSON object per line, found in line {number}: {error}") from error
    if not isinstance(value, tuple):
        raise InputError(f"{path}: expected one JSON object per line, found in line {number}: {line.strip()[:60]}")
    return list(value)


def _type_of(value: Any, *, is_id: bool) -> pa.DataType:
    if isinstance(value, str) or value is None:
        return pa.string()
    if isinstance(value, int) and is_id:
        return pa.bool_() if isinstance(value, bool) else pa.int64()
    return pa.float64()


def _as_float(kind: pa.DataType) -> pa.DataType:
    return pa.float64() if pa.types.is_integer(kind) else kind


def _require_alike(source: Source, first: Mapping[str, Any], names: list[str]) -> None:
    for number, line in enumerate(source.lines(), start=1):
        if not line.strip():
            continue
        pairs = _object(source.path, number, line)
        row, present = dict(pairs), [name for name, _ in pairs]
        for name in names:
            if present.count(name) > 1:
                raise InputError(
                    f"{source.path}: expected {name!r} once in a line, found it {present.count(name)} times in line "
                    f"{number}; keep one"
                )
            value = row.get(name)
            if value is not None and isinstance(value, str) != isinstance(first[name], str):
                raise InputError(
                    f"{source.path}: expected every {name} to be of one type, as {first[name]!r} in the first line, "
                    f"found {value!r} in line {number}; write them all as text or all as numbers"
                )
