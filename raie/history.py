"""What a model's history holds: its log, the lineage of a snapshot, and the regions with their versions.

Every function answers from the database alone and reads no blob. Times are epoch seconds UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from raie.edits.notes import annotations_of
from raie.errors import UsageError
from raie.newest import NEWEST, newest
from raie.registry import AdapterVersion, Edit, Expiry, Operation, Registry, Snapshot
from raie.registry import lineage as reads
from raie.registry.db.engine import reading
from raie.registry.db.queries import unknown_region
from raie.registry.edits.undone import undoing_edits, undone_edits

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = [
    "Lineage",
    "Link",
    "Log",
    "LogEntry",
    "RegionLineage",
    "RegionVersions",
    "Regions",
    "lineage",
    "log",
    "region_versions",
    "regions",
]


@dataclass(frozen=True)
class LogEntry:
    """A snapshot in the log, without its content, which names every blob.

    Attributes:
        id: The snapshot; parent: the one it was made from, None for the first.
        edit: The number of the edit that made it; kind, actor, reason, data_digest: of that edit.
        content_digest: Two snapshots with the same one score the same.
        expired: Since when its blobs may be gone; None while they are kept.
        aliases: The names that point at it, sorted.
        operations: What the edit did to each region, without centres and metrics.
        undoes: The edits that it took back; undone_by: the edit that took it back, None where the head holds it.
        tags: Its tags, sorted; note: its newest note, "" without one.
    """

    id: str
    parent: str | None
    edit: int
    kind: str
    actor: str
    reason: str
    data_digest: str | None
    content_digest: str
    created_at: float
    expired: Expiry | None
    is_head: bool
    aliases: tuple[str, ...]
    operations: tuple[Operation, ...]
    undoes: tuple[int, ...] = ()
    undone_by: int | None = None
    tags: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Log:
    """The newest entries of a model's history, newest first; more: whether there are older ones.

    Attributes:
        head: The head's id; None before the first snapshot.
        open_edits: Edits that have no snapshot yet, newest first.
    """

    model: str
    head: str | None
    open_edits: tuple[Edit, ...]
    entries: tuple[LogEntry, ...]
    more: bool


@dataclass(frozen=True)
class Link:
    """A version of a region, with the edit that made it."""

    version: AdapterVersion
    edit: Edit


@dataclass(frozen=True)
class RegionLineage:
    """The versions that led to the one a snapshot holds, newest first; more: whether there are older ones."""

    region: int
    links: tuple[Link, ...]
    more: bool


@dataclass(frozen=True)
class Lineage:
    """What a snapshot consists of, and where each region of it came from.

    Attributes:
        edit: The edit that made the snapshot.
        aliases: The names that point at it, sorted.
    """

    snapshot: Snapshot
    edit: Edit
    is_head: bool
    aliases: tuple[str, ...]
    regions: tuple[RegionLineage, ...]


@dataclass(frozen=True)
class Regions:
    """The regions of a snapshot, each at the version that it holds, by region; members: the windows of all together."""

    snapshot: Snapshot
    versions: tuple[AdapterVersion, ...]
    members: int

    def weight(self, version: AdapterVersion) -> float:
        """The share of all members that is a region's own, in [0, 1]."""
        return version.change.count / self.members if self.members else 0.0


@dataclass(frozen=True)
class RegionVersions:
    """The newest versions of one region, newest first; more: whether there are older ones.

    Attributes:
        held_by: Version number -> "head", if the head holds it, and the aliases whose snapshots do.
    """

    model: str
    region: int
    versions: tuple[AdapterVersion, ...]
    held_by: Mapping[int, tuple[str, ...]]
    more: bool


def log(workspace: Workspace, *, limit: int = NEWEST) -> Log:
    """The history of the workspace's model, newest first; empty before its first snapshot.

    Args:
        workspace: Whose model it is.
        limit: How many snapshots to return.

    Returns:
        The log. Side branches and expired snapshots are part of it.

    Raises:
        RegistryError: The database cannot be reached, or does not know the model although it knows others.
    """
    registry, model = workspace.registry(), workspace.model
    if not registry.models():
        return Log(model, None, (), (), False)
    head = registry.head(model)
    (landed,) = registry.histories(model, "head")
    undone, undoing = undone_edits(landed), undoing_edits(landed)
    # One more than is returned shows whether there is more. No entry keeps its content.
    entries = [
        replace(_entry(entry), undoes=undoing.get(entry.edit.number, ()), undone_by=undone.get(entry.edit.number))
        for entry in reads.walk(registry, model, limit + 1)
    ]
    open_edits = tuple(registry.edits(model, only_open=True))
    shown, more = newest(entries, limit)
    return Log(model, None if head is None else head.id, open_edits, _annotated(registry, model, shown), more)


def _annotated(registry: Registry, model: str, entries: Sequence[LogEntry]) -> tuple[LogEntry, ...]:
    """The entries with what people wrote on their snapshots."""
    written = annotations_of(registry, model, [entry.id for entry in entries])
    return tuple(
        replace(entry, tags=written[entry.id].tag_names, note=written[entry.id].newest_note) for entry in entries
    )


