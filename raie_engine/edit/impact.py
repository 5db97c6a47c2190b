"""What an edit changed for whom: the candidate against its parent, on windows that neither was trained on.

Retention: setup windows of the holdout, by which no adapter was chosen. Adaptation: the newest windows of the edit; its
adapters were chosen by them, so it flatters the candidate a little; a second figure is of those windows whose target the
parent knows, because the parent cannot recommend any other. All with the interval of the difference by user.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from raie.engine.data.windows import Windows
from raie.engine.edit.pipeline import FinishedEdit, PreparedEdit
from raie.engine.evaluation.metrics import mean_metrics, paired_difference, ranks
from raie.engine.model import ModelView
from raie.engine.router import Router
from raie.engine.training.train_adapter import TrainedRegion

__all__ = ["compared", "compared_ranks", "impact", "knowing_rows_of"]


def knowing_rows_of(older: Router, newer: Router) -> Router:
    """The older router over the newer one's item table: it can read new items, and still recommends none of them."""
    return replace(older, backbone=newer.backbone, item_chunks=newer.item_chunks)


def compared(before: Router, after: Router, windows: Windows) -> dict[str, Any]:
    """Metrics of both routers on the same windows, and the difference in Recall@10 with its 95 % interval by user."""
    return compared_ranks(ranks(before.scores, windows), ranks(after.scores, windows), windows)


def compared_ranks(old: np.ndarray, new: np.ndarray, windows: Windows) -> dict[str, Any]:
    """The same from the ranks [n] of the windows' targets under both."""
    if not len(windows):
        return {"windows": 0}
    return {
        "windows": len(windows),
        "before": mean_metrics(old),
        "after": mean_metrics(new),
        "Recall@10 change": asdict(paired_difference(old, new, windows.user)),
    }


def impact(
    parent: ModelView,
    candidate: ModelView,
    prepared: PreparedEdit,
    finished: FinishedEdit,
    trained: Mapping[int, TrainedRegion],
) -> dict[str, Any]:
    """The impact report that is kept with the edit, as plain values."""
    after = candidate.router
    before = knowing_rows_of(parent.router, after)
    newest = prepared.windows.take(prepared.windows.timestamp > prepared.train_until)
    old, new = ranks(before.scores, newest), ranks(after.scores, newest)
    known = newest.target <= len(parent.catalogue.items)
    touched = [fact.region for fact in finished.facts]
    untouched = sorted(set(parent.content.regions) - set(touched))
    decided = np.bincount(prepared.plan.decided_action, minlength=3)
    return {
        "gate": dict(zip(("update", "expand", "add"), decided.tolist(), strict=True)),
        "retention": compared(before, after, parent.holdout),
        "adaptation": compared_ranks(old, new, newest),
        "adaptation_known": compared_ranks(old[known], new[known], newest.take(known)),
        "regions": [_region(trained[region], region in touched) for region in sorted(trained) if region >= 0],
        "untouched": untouched,
        "untouched_identical": all(parent.content.regions[r] == candidate.content.regions[r] for r in untouched),
        "rejected": list(finished.rejected),
        "waiting": len(candidate.buffer),
        "late": prepared.late,
        "passes": sum(one.samples_seen for one in trained.values()),
        "seconds": sum(one.seconds for one in trained.values()),
    }


def _region(trained: TrainedRegion, accepted: bool) -> dict[str, Any]:
    return {
        "region": trained.region,
        "accepted": accepted,
        "adapter": trained.chosen,
        "before": dict(trained.before),
        "after": dict(trained.after),
        "passes": trained.samples_seen,
        "seconds": trained.seconds,
    }
