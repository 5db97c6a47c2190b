"""Which regions drift: what the served model predicts worse than it did, where windows go, and how sure that is.

A region's loss on new windows is compared with its loss on older ones that nobody trained on. One user counts once per
region and period, because windows of one user are not independent. The same comparison on windows whose periods were
shuffled gives the false positive rate.
Legend: n windows, m users of a region in a period, d dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from raie.engine.bytes.stored_names import to_stored
from raie.engine.data.windows import Windows, concatenate
from raie.engine.edit.drift import LossDrift, loss_drift
from raie.engine.model import ModelView
from raie.engine.regions.gate import Action, gate_from
from raie.engine.regions.region_map import angles, assign
from raie.engine.router import Router
from raie.engine.training.train_adapter import adapter_scores

__all__ = ["LEAST_ERRORS", "DriftReport", "RegionDrift", "drift_report", "target_losses"]

BATCH = 1024
SHUFFLES = 200
LEAST_ERRORS = 3.0
"""Standard errors: on windows whose periods were shuffled, fewer than one region in a hundred rises by so many."""


@dataclass(frozen=True)
class RegionDrift:
    """One region. windows: new ones. share_before, share_now: of all windows. centre_shift: radians between the mean
    directions of its older and its new windows; NaN without windows of both. edit: whether an edit is recommended.
    """

    region: int
    windows: int
    share_before: float
    share_now: float
    centre_shift: float
    loss: LossDrift
    edit: bool


@dataclass(frozen=True)
class DriftReport:
    """before, now: windows compared. nowhere: new windows that the gate would add. false_positive_rate: the share of
    regions that count as drifted on shuffled periods; NaN where no region has two users in each. regions: every region
    of the map, also one that no new window reached.
    """

    before: int
    now: int
    nowhere: int
    false_positive_rate: float
    regions: tuple[RegionDrift, ...]

    @property
    def drifted(self) -> tuple[int, ...]:
        """Regions for which an edit is recommended."""
        return tuple(region.region for region in self.regions if region.edit)

    def to_mapping(self) -> dict[str, Any]:
        """Plain values under the keys that readers of the report know; NaN where a number does not exist."""
        return to_stored("drift report", asdict(self))


def drift_report(
    view: ModelView,
    windows: Windows,
    vectors: np.ndarray | None = None,
    *,
    least_errors: float = LEAST_ERRORS,
    on_scored: Callable[[int, int], None] = lambda done, total: None,
) -> DriftReport:
    """Compare the new `windows` with the setup's held-out ones, under the snapshot's own adapters.

    Args:
        view: the snapshot.
        windows: new ones.
        vectors: routing vectors [n, d] of the new windows, where they are known already.
        least_errors: standard errors by which a region's mean loss must rise to count as drift.
        on_scored: called with how many windows have been scored, and how many there are.

    Returns:
        The report.
    """
    config = view.settings.engine
    older = concatenate([view.validation, view.holdout])
    both = concatenate([older, windows.without_items_above(len(view.backbone.item_table()) - 1)])
    now = np.arange(len(both)) >= len(older)
    newer = view.vectors(windows) if vectors is None else vectors
    vectors = np.concatenate([view.vectors(older), newer])
    region = assign(view.region_map, vectors)
    owner, period, loss = _by_user(region, both.user, now, target_losses(view.router, both, region, on_scored))

    losses = loss_drift(
        owner[~period],
        loss[~period],
        owner[period],
        loss[period],
        regions=view.region_map.ids.tolist(),
        least_errors=least_errors,
    )
    decided = gate_from(config.gate).decide(view.region_map, vectors[now]).action
    return DriftReport(
        before=len(older),
        now=len(windows),
        nowhere=int((decided == Action.ADD).sum()),
        false_positive_rate=_false_positive_rate(owner, period, loss, least_errors, config.seed),
        regions=tuple(
            _region(loss_of_region, region, now, vectors, config.gate.min_windows) for loss_of_region in losses
        ),
    )


def target_losses(
    router: Router,
    windows: Windows,
    regions: np.ndarray,
    on_scored: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """The loss of each window's target under its region's adapter.

    An item that its region cannot recommend costs as much as a blind guess among all items. Windows of one region pass
    together: with adapters that takes half to three quarters of the time of the router's mixed blocks.

    Args:
        router: of the snapshot.
        windows: n of them.
        regions: [n].
        on_scored: called with how many windows have been scored, and with n.

    Returns:
        Cross-entropy float64 [n], in nats.
    """
    blind, losses = math.log(len(router.backbone.item_table()) - 1), np.zeros(len(windows))
    done = 0
    for region in np.unique(regions).tolist():
        score = adapter_scores(router.backbone, router.adapters.get(region))
        here = np.flatnonzero(regions == region)
        for rows in np.split(here, range(BATCH, len(here), BATCH)):
            scores = score(windows.take(rows)).double()
            own = scores.gather(1, torch.from_numpy(windows.target[rows]).long().unsqueeze(1)).squeeze(1)
            loss = torch.logsumexp(scores, dim=1) - own
            losses[rows] = torch.where(own.isneginf(), blind, loss).numpy()
            done += len(rows)
            on_scored(done, len(windows))
    return losses


def _by_user(
    region: np.ndarray, user: np.ndarray, now: np.ndarray, loss: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Region, period and mean loss of every user in a region and period: three arrays [m], by region."""
    key = np.stack([region, user, now.astype(np.int32)])
    (owner, _, period), slot = np.unique(key, axis=1, return_inverse=True)
    slot = slot.ravel()
    return owner, period.astype(bool), np.bincount(slot, loss) / np.bincount(slot)


