"""The read side: history, difference, and the lineage of a region or an adapter version.

Everything here answers from the database alone; no blob is read. Each function sees one moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, select

from raie.registry.db.engine import chunked, reading
from raie.registry.db.queries import (
    edit_by_number,
    edit_of,
    head_id,
    operation_of,
    require_model,
    resolve_id,
    select_snapshots,
    snapshot_by_id,
    snapshot_of,
    version_of,
    versions_of,
)
from raie.registry.db.tables import adapter_versions as versions_table
from raie.registry.db.tables import aliases as aliases_table
from raie.registry.db.tables import edits as edits_table
from raie.registry.db.tables import operations as operations_table
from raie.registry.db.tables import snapshots as snapshots_table
from raie.registry.edits.merge import changed_regions
from raie.registry.registry import Registry
from raie.registry.values import AdapterVersion, Edit, Operation, Snapshot

__all__ = [
    "Diff",
    "Entry",
    "RegionStep",
    "adapter_versions",
    "diff",
    "edits",
    "find",
    "find_all",
    "history",
    "newest_versions",
    "operations",
    "region_history",
    "versions_in",
    "walk",
]

_PAGE = 50
"""Contents in memory at a time: each names every blob of its snapshot."""


@dataclass(frozen=True)
class Entry:
    """A snapshot in a model's history, with the edit that made it and the names that point to it."""

    snapshot: Snapshot
    edit: Edit
    operations: tuple[Operation, ...]
    aliases: tuple[str, ...]
    is_head: bool


@dataclass(frozen=True)
class RegionStep:
    """What one edit did to a region."""

    edit: Edit
    operation: Operation


@dataclass(frozen=True)
class Diff:
    """How a newer content differs from an older one: region ids, and names of backbone roles and shared parts."""

    added: tuple[int, ...]
    removed: tuple[int, ...]
    changed: tuple[int, ...]
    shared: tuple[str, ...]
    backbone: tuple[str, ...]
    space: bool


def find(registry: Registry, model: str, ref: str) -> Snapshot:
    """The snapshot that a reference names, expired or not.

    Args:
        registry: of the model.
        model: its name.
        ref: of the snapshot, as `Registry.resolve` takes it.

    Returns:
        The snapshot.

    Raises:
        NotFound: for a model or a snapshot that is not there.
        InvalidValue: for a prefix of several.
    """
    return find_all(registry, model, [ref])[0]


def find_all(registry: Registry, model: str, refs: Sequence[str]) -> list[Snapshot]:
    """The snapshots that several references name, as of one moment.

    Args:
        registry: of the model.
        model: its name.
        refs: as `find` takes them.

    Returns:
        The snapshots, in the order of the references.

    Raises:
        NotFound: for a model or a snapshot that is not there.
        InvalidValue: for a prefix of several.
    """
    with reading(registry.engine) as connection:
        return [snapshot_by_id(connection, resolve_id(connection, model, ref)) for ref in refs]


def history(registry: Registry, model: str, limit: int | None = None) -> list[Entry]:
    """The model's snapshots, newest first, side branches and expired ones included.

    Args:
        registry: of the model.
        model: its name.
        limit: the newest so many; None for all.

    Returns:
        One entry for each; each holds a whole content: for a long history `walk` needs less memory.

    Raises:
        NotFound: for a model that is not there.
    """
    return list(walk(registry, model, limit))


def walk(registry: Registry, model: str, limit: int | None = None) -> Iterator[Entry]:
    """As `history`, one after the other, all as of one moment, few of them in memory at a time.

    Args:
        registry: of the model.
        model: its name.
        limit: the newest so many; None for all.

    Returns:
        An iterator of the entries.

    Raises:
        NotFound: for a model that is not there.
    """
    mine = select(snapshots_table.c.id).where(snapshots_table.c.model == model)
    with reading(registry.engine) as connection:
        require_model(connection, model)
        ordered = mine.order_by(snapshots_table.c.created_at.desc(), snapshots_table.c.edit.desc()).limit(limit)
        ids = connection.execute(ordered).scalars().all()
        named, head = _names(connection, model), head_id(connection, model)
        for page in (ids[start : start + _PAGE] for start in range(0, len(ids), _PAGE)):
            rows = connection.execute(select_snapshots().where(snapshots_table.c.id.in_(page))).all()
            by_id = {row.id: snapshot_of(row) for row in rows}
            edits = _edits(connection, model, [snapshot.edit for snapshot in by_id.values()])
            done = _operations(connection, model, list(edits))
            for snapshot in (by_id[snapshot_id] for snapshot_id in page):
                operations = tuple(done.get(snapshot.edit, ()))
                aliases = tuple(named.get(snapshot.id, ()))
                yield Entry(snapshot, edits[snapshot.edit], operations, aliases, snapshot.id == head)