def _entry(entry: reads.Entry) -> LogEntry:
    edit, snapshot = entry.edit, entry.snapshot
    return LogEntry(
        id=snapshot.id,
        parent=snapshot.parent,
        edit=edit.number,
        kind=edit.kind,
        actor=edit.actor,
        reason=edit.reason,
        data_digest=edit.data_digest,
        content_digest=snapshot.content.digest,
        created_at=snapshot.created_at,
        expired=snapshot.expired,
        is_head=entry.is_head,
        aliases=tuple(sorted(entry.aliases)),
        operations=tuple(_light(operation) for operation in entry.operations),
    )


def _light(operation: Operation) -> Operation:
    return replace(operation, change=replace(operation.change, centre=(), metrics={}))


def lineage(workspace: Workspace, ref: str = "head", *, region: int | None = None, limit: int = NEWEST) -> Lineage:
    """What a snapshot consists of, and the edits and the data that each region of it came from.

    Args:
        workspace: Whose model it is.
        ref: "head", an alias, "edit:3", a snapshot's id or its first characters.
        region: Only this region; None for all.
        limit: How many versions to return for each region.

    Returns:
        The lineage, its regions by number.

    Raises:
        UsageError: The snapshot has no such region.
        NotFound: There is no such snapshot.
    """
    registry, model = workspace.registry(), workspace.model
    snapshot = reads.find(registry, model, ref)
    held = reads.versions_in(registry, snapshot)
    if region is not None and region not in held:
        raise UsageError(f"snapshot {snapshot.id[:12]} has no region {region}; see `raie regions list {ref}`")
    edits = _Edits(registry, model)
    wanted = sorted(held) if region is None else [region]
    # One link more than is returned shows whether there is more.
    chains = _chains(registry, edits, [held[number] for number in wanted], limit + 1)
    head = registry.head(model)
    return Lineage(
        snapshot=snapshot,
        edit=edits[snapshot.edit],
        is_head=head is not None and head.id == snapshot.id,
        aliases=tuple(alias.name for alias in registry.aliases(model) if alias.snapshot == snapshot.id),
        regions=tuple(_region_lineage(number, chain, edits, limit) for number, chain in chains.items()),
    )


class _Edits(dict[int, Edit]):
    """The edits of a model by number, each looked up once it is asked for."""

    def __init__(self, registry: Registry, model: str) -> None:
        super().__init__()
        self._registry, self._model = registry, model

    def __missing__(self, number: int) -> Edit:
        self[number] = edit = self._registry.edit(self._model, number)
        return edit


def _chains(
    registry: Registry, edits: Mapping[int, Edit], versions: Sequence[AdapterVersion], length: int
) -> dict[int, list[AdapterVersion]]:
    """By region: its version, then the one its edit started from, and so on to the region's first, or a length."""
    held: dict[str, Mapping[int, AdapterVersion]] = {}
    chains: dict[int, list[AdapterVersion]] = {version.region: [version] for version in versions}
    for region, chain in chains.items():
        while len(chain) < length and (base := edits[chain[-1].edit].base) is not None:
            if base not in held:
                held[base] = reads.versions_in(registry, reads.find(registry, chain[-1].model, base))
            if region not in held[base]:
                break
            chain.append(held[base][region])
    return chains


def _region_lineage(
    region: int, chain: Sequence[AdapterVersion], edits: Mapping[int, Edit], limit: int
) -> RegionLineage:
    versions, more = newest(chain, limit)
    return RegionLineage(region, tuple(Link(version, edits[version.edit]) for version in versions), more)


def regions(workspace: Workspace, ref: str = "head") -> Regions:
    """The regions of a snapshot with their versions.

    Args:
        workspace: Whose model it is.
        ref: "head", an alias, "edit:3", a snapshot's id or its first characters.

    Returns:
        The snapshot, expired or not, and the version of each region that it holds.

    Raises:
        NotFound: There is no such snapshot.
    """
    registry = workspace.registry()
    snapshot = reads.find(registry, workspace.model, ref)
    held = reads.versions_in(registry, snapshot)
    versions = tuple(held[region] for region in sorted(held))
    return Regions(snapshot, versions, sum(version.change.count for version in versions))


def region_versions(workspace: Workspace, region: int, *, limit: int = NEWEST) -> RegionVersions:
    """The versions of one region, and the edits that made them, newest first.

    Args:
        workspace: Whose model it is.
        region: The region's number.
        limit: How many versions to return.

    Returns:
        The versions, and what holds each of them now.

    Raises:
        NotFound: The model never had such a region.
    """
    registry, model = workspace.registry(), workspace.model
    versions = reads.newest_versions(registry, model, region, limit + 1)
    if not versions:
        with reading(registry.engine) as connection:
            raise unknown_region(connection, model, region)
    shown, more = newest(versions, limit)
    return RegionVersions(model, region, shown, _held_by(registry, model, shown), more)


def _held_by(registry: Registry, model: str, versions: Sequence[AdapterVersion]) -> dict[int, tuple[str, ...]]:
    refs = ["head", *(alias.name for alias in registry.aliases(model))]
    contents = {ref: registry.resolve(model, ref).content for ref in refs}
    return {
        version.version: tuple(ref for ref in refs if contents[ref].regions.get(version.region) == version.entry)
        for version in versions
    }
