"""Parquet files; a column that is not in the file may stand in the names of its folders, as day=2024-01-31."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet

from raie.engine.data.readers.columns import Matched, match, missing_column
from raie.engine.data.readers.paths import LogFile
from raie.engine.data.readers.sources import FREE_BYTES
from raie.engine.errors import InputError

__all__ = ["read_parquet", "stream_parquet"]

_ROWS = 1_048_576  # that are read at a time, where a log is read in parts
_FREE_ROWS = 1_000_000  # what any file may unpack to, however small it is


def read_parquet(file: LogFile, wanted: Mapping[str, str], named: Mapping[str, str]) -> tuple[pa.Table, Matched]:
    """The wanted columns by role.

    Args:
        file: and what the names of its folders say.
        wanted: a name for each role.
        named: further columns that must be there.

    Returns:
        The columns by role, and how they were found.
    """
    opened = _opened(file, wanted, named)
    table = opened.file.read(list(opened.inside.values()))
    return opened.by_role(table).select(list(wanted)), opened.matched


def stream_parquet(
    file: LogFile, wanted: Mapping[str, str], named: Mapping[str, str], rows: int = _ROWS
) -> Iterator[tuple[pa.Table, Matched]]:
    """The same, so many rows at a time.

    Args:
        file: and what the names of its folders say.
        wanted: a name for each role.
        named: further columns that must be there.
        rows: the most of a table.

    Yields:
        As `read_parquet` returns.
    """
    opened = _opened(file, wanted, named)
    for batch in opened.file.iter_batches(rows, columns=list(opened.inside.values())):
        yield opened.by_role(pa.Table.from_batches([batch])), opened.matched


class _Opened(NamedTuple):
    """A file and where its columns are. inside: names by role.  outside: values by role, from the names of folders."""

    file: Any
    matched: Matched
    inside: dict[str, str]
    outside: dict[str, str]

    def by_role(self, table: pa.Table) -> pa.Table:
        """The columns by role, in the order wanted."""
        table = table.select(list(self.inside.values())).rename_columns(list(self.inside))
        for role, value in self.outside.items():
            values = pa.array([value]).take(pa.nulls(table.num_rows, pa.int64()).fill_null(0))
            table = table.append_column(role, values)
        return table


def _opened(part: LogFile, wanted: Mapping[str, str], named: Mapping[str, str]) -> _Opened:
    path, partition = part.path, part.partition
    schema = pa.parquet.read_schema(path)
    names = [*schema.names, *(name for name in partition if name not in schema.names)]
    matched = match(str(path), names, {**named, **wanted})
    if matched is None:
        raise missing_column(str(path), names, {**wanted, **named})
    of_role = {role: matched.names[role] for role in wanted}
    inside = {role: name for role, name in of_role.items() if name in schema.names}
    text = [
        name for role, name in inside.items() if role in ("user", "item") and _is_text(schema.field(name).type)
    ]
    file = pa.parquet.ParquetFile(path, read_dictionary=text)
    _require_plausible(path, file.metadata)
    return _Opened(
        file, matched, inside, {role: partition[name] for role, name in of_role.items() if role not in inside}
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _require_plausible(path: Path, metadata: Any) -> None:
    """Refuses a small file that would fill the memory: a few bytes of run lengths can stand for any number of rows.

    A row of a log takes more than a tenth of a byte, and pages shrink to a twentieth where they are compressed.
    """
    size = path.stat().st_size
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    unpacked = sum(group.total_byte_size for group in groups)
    if metadata.num_rows > _FREE_ROWS + 10 * size or unpacked > FREE_BYTES + 200 * size:
        raise InputError(
            f"{path}: expected a log, found {size:,} bytes that stand for {metadata.num_rows:,} rows or {unpacked:,} "
            "bytes; write it anew, from the data that it was made of"
        )
