"""A column of external ids becomes codes and distinct texts; ids that floats have damaged are refused. n rows.

Legend: n rows of the log.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raie.engine.data.arrow import first_true, to_numpy, whole
from raie.engine.errors import InputError

__all__ = ["Codes", "encoded_ids", "id_codes", "spelt_twice"]

# From here on not every whole number is one of these floats: neighbouring ids have run together.
_FIRST_LOST = {"float": 2**24, "double": 2**53}


@dataclass(frozen=True, eq=False)
class Codes:
    """External ids of one column.  codes: int32 [n], indices into texts.  texts: the distinct ids."""

    codes: NDArray[np.int32]
    texts: list[str]


def id_codes(column: pa.ChunkedArray, where: str, role: str, *, blanks: bool = False) -> Codes:
    """The ids of one column as codes.

    Args:
        column: of ids.
        where: the file, for messages.
        role: for messages.
        blanks: leave out those around an id.

    Returns:
        The distinct ids, and a code per row.

    Raises:
        InputError: for a row without an id, with a NUL byte in it, or with a float too large to be an id.
    """
    if pa.types.is_nested(column.type):
        raise InputError(f"{where}: expected one id per row, found {column.type}; flatten the column")
    encoded = whole(encoded_ids(column).unify_dictionaries())
    missing = first_true(pc.is_null(encoded))
    if missing is not None:
        raise _missing_id(where, role, missing)
    codes = to_numpy(encoded.indices).astype(np.int32, copy=False)
    _require_whole(encoded.dictionary, codes, where)
    texts = _id_texts(encoded.dictionary)
    if blanks:
        codes, texts = _without_blanks(codes, texts)
    damaged = [text for text in texts if "\0" in text] if "\0" in "".join(texts) else []
    for text, words in (("", None), *((text, "NUL byte") for text in damaged)):
        if text in texts and (codes == texts.index(text)).any():
            row = int(np.argmax(codes == texts.index(text)))
            raise _missing_id(where, role, row) if words is None else _nul(where, role, row)
    return Codes(codes, texts)


def encoded_ids(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of ids with a dictionary for each chunk.

    Args:
        column: of text, numbers, or either of them dictionary-encoded.

    Returns:
        The ids by int32 code.
    """
    if pa.types.is_dictionary(column.type) and not _is_text(column.type.value_type):
        column = column.cast(column.type.value_type)
    return column if pa.types.is_dictionary(column.type) else column.dictionary_encode()


def spelt_twice(texts: list[str]) -> tuple[str, str] | None:
    """The first whole number that is there with and without ".0", both ways; None where none is.

    Args:
        texts: ids.

    Returns:
        Both spellings.
    """
    if ".0\n" not in "\n".join(texts) + "\n":  # many times faster than a look at each
        return None
    known = set(texts)
    return next(((text[:-2], text) for text in texts if text.endswith(".0") and text[:-2] in known), None)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _require_whole(values: pa.Array, codes: NDArray[np.int32], where: str) -> None:
    if not pa.types.is_floating(values.type):
        return
    least = _FIRST_LOST[str(values.type)]
    lost = first_true(pc.greater_equal(pc.abs(values.cast(pa.float64())), float(least)))
    if lost is not None:
        row = int(np.argmax(codes == lost))
        raise InputError(
            f"{where}: expected ids that a float of this size holds, whole numbers below {least:,}, found "
            f"{values[lost].as_py():.0f} in row {row + 1}: its digits are lost and other ids have become the same; "
            "write the column anew, as integers or text"
        )


def _id_texts(values: pa.Array) -> list[str]:
    """Distinct ids of any type as text; whole floats as integers, as a table with gaps turned them into."""
    if pa.types.is_floating(values.type):
        numbers = (repr(number) for number in values.to_pylist())
        return ["" if text == "nan" else text.removesuffix(".0") for text in numbers]
    texts = values.cast(pa.string()).to_pylist()
    return [text or "" for text in texts] if values.null_count else texts


def _without_blanks(codes: NDArray[np.int32], texts: list[str]) -> tuple[NDArray[np.int32], list[str]]:
    code_of: dict[str, int] = {}
    new_code = np.array([code_of.setdefault(text.strip(), len(code_of)) for text in texts], dtype=np.int32)
    return new_code[codes] if len(codes) else codes, list(code_of)


def _missing_id(where: str, role: str, index: int) -> InputError:
    return InputError(
        f"{where}: expected {role} ids in every row, found none in row {index + 1}; fill it or remove the row"
    )


def _nul(where: str, role: str, index: int) -> InputError:
    return InputError(
        f"{where}: expected {role} ids of text, found a NUL byte in row {index + 1}; repair it, or save the file as UTF-8"
    )
