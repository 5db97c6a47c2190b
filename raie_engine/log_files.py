"""Log files (CSV, Parquet, JSONL, MovieLens .dat) become raw columns in file order, or one clear error.

Ids leave here as text, dictionary-encoded: a code per row and the distinct texts, never a string per row.
n rows. Rows in messages count from 1 and leave out a header.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet
from numpy.typing import NDArray

from raie_engine.arrow import first_true, to_numpy
from raie_engine.errors import InputError
from raie_engine.log_times import seconds

__all__ = ["Codes", "Columns", "RawLog", "id_codes", "read_raw", "read_table"]

_TEXT = pa.dictionary(pa.int32(), pa.string())
_HEAD_BYTES = 1 << 18
_BLOCK_BYTES = 1 << 23  # each block has its own dictionary of ids: fewer blocks, less to merge
_ID_ROLES = ("user", "item")
_TEXT_ROLES = (*_ID_ROLES, "title")
_FREE_ROWS, _FREE_BYTES = 1_000_000, 1 << 28  # what any parquet file may unpack to, however small it is
_DAT_NAMES = ("user_id", "item_id", "rating", "timestamp")


@dataclass(frozen=True)
class Columns:
    """Which column of the file is which; ratings are read only for a rating threshold, titles are optional."""

    user: str = "user_id"
    item: str = "item_id"
    timestamp: str = "timestamp"
    rating: str | None = None
    title: str | None = None


@dataclass(frozen=True, eq=False)
class Codes:
    """External ids of one column.  codes: int32 [n], indices into texts.  texts: the distinct ids."""

    codes: NDArray[np.int32]
    texts: list[str]


@dataclass(frozen=True, eq=False)
class RawLog:
    """The columns of a log in file order.  timestamp: int64 [n], epoch seconds UTC.  rating: float64 [n]."""

    user: Codes
    item: Codes
    timestamp: NDArray[np.int64]
    rating: NDArray[np.float64] | None


def read_raw(path: str | Path, columns: Columns, *, with_rating: bool) -> RawLog:
    """Read the needed columns of a log file.

    Raises: InputError for a file that is missing, empty, of an unknown kind or broken; for missing columns, ids,
        timestamps or ratings; and for values of the wrong type, each with the row it was found in.
    """
    path = Path(path)
    wanted = {"user": columns.user, "item": columns.item, "time": columns.timestamp}
    if with_rating:
        wanted["rating"] = columns.rating or "rating"
    table = read_table(path, wanted, {} if columns.rating is None else {"rating": columns.rating})
    with _broken_as_input_error(path):
        return RawLog(
            user=id_codes(table["user"], f"{path}: {wanted['user']}", "user"),
            item=id_codes(table["item"], f"{path}: {wanted['item']}", "item"),
            timestamp=seconds(table["time"], f"{path}: {wanted['time']}"),
            rating=_ratings(table["rating"], f"{path}: {wanted['rating']}") if with_rating else None,
        )


def read_table(path: Path, wanted: dict[str, str], named: dict[str, str] | None = None) -> pa.Table:
    """The columns of a file by role. wanted: their names by role, as in `Columns`; named: others that must be there.

    Raises: InputError for a file that is missing, empty, of an unknown kind or broken, and for a missing column.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise InputError(
            f"{path}: expected a log named .csv, .parquet, .jsonl or .dat (MovieLens), found {path.suffix!r}; "
            "rename or convert the file"
        )
    with _broken_as_input_error(path):
        if not path.is_file():
            raise InputError(
                f"{path}: expected a log file, found {'a folder' if path.is_dir() else 'nothing'}; check the path"
            )
        if path.stat().st_size == 0:
            raise InputError(f"{path}: expected interactions, found an empty file (0 bytes)")
        table = read(path, wanted, named or {})
    if table.num_rows == 0:
        raise InputError(f"{path}: expected interactions, found a header and no rows")
    return table


