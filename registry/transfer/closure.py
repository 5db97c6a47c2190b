"""What a snapshot's history consists of: everything without which its rows would refer to nothing.

Its ancestors; the bases of the edits that made them; and where a region's version came from another branch, as a
cherry-pick's does, the snapshot that first had it, with its own ancestors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, select

from raie.registry.db import tables
from raie.registry.db.engine import chunked
from raie.registry.db.queries import require_kept, select_snapshots, snapshot_of, versions_of
from raie.registry.states import BlobState, EditKind, EditState
from raie.registry.transfer.records import COLUMNS, Records
from raie.registry.values import Content, Digest, RegionEntry, entry_digest

__all__ = ["collect", "main_line"]


def collect(connection: Connection, model: str, tip: str) -> tuple[Records, int]:
    """The records of a snapshot, and how many evaluations stay: those against a snapshot that does not travel.

    Raises SnapshotExpired where the snapshot expired, or the newest of its history that was a head did.
    """
    require_kept(connection, [tip])
    contents = _closure(connection, model, tip)
    snapshots = _rows(connection, "snapshots", tables.snapshots.c.id, contents, "created_at", "id")
    committed = tables.edits.c.state == EditState.COMMITTED
    edits = _rows(connection, "edits", tables.edits.c.result, contents, "number", where=committed)
    require_kept(connection, [main_line(snapshots, edits)[-1]])
    measured = _rows(connection, "evaluations", tables.evaluations.c.snapshot, contents, "at", "snapshot")
    evaluations = [row for row in measured if row["against"] in contents and row["model"] == model]
    numbers = [row["number"] for row in edits]
    mine = tables.operations.c.model == model
    return (
        Records(
            snapshots=snapshots,
            edits=edits,
            operations=_rows(
                connection, "operations", tables.operations.c.edit, numbers, "edit", "position", where=mine
            ),
            adapter_versions=_rows(
                connection, "adapter_versions", tables.adapter_versions.c.snapshot, contents, "region", "version"
            ),
            expired_snapshots=_rows(
                connection, "expired_snapshots", tables.expired_snapshots.c.snapshot, contents, "snapshot"
            ),
            evaluations=evaluations,
            signatures=_rows(connection, "signatures", tables.signatures.c.snapshot, contents, "snapshot", "key"),
            plans=_plans(connection, edits),
        ),
        len(measured) - len(evaluations),
    )


def main_line(snapshots: Iterable[Mapping[str, Any]], edits: Iterable[Mapping[str, Any]]) -> list[str]:
    """The ids of the snapshots that were heads, oldest first: whatever an edit made that is no cherry-pick."""
    landed = {row["result"] for row in edits if row["kind"] != EditKind.CHERRY_PICK}
    return [row["id"] for row in snapshots if row["id"] in landed]


def _closure(connection: Connection, model: str, tip: str) -> dict[str, Content]:
    contents: dict[str, Content] = {}
    traced: set[tuple[int, str]] = set()
    wanted = {tip}
    while wanted:
        loaded = list(_snapshots(connection, wanted))
        contents |= {snapshot.id: snapshot.content for snapshot in loaded}
        named = {snapshot.parent for snapshot in loaded if snapshot.parent is not None}
        named |= _bases(connection, wanted)
        for snapshot in loaded:
            entries = _untraced(snapshot.content.regions, traced)
            named |= {version.snapshot for version in versions_of(connection, model, entries).values()}
        wanted = named - contents.keys()
    return contents


def _snapshots(connection: Connection, ids: set[str]) -> Iterator[Any]:
    for chunk in chunked(sorted(ids)):
        for row in connection.execute(select_snapshots().where(tables.snapshots.c.id.in_(chunk))):
            yield snapshot_of(row)


def _bases(connection: Connection, results: set[str]) -> set[str]:
    bases: set[str] = set()
    for chunk in chunked(sorted(results)):
        query = select(tables.edits.c.base).where(
            tables.edits.c.result.in_(chunk), tables.edits.c.base.is_not(None)
        )
        bases |= set(connection.execute(query).scalars())
    return bases


def _untraced(regions: Mapping[int, RegionEntry], traced: set[tuple[int, str]]) -> dict[int, RegionEntry]:
    """The regions whose entry nobody has asked about yet; they count as asked about from now on."""
    keys = {region: (region, str(entry_digest(entry))) for region, entry in regions.items()}
    new = {region: regions[region] for region, key in keys.items() if key not in traced}
    traced.update(keys.values())
    return new


def _rows(
    connection: Connection,
    name: str,
    column: ColumnElement[Any],
    values: Iterable[Any],
    *order: str,
    where: ColumnElement[bool] | None = None,
) -> list[dict[str, Any]]:
    """The rows of a table with one of these values in a column, in this order."""
    table: Table = tables.metadata.tables[name]
    rows: list[dict[str, Any]] = []
    for chunk in chunked(sorted(values)):
        query = select(*(table.c[travels] for travels in COLUMNS[name])).where(column.in_(chunk))
        query = query if where is None else query.where(where)
        rows += [dict(row._mapping) for row in connection.execute(query)]
    return sorted(rows, key=lambda row: tuple(row[key] for key in order))


def _plans(connection: Connection, edits: Iterable[Mapping[str, Any]]) -> list[Digest]:
    """The plans that the store still has: one without its edit's snapshot may be gone."""
    named = {row["plan_digest"] for row in edits if row["plan_digest"] is not None}
    live: list[Digest] = []
    for chunk in chunked(sorted(named)):
        mine = (tables.blobs.c.digest.in_(chunk), tables.blobs.c.state == BlobState.LIVE)
        live += map(Digest, connection.execute(select(tables.blobs.c.digest).where(*mine)).scalars())
    return sorted(live)
