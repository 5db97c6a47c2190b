"""What each item of a context adds to the scores of other items: the largest weights of an item-item model.

Legend: n windows, L positions, m items, v item rows (row 0 is padding), p pairs of items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raie.engine.bytes.arrays import pack, unpack
from raie.engine.data.windows import Windows
from raie.engine.errors import DamagedArtifact
from raie.engine.strategies.task_data import Score

__all__ = ["MOST_ITEMS", "ItemWeights", "largest_weights", "most_frequent"]

MOST_ITEMS = 20_000
"""A closed form is solved for so many items at most: a matrix of 1.6 GB."""
_BACKING = 1e-6
"""Of an item's score, at most: popularity decides between equals."""
_TYPES = {"start": np.int64, "second": np.int32, "weight": np.float32, "count": np.int64}
_AXES = {"start": "s", "second": "p", "weight": "p", "count": "v"}
_PART = 1024  # rows at a time


@dataclass(frozen=True, eq=False)
class ItemWeights:
    """start: int64 [v + 1]. second: int32 [p]; x speaks for those at start[x]:start[x + 1]. weight: float32 [p]. count:
    int64 [v], how often each item came.
    """

    start: NDArray[np.int64]
    second: NDArray[np.int32]
    weight: NDArray[np.float32]
    count: NDArray[np.int64]

    def scores(self, items: NDArray[np.int32], fade: float) -> Tensor:
        """The weights of each context's items, summed; each position further back counts `fade` times as much.

        Args:
            items: item rows [n, L], left-justified, 0 behind the last.
            fade: above 0, at most 1.

        Returns:
            float32 [n, v], minus infinity for padding.
        """
        n, v = len(items), len(self.count)
        row, slot = np.nonzero((items > 0) & (items < v))
        steps_back = (items != 0).sum(axis=1)[row] - 1 - slot
        stop = self.start[1:][items[row, slot]]
        size = stop - self.start[items[row, slot]]
        entry = np.repeat(stop - np.cumsum(size), size) + np.arange(size.sum())
        slots = np.repeat(row * v, size) + self.second[entry]
        sums = np.bincount(slots, np.repeat(fade**steps_back, size) * self.weight[entry], minlength=n * v)
        scores = torch.from_numpy((sums.reshape(n, v) + self._backing()).astype(np.float32))
        scores[:, 0] = float("-inf")
        return scores

    def score(self, fade: float) -> Score:
        """The function from windows to scores.

        Args:
            fade: as for `scores`.

        Returns:
            The function.
        """

        def scored(windows: Windows) -> Tensor:
            return self.scores(windows.items, fade)

        return scored

    def _backing(self) -> NDArray[np.float64]:
        return _BACKING * self.count / max(1, int(self.count.max()))

    def to_bytes(self) -> bytes:
        """Equal weights give equal bytes."""
        return pack({"kind": "item weights"}, {name: getattr(self, name) for name in _TYPES})

    @staticmethod
    def from_bytes(data: bytes) -> ItemWeights:
        """The inverse of `to_bytes`.

        Args:
            data: the stored bytes.

        Returns:
            The value that was stored.

        Raises:
            DamagedArtifact: for bytes that hold no such value.
        """
        _, arrays = unpack(data, "item weights", _TYPES, _AXES)
        start, second, v = arrays["start"], arrays["second"], len(arrays["count"])
        whole = (
            len(start) == v + 1
            and start[0] == 0
            and start[-1] == len(second)
            and bool((np.diff(start) >= 0).all())
        )
        if not whole or not bool(((second > 0) & (second < v)).all()):
            raise DamagedArtifact(
                f"expected weights of {max(v - 1, 0)} items that refer to one another, found others"
            )
        return ItemWeights(**arrays)


def most_frequent(count: NDArray[np.floating] | NDArray[np.integer], most: int = MOST_ITEMS) -> NDArray[np.int64]:
    """The items that a closed form is solved for.

    Args:
        count: [v], how often each item came.
        most: how many at most.

    Returns:
        Item rows of those that came, the most frequent ones, ascending int64 [m].
    """
    order = np.argsort(-count, kind="stable")[:most]
    return np.sort(order[count[order] > 0])


def largest_weights(weights: Tensor, items: NDArray[np.int64], count: NDArray[np.int64], kept: int) -> ItemWeights:
    """The weights of each item that are largest by size.

    Args:
        weights: float32 [m, m], row x: what x adds to the others' scores.
        items: item rows, ascending int64 [m].
        count: int64 [v], how often each item came.
        kept: weights of one item; those as large as the last of them stay too.

    Returns:
        The weights.
    """
    sizes, seconds, values = np.zeros(len(count), np.int64), [], []
    for first in range(0, len(items), _PART):
        part = weights[first : first + _PART].contiguous()  # else a transposed matrix is read slowly
        by_size = part.abs()
        least = by_size.topk(min(kept, len(items)), dim=1).values[:, -1:]
        row, column = torch.nonzero((by_size >= least) & (by_size > 0), as_tuple=True)
        sizes[items[first : first + _PART]] = np.bincount(row.numpy(), minlength=len(part))
        seconds.append(items[column.numpy()].astype(np.int32))
        values.append(part[row, column].numpy())
    start = np.concatenate([[0], np.cumsum(sizes)])
    none = np.zeros(0, np.int32), np.zeros(0, np.float32)
    return ItemWeights(start, np.concatenate([none[0], *seconds]), np.concatenate([none[1], *values]), count)
