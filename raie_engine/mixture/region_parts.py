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
from raie.engine.mixture.log_parts import LogParts, sums_after
from raie.engine.mixture.region_counts import NEAR, RegionCounts

__all__ = ["RegionParts", "parts_of"]

TREND_ROWS, NEAR_ROWS = 1000.0, 30.0
"""m_1 and m_2: how many rows of the region weigh as much as the log (docs/research.md)."""
POPULARITY, SHORT = REGION_PARTS


@dataclass(frozen=True, eq=False)
class RegionParts:
    """The parts of a region's counts beside those of the log's."""

    own: RegionCounts
    log: LogParts

    @property
    def v(self) -> int:
        """Item rows."""
        return self.log.v

    @property
    def counts(self) -> LogCounts:
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
        known = self.own.item < self.v
        counts[self.own.item[known]] = self.own.popularity[known]
        q = self.trend[0].numpy().astype(np.float64) / self.v
        lift = self.v * (counts + TREND_ROWS * q) / (counts.sum() + TREND_ROWS)
        return torch.from_numpy(lift.astype(np.float32)).unsqueeze(0)

    @cached_property
    def _pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]:
        """Where the pairs of each first item start, int64 [v + 1], what follows, and how often, of items below v."""
        known = self.own.following < self.v
        start = np.searchsorted(self.own.first[known], np.arange(self.v + 1)).astype(np.int64)
        return start, self.own.following[known], self.own.pairs[known]

    def _short(self, items: NDArray[np.int32], log: Tensor) -> Tensor:
        """log: [n, v], what the log's counts say."""
        sums = sums_after(items, NEAR, *self._pairs, self.v)
        share = log.double().numpy() * NEAR_ROWS
        lift = (self.v * sums + share) / (sums.sum(axis=1, keepdims=True) + NEAR_ROWS)
        return torch.from_numpy(lift.astype(np.float32))


def parts_of(own: RegionCounts | None, log: LogParts) -> LogParts | RegionParts:
    """The parts of a log and, where a region counts by itself, of the region.

    Args:
        own: the region's counts; None where it has none.
        log: the parts of the log.

    Returns:
        The parts.
    """
    return log if own is None else RegionParts(own, log)