def region_history(registry: Registry, model: str, region: int) -> list[RegionStep]:
    """What was done to a region, newest first.

    Args:
        registry: of the model.
        model: its name.
        region: its id.

    Returns:
        One step for each edit that touched it; empty for a region that never was.

    Raises:
        NotFound: for a model that is not there.
    """
    table = operations_table.c
    query = select(operations_table).where(table.model == model, table.region == region)
    with reading(registry.engine) as connection:
        require_model(connection, model)
        rows = connection.execute(query.order_by(table.edit.desc(), table.position.desc())).all()
        edits = _edits(connection, model, [row.edit for row in rows])
    return [RegionStep(edits[row.edit], operation_of(row)) for row in rows]


def operations(registry: Registry, model: str, number: int) -> list[Operation]:
    """What an edit did to each region.

    Args:
        registry: of the model.
        model: its name.
        number: of the edit.

    Returns:
        The operations, in their order.

    Raises:
        NotFound: for an edit that is not there.
    """
    with reading(registry.engine) as connection:
        edit_by_number(connection, model, number)
        return _operations(connection, model, [number]).get(number, [])


def edits(registry: Registry, model: str, numbers: Sequence[int]) -> dict[int, Edit]:
    """Several edits.

    Args:
        registry: of the model.
        model: its name.
        numbers: of the edits.

    Returns:
        Number -> edit; a number that no edit has is left out.
    """
    with reading(registry.engine) as connection:
        return _edits(connection, model, list(numbers))


def newest_versions(registry: Registry, model: str, region: int, limit: int) -> list[AdapterVersion]:
    """The last versions of a region.

    Args:
        registry: of the model.
        model: its name.
        region: its id.
        limit: how many.

    Returns:
        The versions, newest first.

    Raises:
        NotFound: for a model that is not there.
    """
    table = versions_table.c
    query = select(versions_table).where(table.model == model, table.region == region)
    with reading(registry.engine) as connection:
        require_model(connection, model)
        return [version_of(row) for row in connection.execute(query.order_by(table.version.desc()).limit(limit))]


def adapter_versions(registry: Registry, model: str, region: int | None = None) -> list[AdapterVersion]:
    """Every version of every region, or of one.

    Args:
        registry: of the model.
        model: its name.
        region: its id; None for all.

    Returns:
        The versions, by region and version.

    Raises:
        NotFound: for a model that is not there.
    """
    table = versions_table.c
    query = select(versions_table).where(table.model == model).order_by(table.region, table.version)
    with reading(registry.engine) as connection:
        require_model(connection, model)
        rows = connection.execute(query if region is None else query.where(table.region == region))
        return [version_of(row) for row in rows]


def versions_in(registry: Registry, snapshot: Snapshot) -> dict[int, AdapterVersion]:
    """Which version of each region a snapshot holds: which edit each part of it came from.

    Args:
        registry: of the model.
        snapshot: that is asked about.

    Returns:
        Region -> version.
    """
    with reading(registry.engine) as connection:
        return versions_of(connection, snapshot.model, snapshot.content.regions)


def diff(older: Snapshot, newer: Snapshot) -> Diff:
    """What the newer snapshot has different from the older one.

    Args:
        older: a snapshot.
        newer: a snapshot.

    Returns:
        Region ids, and names of roles and shared parts.
    """
    a, b = older.content, newer.content
    changed = changed_regions(a, b)
    return Diff(
        added=tuple(sorted(changed - a.regions.keys())),
        removed=tuple(sorted(changed - b.regions.keys())),
        changed=tuple(sorted(changed & a.regions.keys() & b.regions.keys())),
        shared=_differing(a.shared, b.shared),
        backbone=_differing(a.backbone, b.backbone),
        space=a.space != b.space,
    )


def _differing(a: Any, b: Any) -> tuple[str, ...]:
    return tuple(sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key)))


def _edits(connection: Connection, model: str, numbers: list[int]) -> dict[int, Edit]:
    by_number: dict[int, Edit] = {}
    for row in _by_number(
        connection, select(edits_table), edits_table.c.model == model, edits_table.c.number, numbers
    ):
        by_number[row.number] = edit_of(row)
    return by_number


def _operations(connection: Connection, model: str, numbers: list[int]) -> dict[int, list[Operation]]:
    table = operations_table.c
    by_edit: dict[int, list[Operation]] = {}
    query = select(operations_table).order_by(table.edit, table.position)
    for row in _by_number(connection, query, table.model == model, table.edit, numbers):
        by_edit.setdefault(row.edit, []).append(operation_of(row))
    return by_edit


def _by_number(connection: Connection, query: Select[Any], mine: Any, column: Any, numbers: list[int]) -> Any:
    for chunk in chunked(sorted(set(numbers))):
        yield from connection.execute(query.where(mine, column.in_(chunk)))


def _names(connection: Connection, model: str) -> dict[str, list[str]]:
    table = aliases_table.c
    by_snapshot: dict[str, list[str]] = {}
    for row in connection.execute(select(aliases_table).where(table.model == model).order_by(table.name)):
        by_snapshot.setdefault(row.snapshot, []).append(row.name)
    return by_snapshot
