"""Between arrow arrays and numpy without pandas: pyarrow's own conversions import it, which costs half a second."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["first_true", "from_numpy", "rows_true", "to_numpy", "whole"]


def to_numpy(values: Any) -> NDArray[Any]:
    """A number array without nulls, as a read-only view.

    Args:
        values: an arrow array.

    Returns:
        A view.
    """
    return np.from_dlpack(values)


def from_numpy(values: NDArray[Any], kind: pa.DataType) -> Any:
    """Numbers as an arrow array on the same memory.

    Args:
        values: [n].
        kind: arrow's type of the same width.

    Returns:
        An arrow array.
    """
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def whole(column: Any) -> Any:
    """A column as one array; one of a single chunk is not copied.

    Args:
        column: a chunked array.

    Returns:
        An arrow array.
    """
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def rows_true(mask: Any) -> NDArray[np.uint64]:
    """Rows where a boolean array is true; null counts as false.

    Args:
        mask: an arrow array.

    Returns:
        Row numbers.
    """
    return to_numpy(pc.indices_nonzero(mask))


def first_true(mask: Any) -> int | None:
    """The first row where a boolean array is true, None where no row is.

    Args:
        mask: an arrow array.

    Returns:
        A row number.
    """
    rows = rows_true(mask)
    return int(rows[0]) if len(rows) else None
