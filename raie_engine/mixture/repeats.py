"""What a user had before: how long ago, and how often, for every item of a history.

Legend: n windows, v item rows (row 0 is padding), h pairs of a window and an item of its history.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raie.engine.data.windows import Windows, histories_of

__all__ = ["AGES", "EarlierItems", "earlier_items"]

AGES = 9
"""Ages of an earlier item: the last one, 2 back, 3 to 4 back, 5 to 8 and so on; the last age has no end."""


@dataclass(frozen=True, eq=False)
class EarlierItems:
    """The distinct items of each history.

    row: int64 [h], the window. item: int64 [h]. age: int64 [h], in [0, AGES), of the newest time. times: float32 [h], the
    natural logarithm of how often.
    """

    row: Tensor
    item: Tensor
    age: Tensor
    times: Tensor

    def ages(self, n: int, v: int) -> tuple[Tensor, Tensor]:
        """The age of every item in every window's history, plus 1, and the logarithm of how often it is there.

        Args:
            n: windows.
            v: item rows; later ones are left out.

        Returns:
            int64 [n, v], 0 for an item that is not there, and float32 [n, v].
        """
        known = self.below(v)
        where = known.row, known.item
        age = torch.zeros(n, v, dtype=torch.long).index_put_(where, known.age + 1)
        return age, torch.zeros(n, v).index_put_(where, known.times)

    def below(self, v: int) -> EarlierItems:
        """Those of the first item rows.

        Args:
            v: how many item rows.

        Returns:
            The items.
        """
        here = self.item < v
        return EarlierItems(*(array[here] for array in (self.row, self.item, self.age, self.times)))


def earlier_items(windows: Windows) -> EarlierItems:
    """The earlier items of windows: of their whole histories, where they hold them, else of their contexts.

    Args:
        windows: n of them.

    Returns:
        The items.
    """
    row, item, back = histories_of(windows)
    v = int(item.max(initial=0)) + 1
    key = row.astype(np.int64) * v + item
    distinct, slot, times = np.unique(key, return_inverse=True, return_counts=True)
    newest = np.full(len(distinct), np.iinfo(np.int64).max)
    np.minimum.at(newest, slot, back)
    return EarlierItems(
        torch.from_numpy(distinct // v),
        torch.from_numpy(distinct % v),
        torch.from_numpy(_age(newest)),
        torch.from_numpy(np.log(times).astype(np.float32)),
    )


def _age(back: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 for 0, 1 for 1, 2 for 2 and 3, 3 for 4 to 7 and so on, by whole-number arithmetic: bits of `back`."""
    bits = np.searchsorted(2 ** np.arange(AGES - 1), back, side="right")
    return np.asarray(bits, np.int64)
