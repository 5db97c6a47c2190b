"""Some users' histories as spans of arrays: what a batch reads and answers at a time.

Legend: n users, h known items of all their histories.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raie.engine.data.past import Past
from raie.engine.data.windows import Windows, span_windows

__all__ = ["BLOCK_USERS", "Block", "block_of"]

BLOCK_USERS = 4_096
"""Users that are answered at a time and written as one part: some seconds of work, which is what a killed batch loses."""


@dataclass(frozen=True, eq=False)
class Block:
    """Histories of n users.

    Attributes:
        users: Arrow array of text [n], external ids.
        past: The known items of each, oldest first.
        ignored: int32 [n], items that the snapshot does not know.
        times: int64 [h], epoch seconds of the items; None where there are none.
    """

    users: Any
    past: Past
    ignored: NDArray[np.int32]
    times: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.ignored)

    @cached_property
    def cold(self) -> NDArray[np.bool_]:
        """bool [n]: the users of whom the snapshot knows no item."""
        return np.asarray(self.past.start == self.past.stop)

    def windows(self, length: int) -> Windows:
        """The end of each history as a context of `length` items, with the whole history attached."""
        return span_windows(self.past, length, self.times)


def block_of(
    users: Any, items: NDArray[np.int32], size: NDArray[np.int64], times: NDArray[np.int64] | None
) -> Block:
    """The block of these histories.

    Args:
        users: Arrow array of text [n].
        items: int32, item rows of all histories, one after the other; 0 for an item that the snapshot does not know.
        size: int64 [n], items of each history.
        times: int64 as items; None where there are none.
    """
    known = items > 0
    before = np.append(0, np.cumsum(known))
    stop = np.cumsum(size)
    start = stop - size
    past = Past(items[known], before[start], before[stop])
    ignored = (size - (past.stop - past.start)).astype(np.int32)
    return Block(users, past, ignored, None if times is None else times[known])
