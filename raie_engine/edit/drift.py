"""Which regions predict worse than they did: the ones an edit needs to touch.

Where preferences change while contexts look the same, no routing vector shows it; the loss of the served model
does.
Legend: n older windows, m new ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raie.engine.arrays import Ints
from raie.engine.errors import InputError, NotFinite

__all__ = ["UNDETERMINED", "LossDrift", "loss_drift"]

UNDETERMINED = -math.inf
"""Standard errors of a rise that cannot be determined: below every number, so that no such region ranks first."""


@dataclass(frozen=True)
class LossDrift:
    """One region's mean loss before and now (nats per target; NaN without windows), and the rise in standard errors.

    errors: UNDETERMINED with fewer than two windows on either side.
    """

    region: int
    before: float
    now: float
    errors: float
    drifted: bool


def loss_drift(
    before_region: Ints,
    before_loss: npt.NDArray[np.floating],
    now_region: Ints,
    now_loss: npt.NDArray[np.floating],
    *,
    regions: Iterable[int] | None = None,
    least_errors: float = 3.0,
) -> tuple[LossDrift, ...]:
    """Compare the loss of held-out older windows with that of new ones, region by region.

    With fewer than two windows on either side the rise is undetermined, and the region counts as drifted; not so a
    region without new windows, which lost nothing.

    Args:
        before_region: region ids [n] of the older windows.
        before_loss: their losses [n], nats per target.
        now_region: region ids [m] of the new windows.
        now_loss: their losses [m], nats per target.
        regions: the ids to compare; None for those with new windows.
        least_errors: a region drifted when its mean loss rose by more than so many standard errors (Welch's).

    Returns:
        One value per region.

    Raises:
        InputError: for arrays of different lengths.
        NotFinite: for losses that are not finite.

    Departs from the paper: arXiv 2603.00638 edits every region that receives a window.
    """
    if len(before_region) != len(before_loss) or len(now_region) != len(now_loss):
        raise InputError("expected one loss per window, found arrays of different lengths")
    if not (np.isfinite(before_loss).all() and np.isfinite(now_loss).all()):
        raise NotFinite("expected finite losses, found NaN or infinity; check that the training did not diverge")
    return tuple(
        _compare(
            int(region),
            before_loss[before_region == region],
            now_loss[now_region == region],
            least_errors,
        )
        for region in (np.unique(now_region) if regions is None else regions)
    )


def _compare(
    region: int,
    before: npt.NDArray[np.floating],
    now: npt.NDArray[np.floating],
    least_errors: float,
) -> LossDrift:
    mean_before, mean_now = _mean(before), _mean(now)
    if min(len(before), len(now)) < 2:
        return LossDrift(region, mean_before, mean_now, UNDETERMINED, drifted=len(now) > 0)
    variance = before.var(ddof=1, dtype=np.float64) / len(before) + now.var(ddof=1, dtype=np.float64) / len(now)
    rise = mean_now - mean_before
    errors = rise / max(float(np.sqrt(variance)), 1e-12)
    return LossDrift(region, mean_before, mean_now, errors, errors > least_errors)


def _mean(losses: npt.NDArray[np.floating]) -> float:
    return float(losses.mean(dtype=np.float64)) if len(losses) else math.nan
