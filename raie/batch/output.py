"""The parts of a batch become one file, Parquet, CSV or JSON lines: whole or not at all, and the same bytes every time.

Where the rows come from is in the file: key-value metadata of Parquet, `NAME.meta.json` beside the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from raie.errors import RaieError
from raie.output_files import require_free, whole_file

__all__ = ["META_SUFFIX", "require_output", "write_output"]

META_SUFFIX = ".meta.json"
_SUFFIXES = (".parquet", ".csv", ".jsonl")


def require_output(path: Path, *, replace: bool) -> None:
    """Refuse an output of an unknown kind, or one that must not be written over, before the work.

    Raises:
        RaieError: It is one.
    """
    if path.suffix not in _SUFFIXES:
        raise RaieError(
            f"expected an output named .parquet, .csv or .jsonl, found {path.suffix or path.name!r}: rename it"
        )
    require_free(path, replace=replace)
    if path.suffix != ".parquet":
        require_free(_meta(path), replace=True)  # it belongs to the output, as its name says


def write_output(
    path: Path,
    parts: Iterable[Path],
    schema: pa.Schema,
    facts: Mapping[str, str],
    *,
    work: Path,
    replace: bool,
    on_part: Callable[[int], None],
) -> None:
    """Join the parts.

    Args:
        path: The file that the user named.
        parts: Parquet files in their order.
        schema: Their columns.
        facts: What the file says of its origin.
        work: A folder where the bytes gather until they are whole.
        replace: Whether a file of this name may be written over.
        on_part: Called with how many parts are written.

    Raises:
        RaieError: As of `require_output`.
    """
    if path.suffix != ".parquet":
        with whole_file(_meta(path), replace=True, work=work / "meta") as file:
            file.write(json.dumps(facts, indent=1, sort_keys=True).encode() + b"\n")
    write = {".parquet": _parquet, ".csv": _csv, ".jsonl": _json_lines}[path.suffix]
    with whole_file(path, replace=replace, work=work / "joined") as file:
        add, end = write(file, schema, facts)
        for number, part in enumerate(parts, start=1):
            table = pa.parquet.read_table(part)
            if len(table):
                add(table)
            on_part(number)
        end()


def _meta(path: Path) -> Path:
    return path.with_name(path.name + META_SUFFIX)


_Writer = tuple[Callable[[pa.Table], Any], Callable[[], Any]]


def _parquet(file: BinaryIO, schema: pa.Schema, facts: Mapping[str, str]) -> _Writer:
    described = schema.with_metadata({f"raie.{name}": value for name, value in facts.items()})
    writer = pa.parquet.ParquetWriter(file, described, compression="zstd", write_page_checksum=True)
    return lambda table: writer.write_table(table.replace_schema_metadata(described.metadata)), writer.close


def _csv(file: BinaryIO, schema: pa.Schema, facts: Mapping[str, str]) -> _Writer:
    writer = pa.csv.CSVWriter(file, _plain(schema.empty_table()).schema)
    return lambda table: writer.write_table(_plain(table)), writer.close


def _plain(table: pa.Table) -> pa.Table:
    """Scores with the digits that `raie recommend --json` prints, those of a double."""
    column = table.schema.get_field_index("score")
    return table.set_column(column, "score", table["score"].cast(pa.float64()))


def _json_lines(file: BinaryIO, schema: pa.Schema, facts: Mapping[str, str]) -> _Writer:
    def add(table: pa.Table) -> None:
        table, pieces = _plain(table), []
        for number, name in enumerate(table.column_names):
            pieces += [f"{', ' if number else '{'}{json.dumps(name)}: ", _as_json(table[name].combine_chunks())]
        lines = pc.binary_join_element_wise(*pieces, "}\n", "")
        file.write("".join(lines.to_pylist()).encode())

    return add, lambda: None


def _as_json(values: Any) -> Any:
    """Each value as JSON text; every distinct text is written once."""
    if pa.types.is_string(values.type):
        encoded = values.dictionary_encode()
        texts = [json.dumps(text, ensure_ascii=False) for text in encoded.dictionary.to_pylist()]
        values = pa.array(texts, pa.string()).take(encoded.indices)
    return pc.fill_null(values.cast(pa.string()), "null")
