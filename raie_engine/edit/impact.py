"""The impact of an edit: the candidate against its parent, on windows that neither was trained on.

Retention: the setup's holdout, by which no adapter was chosen. Adaptation: the newest windows of the edit; its adapters
were chosen by them, so it flatters the candidate a little; a second part has only those windows whose target the parent
knows, because the parent cannot recommend any other. Every change has its 95 % interval, by user.
Legend: n windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from raie.engine.bytes.stored_names import to_stored
from raie.engine.data.windows import Windows
from raie.engine.edit.named_blobs import scoring_view
from raie.engine.edit.pipeline import FinishedEdit, PreparedEdit
from raie.engine.encoding import parts_of
from raie.engine.evaluation.metrics import Difference, mean_metrics, paired_differences, ranks
from raie.engine.executor import LOCAL, Executor, Shared, in_order
from raie.engine.mixture.mixture import Mixture
from raie.engine.model import ModelView
from raie.engine.router import Router
from raie.engine.training.train_adapter import TrainedRegion

__all__ = ["ImpactReport", "Part", "RegionImpact", "compared", "compared_ranks", "impact", "knowing_rows_of"]

VERSION = 2
"""Of the mapping. Version 1 had no "version" and of every part only the change in Recall@10."""


@dataclass(frozen=True)
class Part:
    """Both models on the same windows; metrics and changes are empty without windows.

    windows: how many. before, after: mean of every metric under the parent and under the candidate. changes: by metric
    the mean of after - before, with its 95 % interval by user.
    """

    windows: int
    before: Mapping[str, float]
    after: Mapping[str, float]
    changes: Mapping[str, Difference]

    def to_mapping(self) -> dict[str, Any]:
        """Plain values of version 2.

        Returns:
            "windows", "changes" and, where there are windows, "before", "after" and the key of version 1, "Recall@10
            change".
        """
        values: dict[str, Any] = {
            "windows": self.windows,
            "changes": {metric: asdict(change) for metric, change in self.changes.items()},
        }
        if not self.windows:
            return values
        recall = asdict(self.changes["Recall@10"])
        return values | {"before": dict(self.before), "after": dict(self.after), "Recall@10 change": recall}


@dataclass(frozen=True)
class RegionImpact:
    """One touched region.

    accepted: whether the edit changes it. adapter: "current", "shared" or "trained", the one it has now. before, after:
    metrics on its validation windows. samples_seen: training samples seen. seconds: wall time of its training.
    """

    region: int
    accepted: bool
    adapter: str
    before: Mapping[str, float]
    after: Mapping[str, float]
    samples_seen: int
    seconds: float


@dataclass(frozen=True)
class ImpactReport:
    """What an edit changed, for whom.

    gate: new windows by what the gate decided ("update", "expand", "add"). parts: "retention", "adaptation" and
    "adaptation_known". regions: the touched ones. untouched: ids of the others. untouched_identical: whether each of
    them names the same blobs as before. rejected: ids of additions that were not accepted. pending: windows in the Add
    buffer. late: rows older than the watermark. samples_seen, seconds: of all trainings. mixture: the parts that
    scores are made of, what each is worth and how repeats count; None where nothing is mixed.
    """

    gate: Mapping[str, int]
    parts: Mapping[str, Part]
    regions: tuple[RegionImpact, ...]
    untouched: tuple[int, ...]
    untouched_identical: bool
    rejected: tuple[int, ...]
    pending: int
    late: int
    samples_seen: int
    seconds: float
    mixture: Mapping[str, Any] | None = None

    def to_mapping(self) -> dict[str, Any]:
        """The report that is stored with the edit, as plain values of version 2.

        Returns:
            Every key of version 1, "version", and in each part "changes" with all metrics. NaN where a metric has no
            value.
        """
        values = {name: value for name, value in vars(self).items() if name != "parts"}
        values |= {
            "version": VERSION,
            "gate": dict(self.gate),
            "regions": [to_stored("impact report", asdict(region)) for region in self.regions],
            "untouched": list(self.untouched),
            "rejected": list(self.rejected),
        }
        return to_stored("impact report", values) | {name: part.to_mapping() for name, part in self.parts.items()}


def knowing_rows_of(older: Router, newer: Router) -> Router:
    """The older router over the newer one's item table.

    Args:
        older: of the parent.
        newer: of the candidate, whose item table begins with the parent's.

    Returns:
        A router that can read new items, and recommends none of them.
    """
    return replace(older, backbone=newer.backbone, item_chunks=newer.item_chunks)


def compared(before: Router, after: Router, windows: Windows) -> Part:
    """Both routers on the same windows.

    Args:
        before: of the parent, over the candidate's item table.
        after: of the candidate.
        windows: n of them, that neither was trained on.

    Returns:
        Every metric of both, and its change with the 95 % interval by user.
    """
    return compared_ranks(ranks(before.scores, windows), ranks(after.scores, windows), windows)


def compared_ranks(old: np.ndarray, new: np.ndarray, windows: Windows) -> Part:
    """The same as `compared`, from ranks.

    Args:
        old: int64 [n], ranks of the windows' targets before.
        new: int64 [n], after.
        windows: n of them.

    Returns:
        Every metric of both, and its change with the 95 % interval by user.
    """
    if not len(windows):
        return Part(0, {}, {}, {})
    return Part(len(windows), mean_metrics(old), mean_metrics(new), paired_differences(old, new, windows.user))


def impact(
    parent: ModelView,
    candidate: ModelView,
    prepared: PreparedEdit,
    finished: FinishedEdit,
    trained: Mapping[int, TrainedRegion],
    executor: Executor = LOCAL,
) -> ImpactReport:
    """Compare an edit's candidate with its parent.

    Args:
        parent: what the edit was made from.
        candidate: the snapshot that the edit would commit.
        prepared: the edit's plan and windows.
        finished: the edit's result.
        trained: by region id, that of the shared adapter among them.
        executor: where windows are scored; of few of them this process.

    Returns:
        The report that is stored with the edit.
    """
    scorer = _Scorer(executor, _Both(parent, candidate, finished.mixed.measured if finished.mixed else {}))
    newest = prepared.windows.take(prepared.windows.timestamp > prepared.train_until)
    old, new = scorer.ranks(newest)
    known = newest.target <= len(parent.catalogue.items)
    touched = [fact.region for fact in finished.facts]
    untouched = tuple(sorted(set(parent.content.regions) - set(touched)))
    decided = np.bincount(prepared.plan.decided_action, minlength=3)
    return ImpactReport(
        gate=dict(zip(("update", "expand", "add"), decided.tolist(), strict=True)),
        parts={
            "retention": compared_ranks(*scorer.ranks(parent.holdout), parent.holdout),
            "adaptation": compared_ranks(old, new, newest),
            "adaptation_known": compared_ranks(old[known], new[known], newest.take(known)),
        },
        regions=tuple(_region(trained[region], region in touched) for region in sorted(trained) if region >= 0),
        untouched=untouched,
        untouched_identical=all(parent.content.regions[r] == candidate.content.regions[r] for r in untouched),
        rejected=tuple(finished.rejected),
        pending=len(candidate.buffer),
        late=prepared.late,
        samples_seen=sum(result.samples_seen for result in trained.values()),
        seconds=sum(result.seconds for result in trained.values()),
        mixture=finished.mixed.fitted.to_mapping() if finished.mixed else None,
    )


SCORED = 1_024
"""Windows of a task; they pass 256 at a time."""


@dataclass(frozen=True, eq=False)
class _Both:
    """Parent and candidate. measured: the candidate's mixtures by region without the counts of the newest rows, which
    hold the answers that it is asked for.
    """

    parent: ModelView
    candidate: ModelView
    measured: Mapping[int, Mixture]

    @cached_property
    def after(self) -> Router:
        router = self.candidate.router
        return replace(router, mixtures={**router.mixtures, **self.measured}) if self.measured else router

    @cached_property
    def before(self) -> Router:
        return knowing_rows_of(self.parent.router, self.after)

    def to_travel(self) -> _Both:
        """The same with no more than scores read."""
        return _Both(scoring_view(self.parent), scoring_view(self.candidate), self.measured)


@dataclass(frozen=True)
class _RankTask:
    both: Shared[_Both]
    windows: Windows


@dataclass(frozen=True, eq=False)
class _Scorer:
    """Ranks the targets of windows under both models, on an executor."""

    executor: Executor
    both: _Both

    @cached_property
    def shared(self) -> Shared[_Both]:
        return self.executor.share(self.both.to_travel())

    def ranks(self, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
        """int64 [n] each; of few windows by this process."""
        if not self.executor.remote or len(windows) <= SCORED:
            return _ranks_under(self.both, windows)
        tasks = (_RankTask(self.shared, part.compacted()) for part in parts_of(windows, SCORED))
        old, new = zip(*in_order(self.executor, _ranked, tasks), strict=True)
        return np.concatenate(old), np.concatenate(new)


def _ranked(task: _RankTask) -> tuple[np.ndarray, np.ndarray]:
    """In a worker."""
    return _ranks_under(task.both.value, task.windows)


def _ranks_under(both: _Both, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    return ranks(both.before.scores, windows), ranks(both.after.scores, windows)


def _region(trained: TrainedRegion, accepted: bool) -> RegionImpact:
    return RegionImpact(
        region=trained.region,
        accepted=accepted,
        adapter=trained.chosen,
        before=dict(trained.before),
        after=dict(trained.after),
        samples_seen=trained.samples_seen,
        seconds=trained.seconds,
    )
