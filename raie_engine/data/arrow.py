"""From arrow arrays to numpy without pandas: pyarrow's own `to_numpy` imports it, which costs half a second."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["first_true", "rows_true", "to_numpy"]


def to_numpy(values: Any) -> NDArray[Any]:
    """A number array without nulls, as a read-only view.

    Args:
        values: an arrow array.

    Returns:
        A view.
    """
    return np.from_dlpack(values)


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