@contextmanager
def _broken_as_input_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeError) as error:
        kind = path.suffix.lower().lstrip(".")
        reason = _row_without_header(" ".join(str(error).split()), headers=kind == "csv")
        raise InputError(
            f"{path}: expected a readable {kind} log, found: {reason:.300}; repair or convert the file"
        ) from error


def _row_without_header(reason: str, *, headers: int) -> str:
    """The CSV parser's "Row #4", which counts the header, as "row 3", like every other row in a message."""
    return re.sub(
        r"^(CSV parse error: |In CSV column #\d+: )Row #(\d+)",
        lambda found: f"{found[1]}row {int(found[2]) - headers}",
        reason,
    )


# --- One reader per kind of file: (path, columns to read and columns that must be there, by role) -> table whose columns
# are named by role.


def _read_csv(path: Path, wanted: dict[str, str], named: dict[str, str]) -> pa.Table:
    with pa.csv.open_csv(path, pa.csv.ReadOptions(block_size=_HEAD_BYTES, use_threads=False)) as head:
        _check_present(path, wanted | named, head.schema.names)
    return _csv_table(path, wanted, pa.csv.ReadOptions(block_size=_BLOCK_BYTES), pa.csv.ParseOptions())


def _read_dat(path: Path, wanted: dict[str, str], named: dict[str, str]) -> pa.Table:
    _check_present(path, wanted | named, _DAT_NAMES)
    # "::" read as the delimiter ":" leaves an empty column between any two.
    names = ["user_id", "_1", "item_id", "_2", "rating", "_3", "timestamp"]
    reading = pa.csv.ReadOptions(block_size=_BLOCK_BYTES, column_names=names)
    return _csv_table(path, wanted, reading, pa.csv.ParseOptions(delimiter=":"))


def _csv_table(path: Path, wanted: dict[str, str], reading: Any, parsing: Any) -> pa.Table:
    converting = pa.csv.ConvertOptions(
        include_columns=list(wanted.values()),
        column_types={wanted[role]: _TEXT for role in _TEXT_ROLES if role in wanted},
        # Only an empty field is missing: "NA" and "null" are ids like any other.
        null_values=[""],
        strings_can_be_null=True,
    )
    try:
        table = pa.csv.read_csv(path, reading, parsing, converting)
    except pa.ArrowInvalid:
        # One thread is slower and its message names the row.
        reading.use_threads = False
        table = pa.csv.read_csv(path, reading, parsing, converting)
    return table.rename_columns(list(wanted))


def _read_parquet(path: Path, wanted: dict[str, str], named: dict[str, str]) -> pa.Table:
    schema = pa.parquet.read_schema(path)
    _check_present(path, wanted | named, schema.names)
    text = [name for role, name in wanted.items() if role in _ID_ROLES and _is_text(schema.field(name).type)]
    file = pa.parquet.ParquetFile(path, read_dictionary=text)
    _require_plausible(path, file.metadata)
    return file.read(list(wanted.values())).select(list(wanted.values())).rename_columns(list(wanted))


def _require_plausible(path: Path, metadata: Any) -> None:
    """Refuses a small file that would fill the memory: a few bytes of run lengths can stand for any number of rows.

    A row of a log takes more than a tenth of a byte, and pages shrink to a twentieth where they are compressed.
    """
    size = path.stat().st_size
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    unpacked = sum(group.total_byte_size for group in groups)
    if metadata.num_rows > _FREE_ROWS + 10 * size or unpacked > _FREE_BYTES + 200 * size:
        raise InputError(
            f"{path}: expected a log, found {size:,} bytes that stand for {metadata.num_rows:,} rows or {unpacked:,} "
            "bytes; write it anew, from the data that it was made of"
        )


