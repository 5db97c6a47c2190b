"""Whether an edit left alone what it says: held-out windows of untouched regions, scored by both snapshots.

Legend: n windows, v item rows.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch

from raie.callbacks import Progress, ignore_progress
from raie.engine.edit.impact import Part, compared_ranks, knowing_rows_of
from raie.engine.evaluation.metrics import target_ranks
from raie.engine.model import ModelView
from raie.engine.router import Router
from raie.errors import UsageError

__all__ = ["Locality", "locality"]

_BATCH = 256


@dataclass(frozen=True)
class Locality:
    """Held-out windows of the setup, scored by both snapshots.

    Attributes:
        windows: How many there are.
        untouched: Of those, how many an untouched region serves in both snapshots.
        ranks_changed: Of the untouched ones, whose target has another rank.
        scores_changed: Of the untouched ones, of which any item that both know has a score that differs in any bit.
        rerouted: Windows that another region serves than before.
        retention: Both snapshots on all windows, as an impact report measures it.
    """

    windows: int
    untouched: int
    ranks_changed: int
    scores_changed: int
    rerouted: int
    retention: Part

    @property
    def holds(self) -> bool:
        """Whether nothing changed for any untouched window."""
        return not self.ranks_changed and not self.scores_changed


def locality(
    older: ModelView, newer: ModelView, unchanged: Collection[int], *, progress: Progress = ignore_progress
) -> Locality:
    """Score the held-out setup windows with both snapshots.

    Args:
        older: A snapshot.
        newer: Another one of the same backbone, whose item table begins with the older one's.
        unchanged: The regions whose bytes both share.
        progress: Called as windows are scored.

    Returns:
        What changed, and for how many windows.

    Raises:
        DamagedArtifact, WrongBackbone: A snapshot cannot be loaded.
    """
    windows = newer.holdout
    routers = _over_one_table(older, newer)
    sides = [router.assign(windows) for router in routers]
    untouched = (sides[0] == sides[1]) & np.isin(sides[1], sorted(unchanged))
    known = min(len(view.catalogue.items) for view in (older, newer)) + 1
    ranks, differ = np.zeros((2, len(windows)), np.int64), np.zeros(len(windows), bool)
    for start in range(0, len(windows), _BATCH):
        rows = slice(start, start + _BATCH)
        part = windows.take(rows)
        scores = [router.scores(part, side[rows]) for router, side in zip(routers, sides, strict=True)]
        targets = torch.from_numpy(part.target).long()
        for side, of_side in enumerate(scores):
            ranks[side, rows] = target_ranks(of_side, targets).numpy()
        differ[rows] = (scores[0][:, :known] != scores[1][:, :known]).any(dim=1).numpy()
        progress("scoring windows", min(start + _BATCH, len(windows)), len(windows))
    return Locality(
        windows=len(windows),
        untouched=int(untouched.sum()),
        ranks_changed=int((ranks[0] != ranks[1])[untouched].sum()),
        scores_changed=int(differ[untouched].sum()),
        rerouted=int((sides[0] != sides[1]).sum()),
        retention=compared_ranks(ranks[0], ranks[1], windows),
    )


def _over_one_table(older: ModelView, newer: ModelView) -> tuple[Router, Router]:
    """Both routers over the longer item table: what one of them has never met it reads, and never recommends."""
    before, after = older.catalogue.items, newer.catalogue.items
    shared = min(len(before), len(after))
    if before[:shared] != after[:shared]:
        raise UsageError("expected two snapshots whose items were learned in one order, found two branches")
    if len(before) > len(after):
        return older.router, knowing_rows_of(newer.router, older.router)
    return knowing_rows_of(older.router, newer.router), newer.router
