"""Arrays: names for their types, and orders of rows that are the same everywhere.

Legend: n values.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "Ints", "earlier_rows", "first_appearance", "stable_order"]

Floats: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int32]

_CHUNK = 1 << 22  # row numbers that are written out at a time


def stable_order(values: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Row numbers, int64 [n], that sort the integers `values` [n]; equal values keep their order.

    Value and row are packed into one integer and sorted by value: numpy's plain sort of integers is several times
    faster than its stable argsort.

    Args:
        values: integers [n].

    Returns:
        Row numbers, int64 [n].
    """
    if not len(values):
        return np.empty(0, dtype=np.int64)
    lowest, row_bits = int(values.min()), len(values).bit_length()
    if (int(values.max()) - lowest).bit_length() + row_bits > 62:
        return np.argsort(values, kind="stable")
    packed = values.astype(np.int64)
    packed -= lowest
    packed <<= row_bits
    packed |= np.arange(len(values))
    packed.sort()
    packed &= (1 << row_bits) - 1
    return packed


def earlier_rows(user: NDArray[np.integer[Any]], most: int) -> NDArray[np.uint8]:
    """How many rows of its user come before each row.

    Args:
        user: [n], the rows of one user one after the other.
        most: what is counted up to, below 256.

    Returns:
        uint8 [n].
    """
    earlier = np.zeros(len(user), np.uint8)
    for step in range(1, most + 1):
        earlier[step:] += user[step:] == user[:-step]
    return earlier


def first_appearance(codes: NDArray[np.integer[Any]], size: int) -> NDArray[np.int64]:
    """The distinct codes in order of first appearance; codes lie in [0, size).

    Args:
        codes: integers [n] in [0, size).
        size: how many codes there may be.

    Returns:
        Distinct codes, int64.
    """
    if _counted_up(codes):
        return np.arange(int(codes.max(initial=-1)) + 1)
    first = np.full(size, -1, dtype=np.int64)
    for stop in range(len(codes), 0, -_CHUNK):
        start = max(0, stop - _CHUNK)
        # The last assignment, that of the earliest row, stays.
        first[codes[start:stop][::-1]] = np.arange(stop - 1, start - 1, -1)
    present = np.flatnonzero(first >= 0)
    return present[np.argsort(first[present])]


def _counted_up(codes: NDArray[np.integer[Any]]) -> bool:
    """Whether each code is the next one where it comes first, as a dictionary numbers its values."""
    highest = np.maximum.accumulate(codes)
    return bool((codes[:1] == 0).all() and (codes[1:] <= highest[:-1] + 1).all())
