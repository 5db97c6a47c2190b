"""A long history of many models, written in bulk: the rows are those that the registry would have written.

Each model is set up once and then edited again and again; edits take the regions in turn. Every tenth snapshot was
promoted. A test compares what this writes with what `begin`, `put_all`, `commit` and `promote` write, row by row.
Only the blobs' bytes are missing: the database alone answers everything that is measured here.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Engine, Table, func, insert, select, update

from raie.registry import Content, Edit, Manifest, RegionChange, audit, canonical_json, digest_of
from raie.registry.db import tables
from raie.registry.db.queries import text_of
from raie.registry.edits.landing import committed_payload
from raie.registry.outbox_records import ALIAS_MOVED, SNAPSHOT_COMMITTED
from raie.registry.recorded_rows import Rows, begun, closed, digest_of_rows
from raie.registry.store.base import ArtifactStore
from raie.registry.values import entry_digest

__all__ = ["ACTOR", "ALIAS", "Layout", "Planned", "fill", "fill_store", "history_of", "model_name"]

ACTOR, ALIAS = "ada", "production"
PROMOTED_EVERY = 10
BEGINNING = 1_700_000_000.0
BLOB = 64  # bytes


@dataclass(frozen=True)
class Layout:
    """models x regions x snapshots; every edit changes `changes` regions, whose entries hold the blobs `roles`.

    dim: of the centres, whose numbers are most of a version's row.
    """

    models: int
    regions: int
    snapshots: int
    changes: int
    roles: tuple[str, ...] = ("state", "lora")
    dim: int = 8

    @property
    def versions(self) -> int:
        """Adapter versions in all."""
        return self.models * (self.regions + (self.snapshots - 1) * self.changes)

    def __str__(self) -> str:
        return (
            f"{self.versions:,} versions: {self.models} models x {self.regions:,} regions x {self.snapshots:,} "
            f"snapshots, {self.changes} regions per edit, {len(self.roles)} blobs per region"
        )


@dataclass(frozen=True)
class Planned:
    """One edit as a caller hands it to the registry.  at: epoch seconds at which all of it happens."""

    model: str
    number: int
    content: Content
    changes: tuple[RegionChange, ...]
    blobs: tuple[bytes, ...]
    promoted: bool
    at: float


def model_name(number: int) -> str:
    """The name of the model with this number, from 0."""
    return f"recsys-{number:03d}"


def history_of(layout: Layout, number: int) -> Iterator[Planned]:
    """The edits of one model, oldest first; the same in every process."""
    model, generator = model_name(number), random.Random(number)
    content = Content({}, digest_of(b""))
    for edit in range(1, layout.snapshots + 1):
        first = edit == 1
        start = 0 if first else (edit - 2) * layout.changes
        count = layout.regions if first else layout.changes
        regions = [region % layout.regions for region in range(start, start + count)]
        blobs = {r: {role: _blob(model, r, edit, role) for role in layout.roles} for r in regions}
        entries = {r: {role: digest_of(blob) for role, blob in roles.items()} for r, roles in blobs.items()}
        shared = [_blob(model, part) for part in ("weights", "config", "space", "catalogue")] if first else []
        mark = _blob(model, edit, "watermark")
        if first:
            weights, config, space, catalogue = map(digest_of, shared)
            content = Content({"weights": weights, "config": config}, space, {"catalogue": (catalogue,)})
        content = replace(
            content,
            shared=dict(content.shared) | {"watermark": (digest_of(mark),)},
            regions=dict(content.regions) | entries,
        )
        changes = tuple(
            _change(region, "setup" if first else "update", layout.dim, generator) for region in regions
        )
        at = BEGINNING + number * layout.snapshots + edit
        put = (*shared, mark, *(blob for roles in blobs.values() for blob in roles.values()))
        yield Planned(model, edit, content, changes, put, edit % PROMOTED_EVERY == 0, at)


def _blob(*words: object) -> bytes:
    return " ".join(map(str, words)).encode().ljust(BLOB)


def _change(region: int, action: str, dim: int, generator: random.Random) -> RegionChange:
    drawn = [generator.gauss(0, 1) for _ in range(dim)]
    norm = math.hypot(*drawn)
    centre = tuple(number / norm for number in drawn)
    metrics = {"loss": generator.random(), "recall@10": generator.random()}
    return RegionChange(region, action, 120, 0.1 * generator.random(), 0.5, 20.0, 4000, centre, metrics)


@dataclass
class _Rows:
    """The rows of one model by table, and the ends of the audit chain and the moves, which run on through all models."""

    event: int
    hash: str
    move: int
    of: dict[Table, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, table: Table, **row: Any) -> None:
        self.of.setdefault(table, []).append(row)

    def audit(
        self, planned: Planned, action: str, subject: str, source: str | None, target: str | None, rows: Rows
    ) -> None:
        fields = {
            "id": self.event + 1,
            "at": planned.at,
            "actor": ACTOR,
            "action": action,
            "model": planned.model,
            "subject": subject,
            "source": source,
            "target": target,
            "reason": "drift",
            "client": audit._client(),
            "previous": self.hash,
            "digest": digest_of_rows(rows),
        }
        self.event, self.hash = self.event + 1, audit._link(fields)
        self.add(tables.audit_events, **fields, hash=self.hash)

    def on_event(self, planned: Planned, kind: str, payload: dict[str, Any]) -> None:
        text = canonical_json(payload).decode()
        row = {"kind": kind, "payload": text, "created_at": planned.at, "published_at": None, "attempts": 0}
        free = {"last_error": None, "progress": "{}", "lease_owner": None, "lease_expires_at": None}
        self.add(tables.outbox_events, model=planned.model, **row, **free)


def fill(engine: Engine, layout: Layout, models: range) -> None:
    """Adds the models of these numbers to a registry, in one transaction each."""
    for number in models:
        with engine.connect() as connection:
            _relax(connection)
            _fill_model(connection, layout, number)
            connection.commit()


def fill_store(store: ArtifactStore, layout: Layout, models: range) -> None:
    """Puts the bytes of these models' blobs and manifests, which a promotion asks the store for."""
    for number in models:
        parent: str | None = None
        for planned in history_of(layout, number):
            manifest = Manifest(planned.model, parent, planned.content)
            for data in (*planned.blobs, manifest.to_bytes()):
                store.put(data)
            parent = manifest.id


