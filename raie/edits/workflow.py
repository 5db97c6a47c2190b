"""Where the two libraries meet: the engine's parts become blobs and a commit, a snapshot's digests an engine model.

Every function takes the registry and the model's name; none prints. What an edit has finished is recorded in the
registry step by step, so that `resume` in another process, on the same log or without it, goes on from there.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

from raie.callbacks import OnNote, Progress, ignore_notes
from raie.command_blobs import CommandBlobs
from raie.edits.heartbeat import kept_alive
from raie.edits.plan_summary import PlanSummary, summarize
from raie.edits.remote_training import train_remotely
from raie.engine.arrays import Floats
from raie.engine.bytes.stored_names import from_stored, to_stored
from raie.engine.content import ContentParts, RegionFacts
from raie.engine.data.interactions import Interactions, end_time, read_log
from raie.engine.data.windows import Windows
from raie.engine.edit.drift_report import DriftReport, drift_report
from raie.engine.edit.gain import ANYWAY, Accept, gains, why_not
from raie.engine.edit.impact import ImpactReport, impact
from raie.engine.edit.pipeline import PreparedEdit, finish_edit, new_windows, prepare_edit
from raie.engine.edit.runtime_estimate import estimated_seconds
from raie.engine.edit.setup import set_up
from raie.engine.edit.training_tasks import region_tasks, shared_task
from raie.engine.encoding import encode_on
from raie.engine.errors import EngineError, GainedNothing
from raie.engine.executor import LOCAL, Executor
from raie.engine.model import ModelView, Settings
from raie.engine.regions.any_space import vectors_in
from raie.engine.training.epoch_estimate import EpochEstimate, estimated
from raie.engine.training.train_adapter import SHARED, TrainedRegion, TrainTask, train_regions
from raie.engine.training.workers import foreseen
from raie.erasing.erased_ids import new_erased_ids
from raie.errors import UsageError
from raie.extras import require
from raie.logs.known_ids import KnownIds, known_ids, require_known
from raie.logs.log_reading import notes_of, read_later_log, require_past
from raie.registry import Author, Content, Digest, Edit, RegionChange, Registry, Snapshot
from raie.registry.states import EditKind

__all__ = [
    "BlobSink",
    "PlannedEdit",
    "apply_edit",
    "content_of",
    "open_view",
    "plain",
    "plan_edit",
    "recalled_region",
    "resume_edit",
    "run_setup",
]


class BlobSink(Protocol):
    """Where blobs are put."""

    def put_all(self, data: Sequence[bytes]) -> list[Digest]:
        """Keep them; their digests in the same order."""
        ...


def open_view(blobs: Registry | CommandBlobs, snapshot: Snapshot, backbone_file: Path | None = None) -> ModelView:
    """The snapshot as engine values; every blob is fetched once asked for, and verified.

    blobs: where they are read.  backbone_file: the Python file of a backbone of the user's own.
    """
    return ModelView(snapshot.content, blobs.get, backbone_file)


def run_setup(
    registry: Registry,
    model: str,
    log: Path,
    until: str | None,
    settings: Settings,
    *,
    actor: str,
    reason: str,
    work: Path,
    progress: Progress,
    on_note: OnNote = ignore_notes,
    executor: Executor = LOCAL,
    without_users: Collection[str] = (),
) -> Snapshot:
    """Train the backbone, fit the regions and commit the model's first snapshot.

    on_note: called with each line on how the log was read; the columns that were detected are kept for later logs.
    without_users: whose rows of the log are left out; their ids are kept nowhere.

    Raises: EngineError for a log that cannot be used, and the setup is then closed; RegistryError when the model has
    a snapshot already, and StoreUnreachable before any training where the store does not keep what it is given.
    """
    if settings.engine.backbone.kind == "causal_lm":
        require("llm")
    interactions = read_log(log, without_users=without_users, **vars(settings.log))
    for line in notes_of(interactions):
        on_note(line)
    settings = replace(settings, log=settings.log.as_read(interactions.reading))
    end = end_time(interactions, until)
    require_past(interactions, end, log)
    # What a store cannot do should be known now, not when there is something to be put after the training.
    registry.store.probe()
    executor.require()
    edit = registry.begin(
        model,
        EditKind.SETUP,
        seed=settings.engine.seed,
        author=Author(actor, reason),
        data_digest=interactions.digest,
        parameters={"log": str(log.resolve()), "until": until, "settings": settings.to_bytes().decode()}
        | ({"without_users": len(without_users)} if without_users else {}),
    )
    return _finish_setup(registry, model, edit.number, interactions, end, settings, work, progress, executor)


def _finish_setup(
    registry: Registry,
    model: str,
    number: int,
    interactions: Interactions,
    end: int | None,
    settings: Settings,
    work: Path,
    progress: Progress,
    executor: Executor,
) -> Snapshot:
    backbone, folder = settings.engine.backbone, _folder(work, model, number)
    estimate = EpochEstimate(backbone.epochs, backbone.patience, tuple(_earlier_epochs(registry)))
    with kept_alive(registry, model, number):
        try:
            result = set_up(
                interactions,
                end,
                settings,
                checkpoint=folder / "backbone.safetensors",
                progress=estimated(progress, "backbone", estimate),
                executor=executor,
            )
        except EngineError as error:
            # The same log and settings would fail again, so there is nothing to resume.
            registry.abort(model, number, Author(registry.edit(model, number).actor, str(error)))
            raise
        content = content_of(CommandBlobs(registry), result.parts, None)
    snapshot = registry.commit(model, number, content, _changes(result.facts), plain(result.report))
    shutil.rmtree(folder, ignore_errors=True)
    return snapshot


def _earlier_epochs(registry: Registry) -> list[int]:
    """How many epochs the setups of the registry's models took."""
    # The first edit of a model is its setup.
    backbones = [registry.edit(name, 1).report.get("backbone") for name in registry.models()]
    counts = [backbone.get("epochs") for backbone in backbones if isinstance(backbone, Mapping)]
    return [count for count in counts if isinstance(count, int) and count > 0]