def _false_positive_rate(
    owner: np.ndarray, period: np.ndarray, loss: np.ndarray, least_errors: float, seed: int
) -> float:
    """The share of regions that count as drifted when their users' periods are shuffled.

    NaN where no region has two users in each period.
    """
    size = int(owner.max()) + 1
    rare = np.minimum(np.bincount(owner[period], minlength=size), np.bincount(owner[~period], minlength=size)) < 2
    comparable = ~rare[owner]  # the others are undetermined, shuffled or not
    owner, period, loss = owner[comparable], period[comparable], loss[comparable]
    generator, alarms = np.random.default_rng(seed), []
    for _ in range(SHUFFLES if len(owner) else 0):
        later = _shuffled(owner, period, generator)
        drifts = loss_drift(owner[~later], loss[~later], owner[later], loss[later], least_errors=least_errors)
        alarms += [drift.drifted for drift in drifts]
    return float(np.mean(alarms)) if alarms else math.nan


def _shuffled(owner: np.ndarray, period: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The periods [m], handed out anew among the users of each region; owner: ascending."""
    order = np.argsort(owner + generator.random(len(owner)))
    shuffled = np.empty_like(period)
    shuffled[order] = period
    return shuffled


def _region(loss: LossDrift, region: np.ndarray, now: np.ndarray, vectors: np.ndarray, least: int) -> RegionDrift:
    here = region == loss.region
    windows = int((here & now).sum())
    older, newer = (_direction(vectors[here & period]) for period in (~now, now))
    shift = float(angles(older @ newer))
    return RegionDrift(
        region=loss.region,
        windows=windows,
        share_before=float(here[~now].mean()) if (~now).any() else math.nan,
        share_now=float(here[now].mean()),
        centre_shift=math.nan if math.isnan(shift) else shift,  # one NaN, so that equal reports compare equal
        loss=loss,
        edit=loss.drifted and windows >= least,
    )


def _direction(vectors: np.ndarray) -> np.ndarray:
    """The mean direction [d] of vectors [n, d]; NaN where there is none."""
    mean = vectors.sum(axis=0, dtype=np.float64)
    norm = float(np.linalg.norm(mean))
    return mean / norm if norm > 0 else np.full(len(mean), np.nan)