def _relax(connection: Connection) -> None:
    """Nothing is checked or synced while the rows go in: they are right, and a crash would only mean to begin anew."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET session_replication_role = replica")
        connection.exec_driver_sql("SET synchronous_commit = off")
        return
    cursor = connection.connection.cursor()
    for pragma in ("foreign_keys=OFF", "synchronous=OFF", "cache_size=-500000"):
        cursor.execute(f"PRAGMA {pragma}")


def _fill_model(connection: Connection, layout: Layout, number: int) -> None:
    end = connection.execute(select(tables.audit_head)).one()
    moves = connection.execute(select(func.coalesce(func.max(tables.alias_moves.c.id), 0))).scalar_one()
    rows = _Rows(end.event, end.hash, moves)
    parent: Manifest | None = None
    known: dict[int, int] = {}
    pointed: str | None = None
    for planned in history_of(layout, number):
        manifest = Manifest(planned.model, None if parent is None else parent.id, planned.content)
        _edit_rows(rows, planned, manifest, parent, known)
        if planned.promoted:
            _promotion_rows(rows, planned, manifest.id, pointed)
            pointed = manifest.id
        parent = manifest
    assert parent is not None
    rows.add(
        tables.models, name=planned.model, last_edit=planned.number, created_at=planned.at - planned.number + 1
    )
    rows.add(tables.heads, model=planned.model, snapshot=parent.id, moved_at=planned.at)
    for table in tables.metadata.sorted_tables:
        if table in rows.of:
            _copy(connection, table, rows.of[table])
    if connection.dialect.name == "postgresql" and rows.move:
        connection.exec_driver_sql(f"SELECT setval('alias_moves_id_seq', {rows.move})")
    connection.execute(update(tables.audit_head).values(event=rows.event, hash=rows.hash))


def _edit_rows(
    rows: _Rows, planned: Planned, manifest: Manifest, parent: Manifest | None, known: dict[int, int]
) -> None:
    """What put_all, begin and commit add."""
    added = manifest.content.blobs() - (parent.content.blobs() if parent else frozenset())
    sizes = dict.fromkeys(added, BLOB) | {manifest.id: len(manifest.to_bytes())}
    for digest in sorted(sizes):
        rows.add(tables.blobs, digest=digest, size=sizes[digest], state="live", put_at=planned.at)
        rows.add(tables.snapshot_blobs, snapshot=manifest.id, digest=digest)
    edit = _edit(planned, manifest)
    stored = {name: value for name, value in vars(edit).items() if name not in ("parameters", "report")}
    rows.add(tables.edits, **stored, parameters=text_of({}), report=text_of({}), proposal=manifest.content.digest)
    model = {"name": planned.model, "created_at": planned.at}
    whole = rows.of[tables.edits][-1]
    rows.audit(planned, "begin", f"edit:{edit.number}", manifest.parent, None, begun(whole, [model]))
    rows.add(
        tables.snapshots,
        id=manifest.id,
        model=manifest.model,
        parent=manifest.parent,
        edit=edit.number,
        content_digest=manifest.content.digest,
        created_at=planned.at,
        manifest=manifest.to_bytes().decode(),
    )
    for position, change in enumerate(planned.changes):
        known[change.region] = known.get(change.region, 0) + 1
        _region_rows(rows, planned, manifest, position, change, known[change.region])
    added = [
        rows.of[table][-len(planned.changes) :] if planned.changes else []
        for table in (tables.operations, tables.adapter_versions)
    ]
    ended = closed(whole, *added, rows.of[tables.snapshots][-1:])
    rows.audit(planned, "commit", f"edit:{edit.number}", manifest.parent, manifest.id, ended)
    published = [change.to_json() | {"version": known.get(change.region)} for change in planned.changes]
    rows.on_event(
        planned,
        SNAPSHOT_COMMITTED,
        committed_payload(edit, manifest, published, f"{rows.event}:{rows.hash}"),
    )


def _region_rows(
    rows: _Rows, planned: Planned, manifest: Manifest, position: int, change: RegionChange, version: int
) -> None:
    entry, text = manifest.content.regions[change.region], text_of(change.to_json())
    rows.add(
        tables.adapter_versions,
        model=planned.model,
        region=change.region,
        version=version,
        entry_digest=entry_digest(entry),
        entry=text_of(dict(entry)),
        edit=planned.number,
        snapshot=manifest.id,
        created_at=planned.at,
        change=text,
    )
    rows.add(
        tables.operations,
        model=planned.model,
        edit=planned.number,
        position=position,
        region=change.region,
        action=change.action,
        version=version,
        windows=change.windows,
        change=text,
    )


def _edit(planned: Planned, manifest: Manifest) -> Edit:
    return Edit(
        model=planned.model,
        number=planned.number,
        kind="setup" if manifest.parent is None else "edit",
        state="committed",
        base=manifest.parent,
        result=manifest.id,
        seed=planned.number,
        data_digest=None,
        plan_digest=None,
        parameters={},
        report={},
        actor=ACTOR,
        reason="drift",
        created_at=planned.at,
        closed_at=planned.at,
        close_reason=None,
        lease_owner=None,
        lease_expires_at=None,
    )


def _promotion_rows(rows: _Rows, planned: Planned, target: str, source: str | None) -> None:
    """What promote adds."""
    said = {"actor": ACTOR, "reason": "drift", "at": planned.at}
    rows.of[tables.aliases] = []
    rows.add(tables.aliases, model=planned.model, name=ALIAS, snapshot=target, moved_at=planned.at)
    move = {"model": planned.model, "alias": ALIAS, "source": source, "target": target, **said}
    rows.move += 1
    rows.add(tables.alias_moves, id=rows.move, **move)
    logged: Rows = {"alias_moves": [move | {"id": rows.move}]}
    rows.audit(planned, "promote", f"alias:{ALIAS}", source, target, logged)
    rows.on_event(planned, ALIAS_MOVED, {"alias": ALIAS, "from": source, "to": target, **said})


def _copy(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if connection.dialect.name == "sqlite":
        connection.execute(insert(table), rows)
        return
    columns = list(rows[0])
    cursor = connection.connection.cursor()
    with cursor.copy(f"COPY {table.name} ({', '.join(columns)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row([row[column] for column in columns])