def _read_jsonl(path: Path, wanted: dict[str, str], named: dict[str, str]) -> pa.Table:
    with path.open(encoding="utf-8") as lines:
        first = _json_object(path, 1, next((line for line in lines if line.strip()), ""))
    _check_present(path, wanted | named, list(first))
    # The first line fixes the types, so that a text that looks like a date stays the text it is.
    fields = [(name, _json_type(first[name], is_id=role in _ID_ROLES)) for role, name in wanted.items()]
    parsing = pa.json.ParseOptions(explicit_schema=pa.schema(fields), unexpected_field_behavior="ignore")
    try:
        table = pa.json.read_json(path, parse_options=parsing)
    except pa.ArrowInvalid:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    _check_like_first(path, number, _json_object(path, number, line), first, list(wanted.values()))
        raise
    return table.select(list(wanted.values())).rename_columns(list(wanted))


_READERS: dict[str, Callable[[Path, dict[str, str], dict[str, str]], pa.Table]] = {
    ".csv": _read_csv,
    ".dat": _read_dat,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}


def _check_present(path: Path, wanted: dict[str, str], present: Any) -> None:
    for role, name in wanted.items():
        if name not in present:
            raise InputError(
                f"{path}: expected a column {name!r} for the {role}, found {', '.join(present):.300}; "
                f"name the right one with --{role}-column"
            )


def _json_object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected one JSON object per line, found in line {number}: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected one JSON object per line, found in line {number}: {line.strip()[:60]}")
    return value


def _json_type(value: Any, *, is_id: bool) -> pa.DataType:
    if isinstance(value, str) or value is None:
        return pa.string()
    if isinstance(value, int) and is_id:
        return pa.bool_() if isinstance(value, bool) else pa.int64()
    return pa.float64()


def _check_like_first(
    path: Path, number: int, row: dict[str, Any], first: dict[str, Any], names: list[str]
) -> None:
    for name in names:
        value = row.get(name)
        if value is not None and isinstance(value, str) != isinstance(first[name], str):
            raise InputError(
                f"{path}: expected every {name} to be of one type, as {first[name]!r} in the first line, "
                f"found {value!r} in line {number}; write them all as text or all as numbers"
            )


# --- Columns to arrays.


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def id_codes(column: pa.ChunkedArray, where: str, role: str) -> Codes:
    """The ids of one column as codes. Raises: InputError for a row without one; where, role: for its message."""
    if pa.types.is_nested(column.type):
        raise InputError(f"{where}: expected one id per row, found {column.type}; flatten the column")
    if pa.types.is_dictionary(column.type) and not _is_text(column.type.value_type):
        column = column.cast(column.type.value_type)
    if pa.types.is_dictionary(column.type):
        encoded = column.unify_dictionaries().combine_chunks()
    else:
        encoded = column.combine_chunks().dictionary_encode()
    missing = first_true(pc.is_null(encoded))
    if missing is not None:
        raise _missing_id(where, role, missing)
    texts = _id_texts(encoded.dictionary)
    codes = to_numpy(encoded.indices).astype(np.int32, copy=False)
    if "" in texts and (codes == texts.index("")).any():
        raise _missing_id(where, role, int(np.argmax(codes == texts.index(""))))
    return Codes(codes, texts)


def _id_texts(values: pa.Array) -> list[str]:
    """Distinct ids of any type as text; whole floats as integers, as a table with gaps turned them into."""
    if pa.types.is_floating(values.type):
        numbers = (repr(number) for number in values.to_pylist())
        return ["" if text == "nan" else text.removesuffix(".0") for text in numbers]
    return [text or "" for text in values.cast(pa.string()).to_pylist()]


def _missing_id(where: str, role: str, index: int) -> InputError:
    return InputError(
        f"{where}: expected {role} ids in every row, found none in row {index + 1}; fill it or remove the row"
    )


def _ratings(column: pa.ChunkedArray, where: str) -> NDArray[np.float64]:
    column = column.combine_chunks()
    if _is_text(column.type):
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
