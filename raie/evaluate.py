"""What `raie evaluate` computes: a snapshot's router on windows of a log, beside the setup's own snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raie.actor import actor
from raie.callbacks import Progress, ignore_progress
from raie.chain_head import publishes_chain_head
from raie.edits.workflow import open_view, plain
from raie.engine.data.interactions import Interactions, between, end_time
from raie.engine.data.synthetic_truth import Truth
from raie.engine.data.windows import Windows, evaluation_windows
from raie.engine.edit.impact import compared_ranks, knowing_rows_of
from raie.engine.edit.pipeline import PreparedEdit
from raie.engine.errors import InputError
from raie.engine.evaluation.coverage import Coverage, coverage_of
from raie.engine.evaluation.metrics import Difference, mean_metrics, paired_difference, ranks
from raie.engine.model import ModelView
from raie.engine.regions.gate import Action
from raie.engine.router import Router
from raie.engine.strategies import STRATEGIES, Score, State, TaskData, task_data_of
from raie.errors import UsageError
from raie.lines import SETUP_PART
from raie.logs.known_ids import doubt_line, known_ids
from raie.logs.log_reading import When, notes_of, read_later_log, when_text
from raie.registry import Author, Digest, Edit, Registry, Snapshot, lineage, trust
from raie.registry.edits.merge import changed_regions
from raie.registry.states import EditKind

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor

    from raie.workspace import Workspace

__all__ = ["Measured", "evaluate", "gate_agreement", "record_evaluation"]


@dataclass(frozen=True, repr=False)
class Measured:
    """Metrics of a snapshot and of what stands beside it, on the same windows.

    Attributes:
        snapshot: The id of what was measured.
        new_windows: How many interactions of the log after the snapshot's watermark are evaluated.
        setup_windows: How many held-out windows its setup kept.
        models: Model -> part ("new" or the setup's) -> metric -> value; NaN where no window was there.
        change: Of Recall@10 on the new windows, against the setup's own snapshot, which was never edited.
        against: The id of the snapshot that it was compared with.
        comparison: That comparison, as an impact report holds it.
        coverage: How many interactions there are after the watermark, how many of them are evaluated, and why not all.
        cold: How many of those evaluated come after no item that the snapshot knows; they get what is popular.
        known: What the snapshot knows of the users and items of the new rows.
        notes: What a person should know of how the log was read.
    """

    snapshot: str
    new_windows: int
    setup_windows: int
    models: Mapping[str, Mapping[str, Mapping[str, float]]]
    change: Difference
    against: str | None = None
    comparison: Mapping[str, Any] | None = None
    known: Mapping[str, Any] | None = None
    coverage: Coverage | None = None
    cold: int = 0
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        recall = {model: round(parts["new"]["Recall@10"], 4) for model, parts in self.models.items()}
        return (
            f"Measured(snapshot={self.snapshot[:12]!r}, new_windows={self.new_windows}, "
            f"setup_windows={self.setup_windows}, recall_at_10_new={recall})"
        )

    def to_frame(self) -> DataFrame:
        """One row per model and part, with a column for each metric."""
        import pandas

        rows = [
            {"model": model, "part": "new" if part == "new" else "setup", **metrics}
            for model, parts in self.models.items()
            for part, metrics in parts.items()
        ]
        return pandas.DataFrame(rows)

    def to_mapping(self) -> dict[str, Any]:
        """Plain values with stable keys; null where no window was there to measure."""
        values: dict[str, Any] = plain(asdict(self))
        del values["notes"]  # for a person, on stderr
        values["coverage"] = None if self.coverage is None else self.coverage.to_mapping()
        return values


def evaluate(
    workspace: Workspace,
    log: str | Path,
    *,
    ref: str = "head",
    against: str | None = None,
    until: When | None = None,
    strategies: bool = False,
    reading: Mapping[str, Any] | None = None,
    progress: Progress = ignore_progress,
) -> Measured:
    """Measure a snapshot, that of the setup, and what else was asked for, on the same windows.

    Args:
        workspace: Where the model lives.
        log: The interactions; those after the snapshot's watermark are new to it, and each of a user with an earlier one
            is evaluated.
        ref: The snapshot: "head", an alias, "edit:3" or an id.
        against: Another snapshot, measured on the same windows.
        until: Use the log up to here; None for all of it.
        strategies: Train one global LoRA on the same edits, and measure it too.
        reading: Options of reading the log that differ from the setup's.
        progress: Called as strategies are trained and windows scored.

    Raises:
        InputError: The log holds no window after the snapshot's watermark.
        RegistryError: There is no such snapshot, or the database or the store refuses.
    """
    registry, model, backbone_file = workspace.registry(), workspace.model, workspace.backbone_file
    snapshot = registry.resolve(model, ref)
    view = open_view(registry, snapshot, backbone_file)
    interactions = read_later_log(view, Path(log), reading)
    end = end_time(interactions, when_text(until))
    known = known_ids(registry, model, snapshot, view, interactions, end)
    asked, new = _new_windows(view, between(interactions, None, end), log)
    baseline = None if against is None else registry.resolve(model, against)
    setup = _setup_of(registry, model)
    scores = _models(registry, setup, snapshot, view, baseline)
    if strategies:
        scores |= _peers(registry, model, snapshot, interactions, backbone_file, progress)
    scores = _counted(scores, len(new) + len(view.holdout), progress)
    ranked = {name: (ranks(score, new), ranks(score, view.holdout)) for name, score in scores.items()}
    measured = Measured(
        snapshot=snapshot.id,
        new_windows=len(new),
        setup_windows=len(view.holdout),
        models={name: _part_metrics(*parts) for name, parts in ranked.items()},
        change=paired_difference(ranked["never edited"][0], ranked[snapshot.id[:12]][0], new.user),
        known=known.to_mapping(),
        coverage=coverage_of(between(interactions, None, end), view.watermark.timestamp, asked, _last_row(view)),
        cold=int((new.length == 0).sum()),
        notes=(*notes_of(interactions), *doubt_line(known), *_expiry_line(setup)),
    )
    if baseline is None:
        return measured
    before, after = (ranked[compared.id[:12]] for compared in (baseline, snapshot))
    known_part = _of_known(open_view(registry, baseline, backbone_file), view, before[0], after[0], new)
    comparison = {
        "log": interactions.digest,
        "adaptation": compared_ranks(before[0], after[0], new).to_mapping(),
        "adaptation_known": known_part,
        "retention": compared_ranks(before[1], after[1], view.holdout).to_mapping(),
        "untouched": sorted(baseline.content.regions.keys() - changed_regions(baseline.content, snapshot.content)),
    }
    return replace(measured, against=baseline.id, comparison=plain(comparison))


def _part_metrics(on_new: np.ndarray, on_setup: np.ndarray) -> dict[str, dict[str, float]]:
    return {"new": mean_metrics(on_new), SETUP_PART: mean_metrics(on_setup)}


def _new_windows(view: ModelView, rows: Interactions, log: str | Path) -> tuple[Windows, Windows]:
    """The windows after the snapshot's watermark, and as it reads them: items that it has never met are passed over."""
    mark, config = view.watermark.timestamp, view.settings.engine.windows
    asked = evaluation_windows(rows, config, after=mark)
    if not len(asked):
        raise InputError(
            f"expected windows of {log} after the snapshot's watermark {mark}, found none: "
            "give a longer log, or an older snapshot with --ref"
        )
    return asked, evaluation_windows(rows, config, after=mark, last_item=_last_row(view))


@publishes_chain_head
def record_evaluation(workspace: Workspace, measured: Measured, *, reason: str = "") -> int:
    """Keep a comparison for the policy of an alias, under the ids that were measured: an alias may have moved since.

    Args:
        workspace: Where the model lives.
        measured: What `evaluate` returned for a snapshot and another one.
        reason: Why; it stays with what is recorded.

    Returns:
        The evaluation's number.

    Raises:
        UsageError: Nothing was compared.
        RegistryError: The database or the store refuses.
    """
    if measured.against is None:
        raise UsageError(
            "expected --against REF with --record, found none: name what the alias serves, as production"
        )
    registry, report = workspace.registry(), measured.comparison or {}
    recorded = trust.record_evaluation(
        registry, workspace.model, measured.snapshot, measured.against, report, author=Author(actor(), reason)
    )
    return recorded.id


def _of_known(
    baseline: ModelView, view: ModelView, before: np.ndarray, after: np.ndarray, new: Windows
) -> dict[str, Any]:
    """The comparison on the new windows whose target the baseline knows too; it can recommend no other."""
    theirs = set(baseline.catalogue.items)
    known = np.array([False, *(item in theirs for item in view.catalogue.items)])[new.target]
    return compared_ranks(before[known], after[known], new.take(known)).to_mapping()


def _last_row(view: ModelView) -> int:
    """The last item row that the snapshot knows."""
    return len(view.backbone.item_table()) - 1


def _models(
    registry: Registry, setup: Snapshot, snapshot: Snapshot, view: ModelView, baseline: Snapshot | None
) -> dict[str, Score]:
    scores: dict[str, Score] = {"never edited": _never_edited(registry, setup, view).scores}
    scores[snapshot.id[:12]] = view.router.scores
    if baseline is not None and baseline.id != snapshot.id:
        scores[baseline.id[:12]] = knowing_rows_of(
            open_view(registry, baseline, view.backbone_file).router, view.router
        ).scores
    return scores


def _counted(scores: Mapping[str, Score], windows: int, progress: Progress) -> dict[str, Score]:
    """The same functions, each of which reports how many windows all of them have scored; windows: of each."""
    total, done = len(scores) * windows, 0

    def counting(score: Score) -> Score:
        def scored(batch: Windows) -> Tensor:
            nonlocal done
            progress("scoring windows", done, total)
            done += len(batch)
            return score(batch)

        return scored

    return {name: counting(score) for name, score in scores.items()}


def _setup_of(registry: Registry, model: str) -> Snapshot:
    """The snapshot of a model's setup: of the first edit that has a result, since setups before it may be aborted."""
    edits = (registry.edit(model, number) for number in count(1))
    return lineage.find(registry, model, next(str(edit.result) for edit in edits if edit.result is not None))


def _expiry_line(setup: Snapshot) -> tuple[str, ...]:
    line = 'the snapshot of the setup has expired: "never edited" is the frozen backbone, without a mixture'
    return () if setup.expired is None else (line,)


def _never_edited(registry: Registry, setup: Snapshot, view: ModelView) -> Router:
    """The setup's router over the item table of a later snapshot; once it expired, the frozen backbone alone."""
    if setup.expired is not None:
        return replace(view.router, adapters={}, mixtures={})
    return knowing_rows_of(open_view(registry, setup, view.backbone_file).router, view.router)


def _peers(
    registry: Registry,
    model: str,
    snapshot: Snapshot,
    interactions: Interactions,
    backbone_file: Path | None,
    progress: Progress,
) -> dict[str, Score]:
    """One adapter for the windows of every edit since the setup, with and without replay."""
    tasks = list(_tasks(registry, model, snapshot, interactions, backbone_file))
    if not tasks:
        raise UsageError(
            "expected --ref to name a snapshot that edits have trained, found one without such an edit"
        )
    scores = {}
    for name, key in (("global LoRA", "global-lora"), ("global LoRA + replay", "replay")):
        peer = STRATEGIES[key]
        state: State = {}
        for done, task in enumerate(tasks):
            progress(f"training {name}", done, len(tasks))
            state = peer.learn(state, task).state
        scores[name] = peer.score(state, tasks[-1])
    return scores


def _tasks(
    registry: Registry, model: str, snapshot: Snapshot, interactions: Interactions, backbone_file: Path | None
) -> Iterator[TaskData]:
    """What each edit between the setup and the snapshot trained on, oldest first; nothing for the others."""
    for number, edit in enumerate(_edits(registry, model, snapshot), start=1):
        base = open_view(registry, registry.resolve(model, str(edit.base)), backbone_file)
        prepared = PreparedEdit.from_bytes(registry.get(Digest(str(edit.plan_digest))))
        if prepared.plan.touched:
            yield task_data_of(base, prepared, interactions, number)


def _edits(registry: Registry, model: str, snapshot: Snapshot) -> list[Edit]:
    """The edits between the setup and the snapshot, oldest first."""
    edits: list[Edit] = []
    while (edit := registry.edit(model, snapshot.edit)).kind == EditKind.EDIT:
        edits.append(edit)
        snapshot = registry.resolve(model, str(snapshot.parent))
    if edit.kind != EditKind.SETUP:
        raise UsageError(
            "expected --ref to name a snapshot with nothing but edits since its setup, which others can learn from "
            f"too, found edit {edit.number}, a {edit.kind}"
        )
    return edits[::-1]


def gate_agreement(workspace: Workspace, number: int, truth: Truth) -> float:
    """The share of an edit's windows for which the gate decided what the synthetic log's truth says.

    Args:
        workspace: Where the model lives.
        number: The edit.
        truth: What the synthetic log was made with.
    """
    registry, model = workspace.registry(), workspace.model
    edit = registry.edit(model, number)
    view = open_view(registry, registry.resolve(model, str(edit.result)))
    prepared = PreparedEdit.from_bytes(registry.get(Digest(str(edit.plan_digest))))
    meant = truth.labels(prepared.windows, view.catalogue)
    names = np.array([action.name.lower() for action in Action])
    return float((meant == names[prepared.plan.decided_action]).mean())
