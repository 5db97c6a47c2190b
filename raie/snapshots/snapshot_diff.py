"""What differs between two snapshots: the edits between them, their regions, and the blobs of the whole model.

Everything here answers from the database alone and reads no blob. Angles are radians.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from raie.edits.edit_records import edit_reference
from raie.errors import UsageError
from raie.registry import AdapterVersion, Edit, Registry, Snapshot, lineage
from raie.registry.edits.undone import LandedEdit, undoing_edits, undone_edits

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = [
    "EditBetween",
    "RegionDifference",
    "RegionState",
    "SnapshotDiff",
    "diff",
    "region_states",
]


@dataclass(frozen=True)
class RegionState:
    """A region as one snapshot holds it.

    Attributes:
        edit: The edit that made the version.
        radius: Radians; concentration: of the von Mises-Fisher distribution.
        members: The windows that it was fitted on; share: of the members of all regions, in [0, 1].
        centre: Unit vector in the routing space.
        metrics: Name -> value, as the edit measured them.
    """

    version: int
    edit: int
    action: str
    radius: float
    concentration: float
    members: int
    share: float
    adapter: bool
    centre: tuple[float, ...] = field(repr=False)
    metrics: Mapping[str, float] = field(repr=False)


@dataclass(frozen=True)
class RegionDifference:
    """A region that two snapshots do not share.

    Attributes:
        difference: "added", "removed" or "changed".
        older, newer: The region in each; None where a snapshot does not have it.
        centre_shift: Radians from the older centre to the newer one; None where one is not there or the space differs.
        roles: The blobs that differ.
        measured: What the edit that made the newer version reported of the region: `adapter`, `accepted`, and the metrics
            `before` and `after`; None where that edit is not between the two, or reported nothing of it.
    """

    region: int
    difference: str
    older: RegionState | None
    newer: RegionState | None
    centre_shift: float | None
    roles: tuple[str, ...]
    measured: Mapping[str, Any] | None = None

    @property
    def older_version(self) -> int | None:
        """The version in the older snapshot; None where it does not have the region."""
        return None if self.older is None else self.older.version

    @property
    def newer_version(self) -> int | None:
        """The version in the newer snapshot; None where it does not have the region."""
        return None if self.newer is None else self.newer.version


@dataclass(frozen=True)
class EditBetween:
    """An edit that one of two snapshots holds in its history and the other does not.

    Attributes:
        only_in: "newer" or "older".
        undoes: The edits that it took back; undone_by: the edit that took it back in the history of that snapshot.
    """

    edit: Edit
    only_in: str
    undoes: tuple[int, ...] = ()
    undone_by: int | None = None


@dataclass(frozen=True)
class SnapshotDiff:
    """What differs between two snapshots.

    Attributes:
        regions: Those that differ; unchanged: the others of the newer snapshot.
        shared: Names of the parts of the whole model that differ.
        backbone: Roles of the backbone's blobs that differ; space: whether the routing space does.
        edits: Those that only one of the two histories holds, newest first, the newer snapshot's before the older's.
    """

    older: Snapshot
    newer: Snapshot
    regions: tuple[RegionDifference, ...]
    unchanged: tuple[int, ...]
    shared: tuple[str, ...]
    backbone: tuple[str, ...]
    space: bool
    edits: tuple[EditBetween, ...] = ()

    @property
    def same_content(self) -> bool:
        """Whether both score every window the same."""
        return self.older.content.digest == self.newer.content.digest

    def __repr__(self) -> str:
        changed = {region.region: region.difference for region in self.regions}
        return f"SnapshotDiff(older={self.older.id[:12]!r}, newer={self.newer.id[:12]!r}, regions={changed})"


def diff(workspace: Workspace, older: str, newer: str | None = None) -> SnapshotDiff:
    """Compare two snapshots, or one with the snapshot that it came from.

    Args:
        workspace: Where the model lives.
        older: The older snapshot; alone, the number of an edit or a snapshot, which is compared with its parent.
        newer: The newer snapshot.

    Returns:
        What differs; expired snapshots can be compared too.

    Raises:
        NotFound: There is no such snapshot.
        UsageError: The first snapshot alone, which has no parent.
    """
    registry = workspace.registry()
    before, after = _pair(registry, workspace.model, older, newer)
    differing = lineage.diff(before, after)
    between = _edits_between(registry, before, after)
    regions = _region_differences(registry, before, after, differing, between)
    changed = {region.region for region in regions}
    return SnapshotDiff(
        older=before,
        newer=after,
        regions=regions,
        unchanged=tuple(sorted(set(after.content.regions) - changed)),
        shared=tuple(differing.shared),
        backbone=tuple(differing.backbone),
        space=differing.space,
        edits=between,
    )


def region_states(registry: Registry, snapshot: Snapshot) -> dict[int, RegionState]:
    """The regions of a snapshot, each at the version that it holds.

    Args:
        registry: Of the model.
        snapshot: Expired or not.

    Returns:
        Region -> state, by region.
    """
    held = lineage.versions_in(registry, snapshot)
    members = sum(version.change.count for version in held.values())
    return {region: _state(held[region], members) for region in sorted(held)}


def _state(version: AdapterVersion, members: int) -> RegionState:
    change = version.change
    return RegionState(
        version=version.version,
        edit=version.edit,
        action=change.action,
        radius=change.radius,
        concentration=change.concentration,
        members=change.count,
        share=change.count / members if members else 0.0,
        adapter="lora" in version.entry,
        centre=tuple(change.centre),
        metrics=dict(change.metrics),
    )


def _pair(registry: Registry, model: str, older: str, newer: str | None) -> Sequence[Snapshot]:
    if newer is not None:
        return lineage.find_all(registry, model, [edit_reference(older), edit_reference(newer)])
    number = re.fullmatch(r"[0-9]{1,9}", older)
    after = lineage.find(registry, model, f"edit:{older}" if number else older)
    if after.parent is None:
        raise UsageError(f"{after.id[:12]} is the first snapshot, so there is none before it to compare with")
    return lineage.find(registry, model, after.parent), after


def _edits_between(registry: Registry, before: Snapshot, after: Snapshot) -> tuple[EditBetween, ...]:
    """The edits of one history that the other lacks, newest first, the newer snapshot's before the older's."""
    of_older, of_newer = registry.histories(after.model, before.id, after.id)
    common = _common(of_older, of_newer)
    sides = (("newer", of_newer), ("older", of_older))
    numbers = [edit.number for _, landed in sides for edit in landed[common:]]
    edits = lineage.edits(registry, after.model, numbers)
    between = []
    for side, landed in sides:
        undoes, undone = undoing_edits(landed), undone_edits(landed)
        for number in (edit.number for edit in reversed(landed[common:])):
            between.append(EditBetween(edits[number], side, undoes.get(number, ()), undone.get(number)))
    return tuple(between)


def _common(older: Sequence[LandedEdit], newer: Sequence[LandedEdit]) -> int:
    """How many edits two histories begin with alike."""
    pairs = enumerate(zip(older, newer, strict=False))
    return next((n for n, (a, b) in pairs if a.snapshot != b.snapshot), min(len(older), len(newer)))


def _region_differences(
    registry: Registry,
    before: Snapshot,
    after: Snapshot,
    differing: lineage.Diff,
    between: Sequence[EditBetween],
) -> tuple[RegionDifference, ...]:
    """Each region that differs: how, from what to what, and in which of its blobs."""
    kinds = {"added": differing.added, "removed": differing.removed, "changed": differing.changed}
    older, newer = (region_states(registry, snapshot) for snapshot in (before, after))
    gained = {step.edit.number: step.edit for step in between if step.only_in == "newer"}
    rows = []
    for region, kind in sorted((region, kind) for kind, regions in kinds.items() for region in regions):
        a, b = before.content.regions.get(region, {}), after.content.regions.get(region, {})
        rows.append(
            RegionDifference(
                region=region,
                difference=kind,
                older=older.get(region),
                newer=newer.get(region),
                centre_shift=None if differing.space else _angle(older.get(region), newer.get(region)),
                roles=tuple(sorted(role for role in a.keys() | b.keys() if a.get(role) != b.get(role))),
                measured=_measured(gained, region, newer.get(region)),
            )
        )
    return tuple(rows)


def _angle(older: RegionState | None, newer: RegionState | None) -> float | None:
    """Radians between the centres of a region in two snapshots; None where there are not two of one length."""
    if older is None or newer is None or not newer.centre or len(older.centre) != len(newer.centre):
        return None
    # Of halves of chords: near 0 the arc cosine of a dot product has lost half of its digits.
    chord = math.dist(older.centre, newer.centre)
    return 2 * math.asin(min(1.0, chord / 2))


def _measured(edits: Mapping[int, Edit], region: int, state: RegionState | None) -> Mapping[str, Any] | None:
    """What the edit that made a version reported of its region; another client's report may have any shape."""
    if state is None or state.edit not in edits:
        return None
    rows = edits[state.edit].report.get("regions")
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, Mapping) and row.get("region") == region and "before" in row and "after" in row:
            return {key: row.get(key) for key in ("adapter", "accepted", "before", "after")}
    return None
