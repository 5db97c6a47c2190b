"""What the counts of one region say of the next item, shrunk to what the counts of the whole log say.

    popularity: lift(i) = v (n[i] + m_1 q(i)) / (n + m_1)        q: the log's trend
    short: lift(i) = v (c(i) + m_2 q(i)) / (c + m_2)             q: the log's "short", divided by v

n: the region's faded rows by item; c(i): sum over back of fade^back C[x_back, i]. So a region with few rows says what the
log says.
Legend: n windows, v item rows (row 0 is padding), s items and p pairs of items of the region.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raie.engine.config import REGION_PARTS
from raie.engine.data.windows import Windows
from raie.engine.mixture.log_counts import LogCounts
from raie.engine.mixture.log_parts import LogParts
from raie.engine.mixture.region_counts import NEAR, RegionCounts

__all__ = ["RegionParts"]

TREND_ROWS, NEAR_ROWS = 1000.0, 30.0
"""m_1 and m_2: how many rows of the region weigh as much as the log (docs/research.md)."""
POPULARITY, SHORT = REGION_PARTS


@dataclass(frozen=True, eq=False)
class RegionParts:
    """The parts of a region's counts beside those of the log's."""

    counts: RegionCounts
    log: LogParts

    @property
    def v(self) -> int:
        """Item rows."""
        return self.log.v

    @property
    def counted(self) -> LogCounts:
        """The counts of the log."""
        return self.log.counts

    @property
    def trend(self) -> Tensor:
        """As of the log: float32 [1, v]."""
        return self.log.trend

    def lifts(self, windows: Windows, names: Collection[str]) -> dict[str, Tensor]:
        """As of the log's parts, with the region's own.

        Args:
            windows: n of them.
            names: the parts wanted.

        Returns:
            By name: float32 [n, v], or [1, v] of what is the same for every history.
        """
        own: Mapping[str, Tensor] = {POPULARITY: self._popularity} if POPULARITY in names else {}
        wanted = {*names, NEAR.name} if SHORT in names else set(names)
        by_part = self.log.lifts(windows, wanted)
        if SHORT in names:
            own = {**own, SHORT: self._short(windows.items, by_part[NEAR.name])}
        return {name: lift for name, lift in {**by_part, **own}.items() if name in names}

    @cached_property
    def _popularity(self) -> Tensor:
        counts = np.zeros(self.v)
        known = self.counts.item < self.v
        counts[self.counts.item[known]] = self.counts.popularity[known]
        q = self.trend[0].numpy().astype(np.float64) / self.v
        lift = self.v * (counts + TREND_ROWS * q) / (counts.sum() + TREND_ROWS)
        return torch.from_numpy(lift.astype(np.float32)).unsqueeze(0)

    @cached_property
    def _start(self) -> NDArray[np.int64]:
        """The pairs of first item x are those from start[x] to start[x + 1]: int64 [v + 1]."""
        return np.searchsorted(self.counts.first, np.arange(self.v + 1)).astype(np.int64)

    def _short(self, items: NDArray[np.int32], log: Tensor) -> Tensor:
        """log: [n, v], what the log's counts say."""
        n, v, start = len(items), self.v, self._start
        back = (items != 0).sum(axis=1, keepdims=True) - 1 - np.arange(items.shape[1])
        row, slot = np.nonzero((items > 0) & (items < v) & (back >= 0) & (back < NEAR.context))
        first, says = items[row, slot], NEAR.forget ** back[row, slot]
        size = start[first + 1] - start[first]
        entry = np.arange(size.sum()) + np.repeat(start[first] - np.cumsum(size) + size, size)
        following, weight = self.counts.following[entry], np.repeat(says, size) * self.counts.pairs[entry]
        target = np.repeat(row * v, size) + following
        inside = following < v
        sums = np.bincount(target[inside], weight[inside], minlength=n * v).reshape(n, v)
        share = log.double().numpy() * NEAR_ROWS
        lift = (v * sums + share) / (sums.sum(axis=1, keepdims=True) + NEAR_ROWS)
        return torch.from_numpy(lift.astype(np.float32))
