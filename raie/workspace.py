"""The workspace: where one model's history lives, and everything that can be done with it.

A method imports what it calls, so that opening a workspace, promoting and rolling back start without torch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raie.callbacks import OnNote, Progress, ignore_notes, ignore_progress
from raie.configuration.event_consumers import EventConsumer
from raie.configuration.settings import Setting
from raie.errors import UsageError, WorkspaceError
from raie.newest import NEWEST

if TYPE_CHECKING:
    from raie.alias_target import AliasTarget
    from raie.compare import ComparisonOptions
    from raie.edits.edit_records import EditRecord
    from raie.edits.edit_result import EditResult
    from raie.edits.workflow import PlannedEdit
    from raie.engine.comparison.results import ComparisonResult
    from raie.engine.data.readers.settings import LogSettings
    from raie.engine.edit.gain import Accept
    from raie.evaluate import Measured
    from raie.history import Lineage, Log, Regions
    from raie.logs.log_reading import When
    from raie.promotion import Promotion, Rollback
    from raie.publishing.tracking import Sync
    from raie.registry import Edit, Registry
    from raie.registry.maintenance.verify import VerifyReport
    from raie.registry.transfer.moving import Exported, Imported
    from raie.review.review import Review, UsersOfLog
    from raie.snapshots.adapter_export import ExportedAdapter, ExportedBase
    from raie.snapshots.region_drift import Drift
    from raie.snapshots.snapshot_diff import SnapshotDiff
    from raie.snapshots.snapshot_record import SnapshotRecord
    from raie.snapshots.snapshot_view import SnapshotView
    from raie.status import Status

__all__ = ["FILE_NAME", "Workspace"]

FILE_NAME = "raie.toml"


@dataclass(frozen=True)
class Workspace:
    """Where one model's history lives; `raie.open` makes one from a raie.toml.

    A reference is "head", an alias, "edit:3", or a snapshot's id, whose first characters do. A log is a path. Who acts
    is RAIE_ACTOR, or else the user of the operating system.

    Attributes:
        folder: Absolute; it holds raie.toml.
        model: The model's name in the registry.
        database: An SQLAlchemy URL, never printed because the environment's may carry a password.
        store: A folder, file:// or s3:// URL.
        tracking_uri: MLflow's.
        engine: The [engine] table, not yet checked.
        backbone_file: The Python file of a user's backbone, if there is one.
        runs_code: Whether Python that raie.toml names may run.
        settings: Dotted name -> what was chosen and by whom. raie.workspace_file.all_settings adds the engine's
            options and the actor.
        consumers: Who is given events beside MLflow, by name.
        executor: Where tasks run unless a call says otherwise: "local", or "ray" for a cluster.
    """

    folder: Path
    model: str
    database: str = field(repr=False)
    store: str = field(repr=False)
    tracking_uri: str = field(repr=False)
    engine: Mapping[str, Any] = field(default_factory=dict, repr=False)
    backbone_file: Path | None = field(default=None, repr=False)
    runs_code: bool = field(default=True, repr=False)
    settings: Mapping[str, Setting] = field(default_factory=dict, repr=False)
    consumers: tuple[EventConsumer, ...] = ()
    executor: str = "local"

    @property
    def work(self) -> Path:
        """The folder for what an edit computes before it is committed; it may be deleted when no edit runs."""
        return self.folder / ".raie" / "work"

    def of_model(self, model: str, setting: Setting | None = None) -> Workspace:
        """The same workspace with another model of the same registry.

        Args:
            model: The model's name in the registry.
            setting: Who chose it, where `raie config show` shall say so.
        """
        chosen = {} if setting is None else {"model": setting}
        return replace(self, model=model, settings={**self.settings, **chosen})

    def registry(self) -> Registry:
        """Open the registry of this workspace.

        Raises:
            RegistryError: The database or the store cannot be reached, or is of another revision.
        """
        from raie.registry import Registry

        return Registry.open(self.database, self.store)

    def require_code(self) -> None:
        """Refuse to run what another user's raie.toml names.

        Raises:
            WorkspaceError: The raie.toml belongs to another user and names the Python file of a backbone.
        """
        backbone = self.engine.get("backbone")
        named = isinstance(backbone, Mapping) and backbone.get("kind") == "file"
        if named and not self.runs_code:
            raise WorkspaceError(
                f"expected the Python of a backbone in a workspace of your own, found that {self.folder / FILE_NAME} "
                "belongs to another user: read the file that backbone.path names, and copy the workspace to run it"
            )

    # Using a snapshot

    def __getitem__(self, ref: str) -> SnapshotView:
        """The snapshot that a reference names now; it stays the same when an alias moves.

        Raises:
            NotFound: There is no such snapshot.
            SnapshotExpired: Its blobs may be gone.
            Untrusted: The alias is protected, and lacks the signature that its policy requires.
        """
        from raie.snapshots.snapshot_view import SnapshotView

        return SnapshotView(self, ref, self.registry().resolve(self.model, ref))

    # Training

    def setup(
        self,
        log: str | Path,
        *,
        until: When | None = None,
        reason: str = "",
        engine: Mapping[str, Any] | None = None,
        reading: LogSettings | Mapping[str, Any] | None = None,
        executor: str | None = None,
        progress: Progress = ignore_progress,
        on_note: OnNote = ignore_notes,
        without_users: Collection[str] = (),
    ) -> EditResult:
        """Train the backbone, fit the regions and commit the first snapshot.

        Args:
            log: The interactions.
            until: Use the log up to here: a quantile of its times, a date or epoch seconds; None for all of it.
            reason: Why; it stays in the history.
            engine: Options of the engine that differ from raie.toml's, as {"regions": {"regions": 4}}.
            reading: How the log is read, as {"user": "uid", "min_rating": 4}; later logs are read the same way.
            executor: "local", or "ray" for a cluster; None for the workspace's own. The result does not depend on it.
            progress: Called with a stage, how many of its steps are done and how many there are.
            on_note: Called with each line on how the log was read.
            without_users: Ids of users whose rows of the log are left out, as if it had never held them.

        Raises:
            EngineError: The log or an option cannot be used.
            RegistryError: The model has a snapshot already, or the database or the store refuses.
        """
        from raie.edits import training

        return training.set_up(
            self,
            log,
            until=until,
            reason=reason,
            engine=engine,
            reading=reading,
            executor=executor,
            progress=progress,
            on_note=on_note,
            without_users=without_users,
        )

    def plan(
        self,
        log: str | Path,
        *,
        until: When | None = None,
        seed: int | None = None,
        only_drifted: bool = False,
        accept_new_ids: bool = False,
        reading: Mapping[str, Any] | None = None,
        executor: str | None = None,
    ) -> PlannedEdit:
        """What an edit of the head on this log would do, region by region; nothing changes.

        Args:
            log: The interactions; the rows after the head's watermark are taken.
            until: Use the log up to here; None for all of it.
            seed: Another seed than the setup's.
            only_drifted: Leave regions alone that predict the new windows as well as they did.
            accept_new_ids: Take ids that look like known ones in another spelling for new ones.
            reading: Options of reading the log that differ from the setup's.
            executor: "local", or "ray" for a cluster; None for the workspace's own.

        Raises:
            EngineError: The log cannot be used; NothingToEdit where it has no new window.
            RegistryError: The database or the store refuses.
            UsageError: There is no snapshot to edit.
        """
        from raie.edits import training

        return training.plan(
            self,
            log,
            until=until,
            seed=seed,
            only_drifted=only_drifted,
            accept_new_ids=accept_new_ids,
            reading=reading,
            executor=executor,
        )

    def apply(
        self,
        planned: PlannedEdit,
        *,
        reason: str = "",
        workers: int = 1,
        executor: str | None = None,
        accept: Accept = "gain",
        progress: Progress = ignore_progress,
    ) -> EditResult | None:
        """Train what a plan touches and commit the next snapshot.

        Args:
            planned: What `plan` returned.
            reason: Why; it stays in the history.
            workers: Processes that train side by side; the result does not depend on it.
            executor: "local", or "ray" for a cluster; None for the workspace's own. The result does not depend on it.
            accept: "gain" commits an edit only where NDCG@10 rises beyond chance on windows that it was not trained on,
                new ones or those that the setup held out, and falls by less on the others; "anyway" commits every edit.
            progress: Called as the training goes on.

        Returns:
            The new snapshot, with what the edit changed for whom; None where the plan changes nothing.

        Raises:
            GainedNothing: The edit gains nothing beyond chance, and is closed; the head is as before.
            CommitConflict: The head moved, and the edit cannot be replayed on it.
            EngineError: The training failed; `resume` goes on from what was finished.
            RegistryError: The database or the store refuses.
        """
        from raie.edits import training

        return training.apply(
            self, planned, reason=reason, workers=workers, executor=executor, accept=accept, progress=progress
        )

    def edit(
        self,
        log: str | Path,
        *,
        until: When | None = None,
        reason: str = "",
        seed: int | None = None,
        only_drifted: bool = False,
        accept_new_ids: bool = False,
        reading: Mapping[str, Any] | None = None,
        workers: int = 1,
        executor: str | None = None,
        accept: Accept = "gain",
        progress: Progress = ignore_progress,
        on_note: OnNote = ignore_notes,
    ) -> EditResult | None:
        """Plan an edit of the head and apply it; arguments, returns and errors as of `plan` and `apply`."""
        planned = self.plan(
            log,
            until=until,
            seed=seed,
            only_drifted=only_drifted,
            accept_new_ids=accept_new_ids,
            reading=reading,
            executor=executor,
        )
        for note in planned.notes:
            on_note(note)
        return self.apply(
            planned, reason=reason, workers=workers, executor=executor, accept=accept, progress=progress
        )

    def resume(
        self,
        number: int,
        *,
        force: bool = False,
        workers: int = 1,
        executor: str | None = None,
        progress: Progress = ignore_progress,
    ) -> EditResult:
        """Finish an edit or a setup that was interrupted; the result is that of one which was not.

        Args:
            number: The edit.
            force: Take it from a process that may still work on it.
            workers: Processes that train side by side.
            executor: "local", or "ray" for a cluster; None for the workspace's own. The result does not depend on it.
            progress: Called as the training goes on.

        Raises:
            LeaseLost: Another process works on it.
            EditStateError: It is closed.
            UsageError: The log is no longer the one that the setup began with.
        """
        from raie.edits import training

        return training.resume(self, number, force=force, workers=workers, executor=executor, progress=progress)

    def abort(self, number: int, *, reason: str = "", force: bool = False) -> Edit:
        """Close a running or abandoned edit without a result.

        Raises:
            LeaseLost: Another process works on it.
            EditStateError: It is committed.
        """
        from raie.edits import edit_records

        return edit_records.abort_edit(self, number, reason=reason, force=force)

    # Moving

    def promote(
        self,
        ref: str,
        alias: str = "production",
        *,
        reason: str = "",
        expected: str | None = None,
        override: bool = False,
    ) -> Promotion:
        """Point an alias at a snapshot, of which the store has every blob.

        Args:
            ref: The snapshot.
            alias: The alias to move; a new one is made.
            reason: Why; it stays in the history.
            expected: A reference to what the alias must point at now.
            override: Pass over a check, where the alias's policy allows it; needs a reason.

        Raises:
            AliasConflict: The alias points elsewhere.
            PromotionRefused: The snapshot does not pass the alias's policy.
            BlobMissing: The store lacks a blob.
        """
        from raie import promotion

        return promotion.promote(self, ref, alias=alias, reason=reason, expected=expected, override=override)

    def rollback(
        self, edit: int | None = None, *, to: str | None = None, reason: str = "", cascade: bool = False
    ) -> Rollback:
        """Undo one edit, or go back to an older snapshot's content; either way by a new snapshot.

        Args:
            edit: The number of the edit; later edits of other regions stay.
            to: Instead of an edit: the snapshot whose content comes back.
            reason: Why; it stays in the history.
            cascade: Undo later edits of the same regions too.

        Returns:
            The new head; the head as it is, where that is so already.

        Raises:
            RollbackConflict: Later edits changed the same regions.
            UsageError: Neither or both of `edit` and `to`.
        """
        from raie import promotion

        if edit is not None and to is None:
            return promotion.rollback(self, edit, cascade=cascade, reason=reason)
        if to is not None and edit is None and not cascade:
            return promotion.rollback_to(self, to, reason=reason)
        raise UsageError(
            "expected the number of an edit, or to=REF without cascade, found both or neither: give one"
        )

    # Carrying

    def export_adapter(
        self, folder: str | Path, *, region: int, ref: str = "head", base_model: str | None = None
    ) -> ExportedAdapter:
        """Write a region's adapter into a new folder, in the format of PEFT.

        Args:
            folder: The folder to make; it is whole or absent.
            region: The region.
            ref: The snapshot.
            base_model: The base model's name in the folder; None for one with its digest.

        Raises:
            UsageError: The region has no adapter.
            ConfigError: A language model that others cannot read.
            RaieError: Something has the folder's name.
        """
        from raie.snapshots import adapter_export

        return adapter_export.export_adapter(self, Path(folder), region=region, ref=ref, base_model=base_model)

    def export_base(self, folder: str | Path, *, ref: str = "head") -> ExportedBase:
        """Write the backbone of a snapshot, with all its item rows, as the model that its adapters are put on.

        Raises:
            ConfigError: A language model that others cannot read.
            RaieError: Something has the folder's name.
        """
        from raie.snapshots import adapter_export

        return adapter_export.export_base(self, Path(folder), ref=ref)

    def import_adapter(
        self, folder: str | Path, *, region: int | None = None, reason: str = ""
    ) -> EditResult | None:
        """Make an adapter from a folder that of a region of the head, by an edit.

        Args:
            folder: Of `export_adapter`, or what PEFT saved of it with raie_adapter.json beside.
            region: Whose adapter it becomes; None for the region that it was exported from.
            reason: Why; it stays in the history.

        Returns:
            The new snapshot; None where the region has this adapter already.

        Raises:
            InputError: The folder holds no adapter that fits.
            WrongBackbone: It belongs to another backbone.
            UsageError: The head has no such region.
        """
        from raie.edits import adapter_import

        planned = adapter_import.plan_import(self, Path(folder), region=region)
        return adapter_import.apply_import(self, planned, reason=reason)

    def export_snapshot(
        self, file: str | Path, *, ref: str = "head", progress: Progress = ignore_progress
    ) -> Exported:
        """Write a snapshot with its history, evaluations and signatures into a new file.

        Args:
            file: The file to make; it is whole or absent.
            ref: The snapshot.
            progress: Called as blobs are copied.

        Raises:
            SnapshotExpired: The snapshot's blobs may be gone.
            RaieError: The file is there already.
        """
        from raie.snapshots import transfer

        return transfer.export_snapshot(self, Path(file), ref=ref, progress=progress)

    def import_snapshot(
        self,
        file: str | Path,
        *,
        reason: str = "",
        signed_by: str | None = None,
        progress: Progress = ignore_progress,
    ) -> Imported:
        """Check a file of `export_snapshot` and add what of it is not here yet; again, it changes nothing.

        Args:
            file: Of a registry with the same model.
            reason: Why; it stays in the audit log.
            signed_by: A key that must have signed the snapshot: the name of one that is trusted here, or a file.
            progress: Called as blobs are read, and as they are put.

        Raises:
            ArchiveDamaged: The file is cut off, was changed, or is none.
            CommitConflict: The model has another history here.
            Untrusted: The signature that was asked for is not there.
        """
        from raie.snapshots import transfer

        return transfer.import_snapshot(self, Path(file), reason=reason, signed_by=signed_by, progress=progress)

    # Looking

    def history(self, *, limit: int = NEWEST) -> Log:
        """The newest snapshots, newest first, each with the edit that made it and the aliases that point at it."""
        from raie import history

        return history.log(self, limit=limit)

    def lineage(self, ref: str = "head") -> Lineage:
        """What a snapshot consists of, and the edits and the data that each region of it came from."""
        from raie import history

        return history.lineage(self, ref)

    def regions(self, ref: str = "head") -> Regions:
        """The regions of a snapshot with their versions."""
        from raie import history

        return history.regions(self, ref)

    def aliases(self) -> tuple[AliasTarget, ...]:
        """The aliases by name, and where they point."""
        from raie import promotion

        return promotion.aliases(self)

    def status(self) -> Status:
        """Where the model stands: its head, its aliases, and what is unfinished."""
        from raie import status

        return status.status(self)

    def edits(self, *, only_open: bool = False, limit: int | None = None) -> tuple[Edit, ...]:
        """The edits, newest first; with only_open those that run or were abandoned."""
        from raie.edits import edit_records

        return edit_records.edits(self, only_open=only_open, limit=limit)

    def edit_record(self, number: int) -> EditRecord:
        """One edit: who, when, why, its report, and what it did to each region. Raises NotFound."""
        from raie.edits import edit_records

        return edit_records.edit_record(self, number)

    def diff(self, older: str, newer: str | None = None) -> SnapshotDiff:
        """What differs between two snapshots; one alone is compared with the snapshot that it came from."""
        from raie.snapshots import snapshot_diff

        return snapshot_diff.diff(self, older, newer)

    def show(self, ref: str = "head") -> SnapshotRecord:
        """One snapshot: who made it and why, what it changed, its regions, and what points at it. Raises NotFound."""
        from raie.snapshots import snapshot_record

        return snapshot_record.snapshot_record(self, ref)

    def review(
        self,
        ref: str = "head",
        *,
        against: str | None = None,
        users: UsersOfLog | None = None,
        database_only: bool = False,
        progress: Progress = ignore_progress,
    ) -> Review:
        """What speaks for and against a snapshot; `raie.review.page` and `raie.review.markdown` render it.

        Args:
            ref: The snapshot.
            against: Another one; None for what production points to, or else the parent.
            users: Whose recommendations to compare; None for nobody's.
            database_only: Load no snapshot.
            progress: Called as windows are scored and users answered.

        Raises:
            NotFound: There is no such snapshot.
        """
        from raie.review import review

        return review.review(
            self, ref, against=against, users=users, database_only=database_only, progress=progress
        )

    def evaluate(
        self,
        log: str | Path,
        *,
        ref: str = "head",
        against: str | None = None,
        until: When | None = None,
        strategies: bool = False,
        reading: Mapping[str, Any] | None = None,
        progress: Progress = ignore_progress,
    ) -> Measured:
        """Measure a snapshot on a log, beside that of the setup, which was never edited.

        Args:
            log: The interactions; windows after the snapshot's watermark are new to it.
            ref: The snapshot.
            against: Another snapshot, measured on the same windows.
            until: Use the log up to here; None for all of it.
            strategies: Train one global LoRA on the same edits, and measure it too.
            reading: Options of reading the log that differ from the setup's.
            progress: Called as strategies are trained and windows scored.

        Raises:
            InputError: The log holds no window after the snapshot's watermark.
        """
        from raie import evaluate

        return evaluate.evaluate(
            self,
            log,
            ref=ref,
            against=against,
            until=until,
            strategies=strategies,
            reading=reading,
            progress=progress,
        )

    def record_evaluation(self, measured: Measured, *, reason: str = "") -> int:
        """Keep a comparison that `evaluate` made, for the policy of an alias; returns its number."""
        from raie import evaluate

        return evaluate.record_evaluation(self, measured, reason=reason)

    def drift(
        self,
        log: str | Path,
        *,
        ref: str = "head",
        until: When | None = None,
        reading: Mapping[str, Any] | None = None,
        progress: Progress = ignore_progress,
    ) -> Drift:
        """Which regions of a snapshot predict the new rows of a log worse than they did.

        Args:
            log: The interactions.
            ref: The snapshot.
            until: Use the log up to here; None for all of it.
            reading: Options of reading the log that differ from the setup's.
            progress: Called as windows are scored.
        """
        from raie.snapshots import region_drift

        return region_drift.drift(self, log, ref=ref, until=until, reading=reading, progress=progress)

    def compare(
        self,
        log: str | Path,
        options: ComparisonOptions | None = None,
        *,
        work: Path | None = None,
        workers: int = 1,
        executor: str | None = None,
        fresh: bool = False,
        progress: Progress = ignore_progress,
        on_note: OnNote = ignore_notes,
    ) -> ComparisonResult:
        """Compare strategies over several edits of a log; nothing is committed.

        Args:
            log: The interactions.
            options: What is compared, and how; None for the usual strategies over five edits.
            work: Another folder than the workspace's for what is finished.
            workers: Strategies side by side.
            executor: "local", or "ray" for a cluster; None for the workspace's own.
            fresh: Begin anew, whatever an earlier run has finished.
            progress: Called as the strategies go on.
            on_note: Called with each line on how the log was read.
        """
        from raie import compare

        chosen = compare.ComparisonOptions() if options is None else options
        return compare.compare(
            self,
            log,
            chosen,
            work=work,
            workers=workers,
            executor=executor,
            fresh=fresh,
            progress=progress,
            on_note=on_note,
        )

    def verify(self, *, progress: Progress = ignore_progress) -> VerifyReport:
        """Read every blob, reference and signature, and the audit chain; what is damaged stands in the report.

        Args:
            progress: Called as blobs are read back.
        """
        from raie import upkeep

        return upkeep.verify(self, progress=progress)

    def sync(self, *, progress: Progress = ignore_progress) -> Sync:
        """Publish to MLflow what it does not show yet.

        Args:
            progress: Called as events are published.
        """
        from raie.publishing import tracking

        return tracking.sync(self, progress=progress)
