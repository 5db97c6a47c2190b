"""What speaks for and against a snapshot, gathered for whoever approves it.

The database says who, why, what changed and what was measured. The snapshots themselves are loaded for three more things:
whether untouched regions answer as before, what each region is about, and whose recommendations changed. A part that
cannot be had says why, and nothing is made up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raie import promotion
from raie.callbacks import Progress, ignore_progress
from raie.edits.edit_records import edit_reference
from raie.errors import MissingExtra
from raie.extras import require
from raie.promotion import PRODUCTION
from raie.registry import InvalidValue, Operation, Registry, Snapshot, lineage, trust
from raie.registry.promotion.aliases import Rehearsal
from raie.registry.promotion.impact_report import ImpactReport, Part, read_report
from raie.snapshots.snapshot_diff import RegionState, SnapshotDiff, diff, region_states
from raie.snapshots.snapshot_record import SnapshotRecord, snapshot_record

if TYPE_CHECKING:
    from raie.review.locality import Locality
    from raie.review.region_map import RegionMaps
    from raie.snapshots.changed_users import ChangedUsers
    from raie.snapshots.region_descriptions import RegionDescription
    from raie.workspace import Workspace

__all__ = ["Measurement", "Review", "UsersOfLog", "review"]


@dataclass(frozen=True)
class UsersOfLog:
    """Whose recommendations are compared.

    Attributes:
        log: The interactions.
        top: How many of the most changed users are shown.
        reading: Options of reading the log that differ from the setup's.
    """

    log: str | Path
    top: int = 5
    reading: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurement:
    """What was measured of a snapshot against another one.

    Attributes:
        source: Where it is kept: "edit 3" or "evaluation 7".
        parts: Windows by name -> both snapshots on them; those on which something was measured.
        untouched: The regions that it says were left as they were; None where it does not say.
        disturbed: Those of them, or what all regions share, that the digests show to differ.
    """

    source: str
    parts: Mapping[str, Part]
    untouched: tuple[int, ...] | None = None
    disturbed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Review:
    """What a reviewer reads of a snapshot.

    Attributes:
        model: The model's name.
        record: The snapshot, its edit, its names, notes and regions.
        against: What it is compared with; None for a first snapshot.
        against_name: Why that one: "production", "parent" or what was asked for.
        difference: What differs between the two; None for a first snapshot.
        before: Regions of `against`.
        operations: What the snapshot's edit did to each region.
        measurements: Of the snapshot against `against`; where nobody measured that, of each edit between them against its
            own base, newest first.
        whole: Whether the first measurement is of the two snapshots.
        rehearsal: The checks of the alias's policy.
        alias: Whose policy that is.
        maps, descriptions, locality, users: None, or empty, where `missing` says why.
        missing: "map", "descriptions", "locality" or "users" -> why there is none.
    """

    model: str
    record: SnapshotRecord
    against: Snapshot | None
    against_name: str
    difference: SnapshotDiff | None
    before: Mapping[int, RegionState]
    operations: tuple[Operation, ...]
    measurements: tuple[Measurement, ...]
    whole: bool
    rehearsal: Rehearsal
    alias: str
    maps: RegionMaps | None = None
    descriptions: Mapping[int, RegionDescription] = field(default_factory=dict)
    locality: Locality | None = None
    users: ChangedUsers | None = None
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def marks(self) -> Mapping[int, str]:
        """Region -> "added", "changed" or "removed", for those that differ."""
        return {} if self.difference is None else {r.region: r.difference for r in self.difference.regions}


def review(
    workspace: Workspace,
    ref: str = "head",
    *,
    against: str | None = None,
    users: UsersOfLog | None = None,
    database_only: bool = False,
    progress: Progress = ignore_progress,
) -> Review:
    """Gather what a reviewer reads of a snapshot.

    Args:
        workspace: Whose model it is.
        ref: "head", an alias, "edit:3" or 3, a snapshot's id or its first characters.
        against: What to compare with; None for the snapshot that production points to, or the parent where production
            points to no other. An alias's own policy is checked, any other's is that of production.
        users: Whose recommendations to compare; None for nobody's.
        database_only: Load no snapshot.
        progress: Called as windows are scored and users answered.

    Returns:
        The review.

    Raises:
        NotFound: There is no such snapshot.
        EngineError: The log of the users cannot be used.
        RegistryError: A blob is missing or damaged.
    """
    registry, model = workspace.registry(), workspace.model
    record = snapshot_record(workspace, ref)
    snapshot = record.snapshot
    base, name = _base(registry, snapshot, against)
    difference = None if base is None else diff(workspace, base.id, snapshot.id)
    alias = name if any(name == known.name for known in registry.aliases(model)) else PRODUCTION
    measurements, whole = _measurements(registry, difference)
    gathered = Review(
        model=model,
        record=record,
        against=base,
        against_name=name,
        difference=difference,
        before={} if base is None else region_states(registry, base),
        operations=tuple(lineage.operations(registry, model, snapshot.edit)),
        measurements=measurements,
        whole=whole,
        rehearsal=promotion.check(workspace, snapshot.id, alias=alias),
        alias=alias,
    )
    return _with_parts(workspace, gathered, users, database_only, progress)


def _base(registry: Registry, snapshot: Snapshot, against: str | None) -> tuple[Snapshot | None, str]:
    """What a snapshot is compared with, and by what name."""
    if against is not None:
        return lineage.find(registry, snapshot.model, edit_reference(against)), against
    for alias in registry.aliases(snapshot.model):
        if alias.name == PRODUCTION and alias.snapshot != snapshot.id:
            return lineage.find(registry, snapshot.model, alias.snapshot), PRODUCTION
    if snapshot.parent is None:
        return None, "nothing"
    return lineage.find(registry, snapshot.model, snapshot.parent), "parent"


def _measurements(registry: Registry, difference: SnapshotDiff | None) -> tuple[tuple[Measurement, ...], bool]:
    if difference is None or difference.same_content:
        return (), False
    try:
        newest = trust.newest_evaluation(registry, difference.newer, difference.older)
    except InvalidValue:  # another client wrote a report that is none; the check of the policy says so
        newest = None
    if newest is not None:
        report = newest.report
        return (Measurement(newest.source, _measured(report), report.untouched, newest.disturbed or ()),), True
    own = [between.edit for between in difference.edits if between.only_in == "newer"]
    return tuple(
        Measurement(f"edit {edit.number}", parts) for edit in own if (parts := _parts(edit.report))
    ), False


def _parts(report: Mapping[str, Any]) -> Mapping[str, Part]:
    try:
        return _measured(read_report(report))
    except InvalidValue:
        return {}


def _measured(report: ImpactReport) -> Mapping[str, Part]:
    return {name: part for name, part in report.parts.items() if part.changes}


def _with_parts(
    workspace: Workspace, gathered: Review, users: UsersOfLog | None, database_only: bool, progress: Progress
) -> Review:
    """The review with what the engine says, or why it says nothing."""
    try:
        require("engine")
    except MissingExtra as absent:
        if users is not None:
            raise
        return _without(gathered, ("map", "descriptions", "locality", "users"), str(absent))
    mapped = _with_map(gathered)
    if database_only:
        described = _without(mapped, ("descriptions", "locality"), "not asked for: leave out --database-only")
    else:
        # Not before it is needed: torch takes most of the time of a report that loads no snapshot.
        from raie.review.loaded import with_snapshots

        described = with_snapshots(workspace, mapped, progress)
    if users is None:
        return _without(described, ("users",), "not asked for: name a log with --users LOG")
    from raie.review.loaded import with_users

    return with_users(workspace, described, users, progress)


def _with_map(gathered: Review) -> Review:
    from raie.review.region_map import region_maps

    if gathered.difference is not None and gathered.difference.space:
        return _without(gathered, ("map",), "the two snapshots have different routing spaces")
    maps = region_maps(gathered.before, gathered.record.regions, gathered.marks)
    if maps is None:
        return _without(gathered, ("map",), "the registry knows no centres of one length for these regions")
    return replace(gathered, maps=maps)


def _without(gathered: Review, parts: Iterable[str], reason: str) -> Review:
    return replace(gathered, missing={**gathered.missing, **dict.fromkeys(parts, reason)})
