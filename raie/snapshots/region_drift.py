"""Which regions of a snapshot predict the new rows of a log worse than they did, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raie.callbacks import Progress, ignore_progress
from raie.edits.workflow import open_view
from raie.engine.data.interactions import end_time
from raie.engine.edit.drift_report import DriftReport, RegionDrift, drift_report
from raie.engine.edit.pipeline import new_windows
from raie.logs.known_ids import doubt_line, known_ids
from raie.logs.log_reading import When, notes_of, read_later_log, when_text

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = ["Drift", "drift"]


@dataclass(frozen=True)
class Drift:
    """What has drifted since a snapshot.

    Attributes:
        snapshot: The id of the snapshot.
        report: Region by region, with how sure that is.
        known: What the snapshot knows of the users and items of the new rows.
        notes: What a person should know of how the log was read.
    """

    snapshot: str
    report: DriftReport
    known: Mapping[str, Any] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def regions(self) -> tuple[RegionDrift, ...]:
        """Every region of the snapshot."""
        return self.report.regions

    @property
    def drifted(self) -> tuple[int, ...]:
        """The regions for which an edit is recommended."""
        return self.report.drifted


def drift(
    workspace: Workspace,
    log: str | Path,
    *,
    ref: str = "head",
    until: When | None = None,
    reading: Mapping[str, Any] | None = None,
    progress: Progress = ignore_progress,
) -> Drift:
    """Compare the loss on windows after a snapshot's watermark with the loss on held-out windows of its setup.

    Args:
        workspace: Where the model lives.
        log: The interactions.
        ref: The snapshot: "head", an alias, "edit:3" or an id.
        until: Use the log up to here; None for all of it.
        reading: Options of reading the log that differ from the setup's.
        progress: Called as windows are scored.

    Raises:
        EngineError: The log cannot be used; NothingToEdit where it has no new window.
        RegistryError: There is no such snapshot, or the database or the store refuses.
    """
    registry = workspace.registry()
    snapshot = registry.resolve(workspace.model, ref)
    view = open_view(registry, snapshot, workspace.backbone_file)
    interactions = read_later_log(view, Path(log), reading)
    end = end_time(interactions, when_text(until))
    known = known_ids(registry, workspace.model, snapshot, view, interactions, end)
    new = new_windows(view, interactions, end)
    report = drift_report(view, new, on_scored=lambda done, total: progress("scoring windows", done, total))
    notes = (*notes_of(interactions), *doubt_line(known))
    return Drift(snapshot.id, report, known.to_mapping(), notes)
