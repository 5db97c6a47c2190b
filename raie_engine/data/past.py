"""The whole history before each of many targets, as spans of one array that windows of one user share.

Legend: n windows, p items of the array, h items of all histories.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Past", "compacted", "span_rows", "without_above"]


class Past(NamedTuple):
    """The history of window i is items[start[i]:stop[i]], oldest first: int32 [p], int64 [n], int64 [n].

    An empty span says nothing: the context is then the history.
    """

    items: NDArray[np.int32]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]


def span_rows(start: NDArray[np.int64], stop: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows of all spans, one span after the other.

    Args:
        start: int64 [n].
        stop: int64 [n], not below start.

    Returns:
        int64 [h].
    """
    size = stop - start
    return np.arange(int(size.sum())) + np.repeat(start - np.cumsum(size) + size, size)


def compacted(past: Past) -> Past | None:
    """The same histories in the one layout that depends on nothing else, so that equal histories have equal bytes.

    Of windows that follow each other, each with the history of the one before as its beginning, the last one's is
    stored.

    Args:
        past: of n windows.

    Returns:
        The histories; None where all are empty.
    """
    start, stop = past.start, past.stop
    size = stop - start
    if not size.any():
        return None
    last = np.flatnonzero(np.append(~_continued(past), True))
    group = np.repeat(np.arange(len(last)), np.diff(np.append(-1, last)))
    begin = np.cumsum(size[last]) - size[last]
    items = past.items[span_rows(start[last], stop[last])]
    return Past(items, begin[group], begin[group] + size)


def _continued(past: Past) -> NDArray[np.bool_]:
    """Of each window but the last, whether its history is the beginning of the next one's."""
    start, size = past.start, past.stop - past.start
    continued: NDArray[np.bool_] = size[:-1] <= size[1:]
    apart = np.flatnonzero(continued & (start[:-1] != start[1:]) & (size[:-1] > 0))
    these = past.items[span_rows(start[apart], start[apart] + size[apart])]
    those = past.items[span_rows(start[apart + 1], start[apart + 1] + size[apart])]
    unlike = np.repeat(apart, size[apart])[these != those]
    continued[unlike] = False
    return continued


def without_above(past: Past, row: int) -> Past:
    """The histories without the items of later rows than `row`.

    Args:
        past: of n windows.
        row: the last item row that stays.

    Returns:
        The histories.
    """
    kept: NDArray[np.bool_] = past.items <= row
    before: NDArray[Any] = np.append(0, np.cumsum(kept))
    return Past(past.items[kept], before[past.start], before[past.stop])