@dataclass(frozen=True, eq=False, repr=False)
class PlannedEdit:
    """A plan for one edit and what it was made from.

    Attributes:
        base: The snapshot that the edit would start from.
        blobs: Those of the base that were read.
        log, until: The rows that it takes.
        drift: What it is confined to; None for all regions.
        known: What the base knows of the users and items of the new rows.
        facts: For the edit's parameters: how the log was read, and which doubts were accepted.
    """

    base: Snapshot
    blobs: CommandBlobs
    log: Path
    until: str | None
    view: ModelView
    interactions: Interactions
    prepared: PreparedEdit
    drift: DriftReport | None
    known: KnownIds
    facts: Mapping[str, Any]

    @property
    def idle(self) -> bool:
        """Whether the edit would consume rows and change no region, nor add windows to those that are pending."""
        plan = self.prepared.plan
        return not plan.touched and (self.drift is not None or plan.pending == len(self.view.buffer))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of how the log was read."""
        erased = self.facts.get("erased_users", 0)
        left_out = (f"rows of {erased:,} erased users are left out",) if erased else ()
        return (*notes_of(self.interactions), *left_out)

    @cached_property
    def summary(self) -> PlanSummary:
        """What the edit would do, region by region."""
        return summarize(self.view, self.interactions, self.prepared, self.drift, self.known.to_mapping())

    def estimated_seconds(self, workers: int = 1) -> float:
        """Seconds that the training would take at most with so many processes, measured on a few batches."""
        return estimated_seconds(self.view, self.prepared, workers)

    def __repr__(self) -> str:
        touched = {plan.region: plan.action for plan in self.summary.regions if plan.touched}
        return f"PlannedEdit(base={self.base.id[:12]!r}, windows={self.summary.windows}, touched={touched})"


def plan_edit(
    registry: Registry,
    model: str,
    log: Path,
    until: str | None,
    seed: int | None,
    *,
    only_drifted: bool = False,
    backbone_file: Path | None = None,
    reading: Mapping[str, Any] | None = None,
    accept_new_ids: bool = False,
    executor: Executor = LOCAL,
) -> PlannedEdit:
    """What an edit of the head on this log would do; changes nothing.

    only_drifted: leave regions alone that predict the new windows as well as they did.  reading: what of the log is to be
    read otherwise than at the setup.  accept_new_ids: pass ids that look like known ones respelt.

    Raises: EngineError, NothingToEdit among them; RegistryError; UsageError before the setup, and after an erasure
    without the key of its hash.
    """
    base = registry.head(model)
    if base is None:
        raise UsageError(f"model {model!r} has no snapshot to edit: run `raie setup` first")
    blobs = CommandBlobs(registry)
    view = open_view(blobs, base, backbone_file)
    interactions = read_later_log(view, log, reading)
    gone = new_erased_ids(registry, model, interactions.catalogue.users[len(view.catalogue.users) :])
    if gone:
        interactions = read_later_log(view, log, reading, without_users=gone)
    end = end_time(interactions, until)
    require_past(interactions, end, log)
    known = known_ids(registry, model, base, view, interactions, end)
    require_known(known, log, accepted=accept_new_ids)
    vectors = drift = None
    if only_drifted or executor.remote:
        windows = new_windows(view, interactions, end)
        vectors = vectors_in(view.space, windows, partial(_encoded, view, executor))
    if only_drifted:
        drift = drift_report(view, windows, vectors)
    prepared = prepare_edit(
        view,
        base.id,
        interactions,
        end,
        seed=view.settings.engine.seed if seed is None else seed,
        next_region_id=registry.next_region_id(model),
        only=drift.drifted if drift else None,
        vectors=vectors,
    )
    facts: dict[str, Any] = {"reading": dict(reading)} if reading else {}
    facts |= {"known": known.kept(accepted=accept_new_ids)}
    if accept_new_ids:
        facts |= {"accepted_new_ids": True}
    if gone:
        facts |= {"erased_users": len(gone)}
    return PlannedEdit(base, blobs, log, until, view, interactions, prepared, drift, known, facts)


def _encoded(view: ModelView, executor: Executor, windows: Windows) -> Floats:
    return encode_on(executor, view.backbone, view.backbone_bytes, windows, view.backbone_file)


def apply_edit(
    registry: Registry,
    model: str,
    plan: PlannedEdit,
    *,
    actor: str,
    reason: str,
    work: Path,
    workers: int,
    progress: Progress,
    executor: Executor = LOCAL,
    accept: Accept = ANYWAY,
) -> tuple[int, Snapshot]:
    """Train what the plan touches and commit the next snapshot; returns the edit's number and the snapshot.

    accept: whether it is committed too where it gains nothing beyond chance.

    Raises: GainedNothing where it is not; the edit is closed then, and the head is as before.
    """
    executor.require()
    blobs = plan.blobs.of_an_edit(registry)
    (digest,) = blobs.put_all([plan.prepared.to_bytes()])
    edit = registry.begin(
        model,
        EditKind.EDIT,
        seed=plan.prepared.plan.seed,
        author=Author(actor, reason),
        data_digest=plan.interactions.digest,
        plan_digest=digest,
        parameters={
            "log": str(plan.log.resolve()),
            "until": plan.until,
            "gate": plan.prepared.plan.gate,
            "accept": accept,
            **plan.facts,
        },
        base=plan.base.id,
    )
    registry.record_checkpoint(model, edit.number, "prepared", {"blob": digest})
    snapshot = _train_and_commit(blobs, model, edit, plan.view, plan.prepared, work, workers, progress, executor)
    return edit.number, snapshot


def resume_edit(
    registry: Registry,
    model: str,
    number: int,
    *,
    actor: str,
    force: bool,
    work: Path,
    workers: int,
    progress: Progress,
    backbone_file: Path | None = None,
    executor: Executor = LOCAL,
) -> Snapshot:
    """Finish an interrupted edit or setup from what it has recorded; the result is that of an edit never stopped.

    Raises: UsageError for a log that is no longer the one the setup began with; LeaseLost, EditStateError.
    """
    if registry.edit(model, number).kind == EditKind.ERASE:
        raise UsageError(
            f"expected an edit that its records can finish, found that edit {number} erases a user, whose id is kept "
            f"nowhere: `raie edit abort {number}`, and run `raie erase` again"
        )
    executor.require()
    edit = registry.resume(model, number, author=Author(actor), force=force)
    if edit.kind == EditKind.SETUP:
        settings = Settings.from_bytes(edit.parameters["settings"].encode())
        _require_backbone_file(settings, backbone_file)
        interactions = read_log(Path(edit.parameters["log"]), **vars(settings.log))
        if interactions.digest != edit.data_digest:
            _require_whole_log(edit)
            raise UsageError(
                f"expected the log that setup {number} began with ({str(edit.data_digest)[:12]}), found another in "
                f"{edit.parameters['log']}: put it back, or `raie edit abort {number}` and run `raie setup` again"
            )
        end = end_time(interactions, edit.parameters["until"])
        return _finish_setup(registry, model, number, interactions, end, settings, work, progress, executor)
    blobs = CommandBlobs(registry)
    view = open_view(blobs, registry.resolve(model, str(edit.base)), backbone_file)
    prepared = PreparedEdit.from_bytes(blobs.get(Digest(str(edit.plan_digest))))
    return _train_and_commit(blobs, model, edit, view, prepared, work, workers, progress, executor)


def _require_whole_log(setup: Edit) -> None:
    """Raises UsageError for a setup that left users out: their ids are kept nowhere, so only they can be named again."""
    if setup.parameters.get("without_users"):
        raise UsageError(
            f"expected a setup that its records can finish, found that setup {setup.number} leaves users out, whose ids "
            f"are kept nowhere: `raie edit abort {setup.number}`, and run `raie setup` with --without-user again"
        )


def _require_backbone_file(settings: Settings, backbone_file: Path | None) -> None:
    """A file that the registry alone names never runs: it must be the one that this workspace names too."""
    backbone = settings.engine.backbone
    if backbone.kind == "file" and (
        backbone_file is None or backbone_file.resolve() != Path(backbone.path).resolve()
    ):
        raise UsageError(
            f"expected the backbone's Python file {backbone.path}, with which the setup began, in raie.toml or "
            f"RAIE_BACKBONE_FILE, found {backbone_file or 'none'}: name it there, or abort the setup and begin it again"
        )


def _train_and_commit(
    blobs: CommandBlobs,
    model: str,
    edit: Edit,
    view: ModelView,
    prepared: PreparedEdit,
    work: Path,
    workers: int,
    progress: Progress,
    executor: Executor,
) -> Snapshot:
    registry, number, folder = blobs.registry, edit.number, _folder(work, model, edit.number)
    with kept_alive(registry, model, number):
        trained = _trained(blobs, edit, view, prepared, folder, workers, progress, executor)
        finished = finish_edit(view, prepared, list(trained.values()))
        content = content_of(blobs, finished.parts, view.content)  # type: ignore[arg-type]
        candidate = ModelView(content, blobs.get, view.backbone_file)
        progress("evaluating the candidate", 0, 1)
        measured = impact(view, candidate, prepared, finished, trained, executor)
        report = measured.to_mapping()
        if "known" in edit.parameters:  # of an edit that an older raie began it is not known
            report["known"] = edit.parameters["known"]
        progress("evaluating the candidate", 1, 1)
        if prepared.plan.touched and edit.parameters.get("accept", ANYWAY) != ANYWAY and not gains(measured):
            raise _closed(registry, edit, measured, report)
    snapshot = registry.commit(model, number, content, _changes(finished.facts), plain(report))
    shutil.rmtree(folder, ignore_errors=True)
    return snapshot


def _closed(registry: Registry, edit: Edit, measured: ImpactReport, report: Mapping[str, Any]) -> GainedNothing:
    """Close an edit that gains nothing; its rows stay for a later one."""
    why = why_not(measured)
    registry.abort(edit.model, edit.number, Author(edit.actor, why))
    return GainedNothing(
        f"{why}: nothing is committed, and the rows stay for a later edit; --accept anyway commits it",
        edit.number,
        plain(report),
    )


def _trained(
    blobs: CommandBlobs,
    edit: Edit,
    view: ModelView,
    prepared: PreparedEdit,
    folder: Path,
    workers: int,
    progress: Progress,
    executor: Executor,
) -> dict[int, TrainedRegion]:
    """Every touched region's training, and the shared one's; those recorded before are read, not trained again."""
    if not prepared.plan.touched:
        return {}
    done = {
        int(key.removeprefix("region ")): recalled_region(blobs, value)
        for key, value in blobs.registry.checkpoints(edit.model, edit.number).items()
        if key.startswith("region ")
    }
    together = view.settings.engine.edit.shared_epochs > 0
    total = len(prepared.plan.touched) + together

    def record(results: Generator[TrainedRegion], what: str) -> None:
        progress(what, len(done), total)
        with closing(results):  # an interrupt in here stops the workers at once
            for result in results:
                kept = _remembered(blobs, result)
                blobs.registry.record_checkpoint(edit.model, edit.number, f"region {result.region}", kept)
                done[result.region] = result
                progress(what, len(done), total)

    def train(tasks: Sequence[TrainTask]) -> Generator[TrainedRegion]:
        if executor.remote:
            return train_remotely(executor, blobs, Digest(str(edit.plan_digest)), tasks)
        return train_regions(tasks, workers)

    untrained = set(prepared.plan.touched) - done.keys()
    if min(workers, len(untrained)) > 1 and not executor.remote:
        foreseen()
    if SHARED not in done and together:
        task = shared_task(view, prepared, folder / "shared.safetensors")
        record(train([task]), "all touched regions together")
    shared = done[SHARED].blobs if SHARED in done else None
    tasks = [task for task in region_tasks(view, prepared, shared, folder) if task.region in untrained]
    record(train(tasks), "regions")
    return done


def _remembered(blobs: CommandBlobs, result: TrainedRegion) -> dict[str, Any]:
    values = {name: value for name, value in asdict(result).items() if name != "blobs"}
    kept: dict[str, Any] = plain(to_stored("trained region", values))
    digests = blobs.put_all(list(result.blobs.values()))
    return kept | {"blobs": dict(zip(result.blobs, digests, strict=True))}


def recalled_region(blobs: CommandBlobs, value: Mapping[str, Any]) -> TrainedRegion:
    """The result of a training that an edit recorded.

    Args:
        blobs: Where its blobs are read.
        value: What the edit recorded.

    Raises:
        BlobMissing: A blob of it was collected.
    """
    read = {role: blobs.get(Digest(digest)) for role, digest in value["blobs"].items()}
    measured = {
        when: {name: math.nan if number is None else number for name, number in value[when].items()}
        for when in ("before", "after")
    }
    return TrainedRegion(**from_stored("trained region", {**value, **measured, "blobs": read}))


def content_of(blobs: BlobSink, parts: ContentParts, base: Content | None) -> Content:
    """The content that the parts make of the base, every new blob in the store, in one go.

    Args:
        blobs: Where they are put.
        parts: What a setup or an edit made.
        base: The content that they are added to; None for a setup's.
    """
    new = [*parts.backbone.values(), *parts.appended.values(), *parts.replaced.values()]
    new += [data for entry in parts.regions.values() for data in entry.values()]
    new += [] if parts.space is None else [parts.space]
    digests = dict(zip(new, blobs.put_all(new), strict=True))
    shared = {} if base is None else dict(base.shared)
    shared |= {role: (*shared.get(role, ()), digests[data]) for role, data in parts.appended.items()}
    shared |= {role: (digests[data],) for role, data in parts.replaced.items()}
    regions = {} if base is None else dict(base.regions)
    regions |= {
        region: {role: digests[data] for role, data in entry.items()} for region, entry in parts.regions.items()
    }
    if base is not None:
        return Content(base.backbone, base.space, shared, regions)
    assert parts.space is not None, "a setup brings its routing space"
    backbone = {role: digests[data] for role, data in parts.backbone.items()}
    return Content(backbone, digests[parts.space], shared, regions)


def _changes(facts: Sequence[RegionFacts]) -> list[RegionChange]:
    return [RegionChange(**vars(region)) for region in facts]


def plain(value: Any) -> Any:
    """Plain JSON values; what is not a number becomes null, because JSON has no NaN."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _folder(work: Path, model: str, number: int) -> Path:
    """Where an edit's checkpoints lie; they only save time, and nothing refers to them."""
    return work / model / f"edit-{number}"
