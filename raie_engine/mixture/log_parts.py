"""What counts of a log say of the next item: for each part, how many times as likely as by chance every item is.

    lift(i) = v q(i)    q(i) = sum over back of forget^back C[x_back, i] / (C[x_back] + PRIOR), divided by its largest sum

x_back: the item so many places before the end of the history; C[x, i]: how often i came after x; C[x]: its sum over i.
Popularity and trend are the same for every history.
Source: a decayed Markov chain, as a cache beside a neural model (arXiv 1612.04426).
Legend: n windows, L positions, v item rows (row 0 is padding), p pairs of items.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raie.engine.data.windows import Windows
from raie.engine.mixture.log_counts import PAIR_KINDS, LogCounts, PairKind

__all__ = ["LogParts", "sums_after"]

PRIOR = 5.0
"""An item that fewer pairs than this begin with says little."""
POPULARITY_PARTS = ("trend", "popularity")


@dataclass(frozen=True, eq=False)
class LogParts:
    """The parts of these counts, over v item rows; items beyond the counts have a lift of 0."""

    counts: LogCounts
    v: int

    def lifts(self, windows: Windows, names: Collection[str]) -> dict[str, Tensor]:
        """The lift of every item under some parts.

        Args:
            windows: n of them; the ends of their contexts speak.
            names: the parts wanted; those that are no parts of a log are passed over.

        Returns:
            By name: float32 [n, v] of what followed, [1, v] of popularity and trend.
        """
        by_pairs = {
            kind.name: self._following(kind, number, windows.items)
            for number, kind in enumerate(PAIR_KINDS)
            if kind.name in names
        }
        return by_pairs | {name: lift for name, lift in self._alike.items() if name in names}

    @property
    def trend(self) -> Tensor:
        """The lift of what is popular lately: float32 [1, v]."""
        return self._alike["trend"]

    @cached_property
    def _alike(self) -> Mapping[str, Tensor]:
        """The lifts that are the same for every window: float32 [1, v] by POPULARITY_PARTS."""
        return {name: self._popular(getattr(self.counts, name)) for name in POPULARITY_PARTS}

    @cached_property
    def _shares(self) -> NDArray[np.float64]:
        """v C[x, i] / (C[x] + PRIOR) of every pair, [p, c]."""
        first = np.repeat(np.arange(self.counts.items + 1), np.diff(self.counts.start))
        pairs = self.counts.pairs.astype(np.float64)
        totals = [np.bincount(first, column, minlength=self.counts.items + 1) for column in pairs.T]
        sums = np.stack(totals, axis=1)[first]
        return np.asarray(self.v * pairs / (sums + PRIOR))

    def _following(self, kind: PairKind, number: int, items: NDArray[np.int32]) -> Tensor:
        counts = self.counts
        sums = sums_after(items, kind, counts.start, counts.following, self._shares[:, number], self.v)
        sums /= sum(kind.forget**k for k in range(kind.context))
        return torch.from_numpy(sums.astype(np.float32))

    def _popular(self, counts: NDArray[np.float64]) -> Tensor:
        lift = np.zeros(self.v, np.float32)
        lift[: len(counts)] = self.v * counts / max(float(counts.sum()), 1.0)
        return torch.from_numpy(lift).unsqueeze(0)


def sums_after(
    items: NDArray[np.int32],
    kind: PairKind,
    start: NDArray[np.int64],
    following: NDArray[np.int32],
    weights: NDArray[np.float64],
    v: int,
) -> NDArray[np.float64]:
    """What the last items of histories say of every item: sum over back of forget^back w[x_back, i].

    Args:
        items: [n, L], the contexts.
        kind: how many items speak, and what each step back leaves of what they say.
        start: [u + 1]; the items after x < u are following[start[x]:start[x + 1]].
        following: [p], below v.
        weights: [p], of each pair.
        v: item rows.

    Returns:
        float64 [n, v].
    """
    n, back = len(items), (items != 0).sum(axis=1, keepdims=True) - 1 - np.arange(items.shape[1])
    row, slot = np.nonzero((items > 0) & (items < len(start) - 1) & (back < kind.context))
    first, says = items[row, slot], kind.forget ** back[row, slot]
    size = start[first + 1] - start[first]
    entry = np.arange(size.sum()) + np.repeat(start[first] - np.cumsum(size) + size, size)
    target = np.repeat(row * v, size) + following[entry]
    sums = np.bincount(target, np.repeat(says, size) * weights[entry], minlength=n * v)
    return sums.astype(np.float64, copy=False).reshape(n, v)  # of no weights at all they are whole numbers
