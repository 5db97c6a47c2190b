"""The regions of two snapshots in two dimensions: where their centres lie, and how far each moved.

The two directions in which all centres of both snapshots together differ most (principal components), so that one region
has one place in both maps. Equal centres give equal places: nothing in it is random.
Legend: n centres, d dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raie.snapshots.snapshot_diff import RegionState

__all__ = ["MapPoint", "RegionMaps", "project", "region_maps"]


@dataclass(frozen=True)
class MapPoint:
    """A region on a map.

    Attributes:
        x, y: In [-1, 1].
        share: Of the members of all regions of its snapshot, in [0, 1].
        mark: "same", "changed", "added" or "removed".
    """

    region: int
    x: float
    y: float
    share: float
    mark: str


@dataclass(frozen=True)
class RegionMaps:
    """Two maps with the same axes.

    Attributes:
        before, after: By region; before is empty where nothing is compared.
        explained: The part of the centres' variance that the two axes show, in [0, 1].
    """

    before: tuple[MapPoint, ...]
    after: tuple[MapPoint, ...]
    explained: float


def region_maps(
    before: Mapping[int, RegionState], after: Mapping[int, RegionState], marks: Mapping[int, str]
) -> RegionMaps | None:
    """The maps of two snapshots in one routing space.

    Args:
        before: Regions of the older snapshot; none where nothing is compared.
        after: Regions of the newer one.
        marks: Region -> what differs, for those that differ.

    Returns:
        The maps; None where the centres are unknown or not of one length.
    """
    states = [(region, state) for side in (before, after) for region, state in side.items()]
    if len({len(state.centre) for _, state in states}) != 1 or not states[0][1].centre:
        return None
    points, explained = project([state.centre for _, state in states])
    marked = [
        MapPoint(region, float(x), float(y), state.share, marks.get(region, "same"))
        for (region, state), (x, y) in zip(states, points, strict=True)
    ]
    return RegionMaps(tuple(marked[: len(before)]), tuple(marked[len(before) :]), explained)


def project(centres: Sequence[Sequence[float]]) -> tuple[NDArray[np.float64], float]:
    """Centres on their two principal components.

    Args:
        centres: n of d numbers.

    Returns:
        float64 [n, 2] in [-1, 1], to three digits, and the part of the variance that they show.
    """
    spread = np.asarray(centres, np.float64)
    spread = spread - spread.mean(axis=0)
    _, sizes, axes = np.linalg.svd(spread, full_matrices=False)
    axes = axes[:2] * _signs(axes[:2])[:, None]
    points = np.zeros((len(spread), 2))
    points[:, : len(axes)] = spread @ axes.T
    total = float((sizes**2).sum())
    largest = float(np.abs(points).max(initial=0.0))
    # Rounding, so that the last bits, in which processors differ, move nothing.
    placed = np.round(points / largest, 3) + 0.0 if largest > 1e-9 else np.zeros_like(points)
    return placed, float((sizes[:2] ** 2).sum()) / total if total > 1e-18 else 1.0


def _signs(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 or -1 for each axis, so that its largest number is positive: a decomposition may give either direction."""
    largest = np.abs(np.round(axes, 9)).argmax(axis=1)
    return np.where(axes[np.arange(len(axes)), largest] < 0, -1.0, 1.0)
