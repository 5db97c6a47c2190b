"""How a region moves when an edit reaches it: centre, radius, concentration and count by moving averages.

Angles in radians. Every function takes and gives values; the rate is movement * n / (n + n0) for n windows, so few
windows move a region little.
Legend: n windows of a region, d dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raie.engine.arrays import Floats
from raie.engine.regions.region_map import LEAST_RADIUS, angles
from raie.engine.regions.von_mises_fisher import concentration

__all__ = ["Neighbours", "RegionShape", "move_region"]

_EXPAND_PULL = 0.5
"""An Expand window pulls the centre half as much as an Update window: equation 6 moves it only a little."""


@dataclass(frozen=True, eq=False)
class RegionShape:
    """One region's centre float32 [d], R, R_max, kappa and number of windows so far."""

    centre: Floats
    radius: float
    max_radius: float
    concentration: float
    count: int


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The other regions as they are now: centres float32 [j, d] and radius float32 [j]; apart [j]: whether
    before the
    edit they did not overlap with this one."""

    centres: Floats
    radius: Floats
    apart: npt.NDArray[np.bool_]


def move_region(
    shape: RegionShape,
    vectors: Floats,
    expanding: npt.NDArray[np.bool_],
    others: Neighbours,
    *,
    grow: bool,
    movement: float,
    prior_strength: float,
    level: float,
) -> RegionShape:
    """The region after the windows of an edit.

    The centre moves towards their mean direction, R towards the `level` quantile of their angles to the new centre
    (`grow`: never down), kappa towards their estimate. R never passes R_max, which stays.

    Args:
        shape: before it.
        vectors: [n, d], of its windows.
        expanding: mask [n] of those that the gate called Expand.
        others: the other regions.
        grow: whether R never shrinks.
        movement: rate of the moving averages.
        prior_strength: n0, windows by which a region resists.
        level: quantile of the angles that R follows.

    Returns:
        The shape after it.

    Source: arXiv 2603.00638, equations 5 and 6; equation 8 as a limit, see `_kept_apart` and `_room`.

    Departs from the paper: R follows a quantile as at setup, instead of growing by a constant gap.
    """
    rate = movement * len(vectors) / (len(vectors) + prior_strength)
    pull = np.where(expanding, _EXPAND_PULL, 1.0)
    target = (pull[:, None] * vectors).sum(axis=0, dtype=np.float64) / pull.sum()
    centre = _kept_apart(shape.centre, target, rate, others)
    cosines = (vectors @ centre).astype(np.float64)
    radius = (1 - rate) * shape.radius + rate * float(np.quantile(angles(cosines), level))
    if grow:
        radius = max(radius, shape.radius)
    radius = max(min(radius, shape.max_radius, _room(centre, others)), LEAST_RADIUS)
    kappa = concentration(float(cosines.mean()), len(centre))
    kappa = (1 - rate) * shape.concentration + rate * kappa
    return RegionShape(centre, min(radius, shape.max_radius), shape.max_radius, kappa, shape.count + len(vectors))


def _kept_apart(centre: Floats, target: npt.NDArray[np.float64], rate: float, others: Neighbours) -> Floats:
    """The centre moved at `rate` towards `target`, or less, so that it enters no other region.

    Every angle to another centre stays at least that region's radius, or what it was where it was less already.
    """
    floor = np.minimum(angles(others.centres @ centre), others.radius)
    for halvings in range(8):
        step = rate / 2**halvings
        moved = (1 - step) * centre.astype(np.float64) + step * target
        norm = float(np.linalg.norm(moved))
        if norm < 1e-9:
            continue
        candidate = np.asarray(moved / norm, np.float32)
        if (angles(others.centres @ candidate) >= floor).all():
            return candidate
    return centre


def _room(centre: Floats, others: Neighbours) -> float:
    """The radius at which the region would touch one that was apart from it.

    Balls that overlap already, as they do in many dimensions, are divided by which centre is nearest; for them
    R_max, beyond which none of the region's own setup windows lay, is the limit.
    """
    room = (angles(others.centres @ centre) - others.radius)[others.apart]
    return float(room.min()) if len(room) else float(np.pi)
