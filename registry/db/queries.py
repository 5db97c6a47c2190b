"""Rows to values: the reads that every transaction and every view stands on."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import CTE, JSON, Connection, Row, Select, and_, column, func, literal, or_, select

from raie.registry.canonical import canonical_json, parse_json
from raie.registry.db.engine import chunked
from raie.registry.db.tables import (
    adapter_versions,
    alias_moves,
    aliases,
    edits,
    expired_snapshots,
    heads,
    models,
    snapshot_blobs,
    snapshot_notes,
    snapshots,
)
from raie.registry.errors import AliasDeleted, BlobCorrupt, InvalidValue, NotFound, SnapshotExpired
from raie.registry.leases import EDIT_LEASE_S, lease_is_over, lease_owner_is_gone
from raie.registry.states import AuditAction, EditState
from raie.registry.times import utc_text
from raie.registry.values import (
    AdapterVersion,
    Digest,
    Edit,
    Expiry,
    Manifest,
    Operation,
    RegionChange,
    RegionEntry,
    Snapshot,
    check_name,
    digest_of,
    entry_digest,
)

__all__ = [
    "alias_names",
    "check_alias",
    "edit_by_number",
    "edit_of",
    "expiry_text",
    "head_id",
    "kept_snapshot",
    "lock_model",
    "next_region_id",
    "operation_of",
    "pointed_at",
    "require_kept",
    "require_model",
    "require_not_deleted",
    "require_unexpired",
    "resolve_id",
    "select_snapshots",
    "snapshot_by_id",
    "snapshot_of",
    "text_of",
    "unknown_alias",
    "unknown_region",
    "version_of",
    "version_row",
    "versions_of",
    "wanted_entries",
]

_PREFIX = re.compile(r"[0-9a-f]{4,64}")
_EDIT = re.compile(r"edit:([0-9]{1,9})")
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9._/-]*")
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]{4,}")
_SHOWN = 5
_x = expired_snapshots.c


def text_of(value: Any) -> str:
    """A value's canonical JSON as text."""
    return canonical_json(value).decode()


def require_model(connection: Connection, model: str) -> None:
    """Raises NotFound, naming the models there are, for a model that is not."""
    if connection.execute(select(models.c.name).where(models.c.name == model)).first() is None:
        raise _no_model(connection, model)


def lock_model(connection: Connection, model: str) -> None:
    """Locks the model's row until the transaction ends: only one edit at a time may land. Raises NotFound."""
    query = select(models.c.name).where(models.c.name == model).with_for_update()
    if connection.execute(query).first() is None:
        raise _no_model(connection, model)


def _no_model(connection: Connection, model: str) -> NotFound:
    known = connection.execute(select(models.c.name).order_by(models.c.name)).scalars().all()
    return NotFound(
        f"Expected a model {model!r}, found {_listed(known)}; name one of these, or run `raie setup`",
        model,
        dict(zip(known, known, strict=True)),
    )


def head_id(connection: Connection, model: str) -> str | None:
    """The id of the model's head; None before its first snapshot."""
    head: str | None = connection.execute(select(heads.c.snapshot).where(heads.c.model == model)).scalar()
    return head


def select_snapshots() -> Select[Any]:
    """The rows that `snapshot_of` reads: snapshots, and whether they expired."""
    expiry = (_x.at.label("expired_at"), _x.actor, _x.reason, _x.event)
    return select(snapshots, *expiry).outerjoin(expired_snapshots)


def snapshot_by_id(connection: Connection, snapshot: str) -> Snapshot:
    """The snapshot with its content, expired or not.

    Raises NotFound, and BlobCorrupt where its row was tampered with.
    """
    row = connection.execute(select_snapshots().where(snapshots.c.id == snapshot)).first()
    if row is None:
        raise NotFound(f"Expected a snapshot {snapshot}, found none")
    return snapshot_of(row)


def kept_snapshot(connection: Connection, snapshot: str) -> Snapshot:
    """The same, for whoever needs its blobs; raises SnapshotExpired too."""
    require_kept(connection, [snapshot])
    return snapshot_by_id(connection, snapshot)


def require_kept(connection: Connection, ids: Iterable[str]) -> None:
    """Raises SnapshotExpired, saying when, by whom and why, unless every snapshot is kept."""
    for chunk in chunked(sorted(set(ids))):
        row = connection.execute(select(expired_snapshots).where(_x.snapshot.in_(chunk)).limit(1)).first()
        if row is not None:
            expiry = Expiry(row.at, row.actor, row.reason, row.event)
            raise SnapshotExpired(
                f"Expected snapshot {row.snapshot[:12]} with its blobs, found that it {expiry_text(expiry)}; "
                "`raie log` shows which are kept",
                row.snapshot,
            )


def require_unexpired(connection: Connection, digest: Digest) -> None:
    """Raises SnapshotExpired for a blob that no kept snapshot needs, and one that expired did: then nothing is lost."""
    if connection.execute(
        select(snapshot_blobs.c.digest).where(snapshot_blobs.c.digest == digest).limit(1)
    ).first():
        return
    needs = or_(snapshots.c.id == digest, snapshots.c.manifest.contains(digest, autoescape=True))
    query = select_snapshots().where(needs, _x.snapshot.is_not(None)).order_by(_x.at.desc()).limit(1)
    row = connection.execute(query).first()
    if row is not None:
        expiry = Expiry(row.expired_at, row.actor, row.reason, row.event)
        raise SnapshotExpired(
            f"Expected blob {digest}, found that snapshot {row.id[:12]}, which needed it, {expiry_text(expiry)}; "
            "`raie log` shows which are kept",
            row.id,
        )


def expiry_text(expiry: Expiry) -> str:
    """When a snapshot expired, by whom and why, as the end of a sentence."""
    return f"expired at {utc_text(expiry.at)} by {expiry.actor}: {expiry.reason}"


def snapshot_of(row: Row[Any]) -> Snapshot:
    """The snapshot of a row of `select_snapshots`; raises BlobCorrupt where its manifest was tampered with."""
    data = row.manifest.encode()
    if digest_of(data) != row.id:
        raise BlobCorrupt(f"Expected the manifest of snapshot {row.id} in the database, found other text", row.id)
    content = Manifest.from_bytes(data).content
    expired = None if row.expired_at is None else Expiry(row.expired_at, row.actor, row.reason, row.event)
    return Snapshot(row.id, row.model, row.parent, content, row.edit, row.created_at, expired)


def check_alias(connection: Connection, model: str, alias: str) -> None:
    """Raises InvalidValue for a name that no new alias may have; one that is there already keeps its own.

    A reference would read some names as something else, and a shell or a list others.
    """
    check_name(alias, "alias")
    wrong = _wrong_in(alias)
    if wrong is None or pointed_at(connection, model, alias) is not None:
        return
    raise InvalidValue(f"Expected a name for a new alias, found {alias!r}, {wrong}; choose another")


def _wrong_in(alias: str) -> str | None:
    """Why no new alias may have this name; None where it may."""
    if alias.lower() == "head":
        return "which names the newest snapshot"
    if _HEXADECIMAL.fullmatch(alias):
        return "which could be the beginning of a snapshot's id"
    if not _ALIAS.fullmatch(alias):
        return "which is not a letter followed by letters, digits and any of . _ / -"
    return None


def pointed_at(connection: Connection, model: str, alias: str) -> str | None:
    """The id of the snapshot that an alias points at; None where there is no such alias."""
    query = select(aliases.c.snapshot).where(aliases.c.model == model, aliases.c.name == alias)
    snapshot: str | None = connection.execute(query).scalar()
    return snapshot


def require_not_deleted(connection: Connection, model: str, alias: str) -> None:
    """Raises AliasDeleted for a name whose last move was its deletion, and says who, when and why."""
    mine = (alias_moves.c.model == model, alias_moves.c.alias == alias)
    last = connection.execute(select(alias_moves).where(*mine).order_by(alias_moves.c.id.desc()).limit(1)).first()
    if last is not None and last.target is None:
        raise AliasDeleted(
            f"Expected an alias {alias!r} of model {model!r}, found it deleted by {last.actor} at {utc_text(last.at)} "
            f"({last.reason}); it pointed at {last.source[:12]}: `raie promote {last.source[:12]} --to {alias}` makes "
            "it again"
        )


def resolve_id(connection: Connection, model: str, ref: str) -> str:
    """The snapshot id that a reference names: "head", "edit:3", an alias, an id, or a unique prefix of one.

    Raises NotFound, AliasDeleted, and InvalidValue for a prefix of several.
    """
    require_model(connection, model)
    if ref == "head":
        snapshot = head_id(connection, model)
        if snapshot is None:
            raise NotFound(f"Expected a head of model {model!r}, found no snapshot yet; run `raie setup`")
        return snapshot
    if match := _EDIT.fullmatch(ref):
        return _result_of(edit_by_number(connection, model, int(match[1])))
    return pointed_at(connection, model, ref) or _by_prefix(connection, model, ref)


def _result_of(edit: Edit) -> str:
    if edit.result is None:
        raise NotFound(f"Expected the snapshot of edit {edit.number} of {edit.model!r}, found it {edit.state}")
    return edit.result


def _by_prefix(connection: Connection, model: str, ref: str) -> str:
    matches: list[str] = []
    if _PREFIX.fullmatch(ref):
        ids = select(snapshots.c.id).where(snapshots.c.model == model)
        # A range instead of LIKE: it uses the primary key's index on both databases.
        between = snapshots.c.id.between(ref.ljust(64, "0"), ref.ljust(64, "f"))
        matches = list(connection.execute(ids.where(between).order_by(snapshots.c.id).limit(_SHOWN + 1)).scalars())
    if len(matches) > 1:
        raise InvalidValue(f"Expected a longer prefix than {ref}, found {_listed([f[:16] for f in matches])}")
    if not matches:
        require_not_deleted(connection, model, ref)
        known = ["head", *alias_names(connection, model)]
        raise NotFound(
            f"Expected a snapshot of {model!r} as alias, edit:N or at least 4 characters of an id, found {ref!r}; "
            f"there are {_listed(known)}",
            ref,
            _tagged(connection, model) | {name: name for name in known},
        )
    return matches[0]


def alias_names(connection: Connection, model: str) -> list[str]:
    """The names of a model's aliases, sorted."""
    names = select(aliases.c.name).where(aliases.c.model == model).order_by(aliases.c.name)
    return list(connection.execute(names).scalars())


def _tagged(connection: Connection, model: str) -> dict[str, str]:
    """Tag -> the newest snapshot that has it, as it is typed: a tag is no reference, and people take it for one."""
    n = snapshot_notes.c
    tags = select(n.tag, n.snapshot, n.action).where(n.model == model, n.tag.is_not(None)).order_by(n.id)
    newest = {(row.tag, row.snapshot): row.action for row in connection.execute(tags)}
    return {
        tag: f"{snapshot[:12]}, which is tagged {tag}"
        for (tag, snapshot), action in newest.items()
        if action == AuditAction.TAG
    }


def unknown_alias(connection: Connection, model: str, alias: str, advice: str) -> NotFound:
    """The error for an alias that is not there; advice: what to do, as a clause."""
    names = alias_names(connection, model)
    return NotFound(
        f"Expected an alias {alias!r} of model {model!r}, found none; {advice}",
        alias,
        dict(zip(names, names, strict=True)),
    )


def _listed(names: Any) -> str:
    shown = ", ".join(map(str, list(names)[:_SHOWN]))
    return f"{shown} and more" if len(names) > _SHOWN else shown or "none"


def edit_by_number(connection: Connection, model: str, number: int, *, lock: bool = False) -> Edit:
    """The edit; raises NotFound."""
    query: Select[Any] = select(edits).where(edits.c.model == model, edits.c.number == number)
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        require_model(connection, model)
        raise NotFound(f"Expected an edit {number} of model {model!r}, found none; `raie edit list` shows them")
    return edit_of(row)


def edit_of(row: Row[Any]) -> Edit:
    """The edit of a row; a running one whose lease is over, or whose process is gone, is "abandoned"."""
    fields = dict(row._mapping)
    del fields["proposal"]
    fields["parameters"] = parse_json(fields["parameters"])
    fields["report"] = parse_json(fields["report"])
    fields["state"] = EditState(row.state)
    if row.state == EditState.RUNNING:
        over = lease_is_over(row.lease_expires_at, EDIT_LEASE_S, time.time())
        if over or lease_owner_is_gone(row.lease_owner):
            fields["state"] = EditState.ABANDONED
    return Edit(**fields)


def version_row(connection: Connection, model: str, region: int, version: int) -> AdapterVersion:
    """One version of a region; raises NotFound, naming the latest."""
    table = adapter_versions.c
    mine = (table.model == model, table.region == region)
    row = connection.execute(select(adapter_versions).where(*mine, table.version == version)).first()
    if row is None:
        require_model(connection, model)
        latest = connection.execute(select(func.max(table.version)).where(*mine)).scalar()
        if latest is None:
            raise unknown_region(connection, model, region)
        raise NotFound(
            f"Expected version {version} of region {region} of model {model!r}, found versions 1 to {latest}"
        )
    return version_of(row)


def unknown_region(connection: Connection, model: str, region: int) -> NotFound:
    """The error for a region that the model never had."""
    column_ = adapter_versions.c.region
    query = select(column_).where(adapter_versions.c.model == model).distinct().order_by(column_)
    names = [str(known) for known in connection.execute(query).scalars()]
    return NotFound(
        f"Expected a region of model {model!r}, found none numbered {region}; there are {_listed(names)}",
        str(region),
        {name: f"region {name}" for name in names},
    )


def version_of(row: Row[Any]) -> AdapterVersion:
    """The adapter version of a row."""
    fields = dict(row._mapping)
    del fields["entry_digest"]
    entry = {role: Digest(digest) for role, digest in parse_json(fields["entry"]).items()}
    return AdapterVersion(**fields | {"entry": entry, "change": _change(row.change)})


def versions_of(
    connection: Connection, model: str, entries: Mapping[int, RegionEntry]
) -> dict[int, AdapterVersion]:
    """The version of each region that has this entry; a region without one is absent."""
    table, wanted = adapter_versions.c, wanted_entries(connection, entries)
    mine = and_(table.model == model, table.region == wanted.c.region, table.entry_digest == wanted.c.digest)
    # An outer join makes every planner begin with what is wanted, not with all versions of the model.
    query = select(adapter_versions).select_from(wanted.outerjoin(adapter_versions, mine))
    return {row.region: version_of(row) for row in connection.execute(query) if row.region is not None}


def wanted_entries(connection: Connection, entries: Mapping[int, RegionEntry]) -> CTE:
    """The regions with their entries' digests as a table of a statement, each to be looked up in an index.

    One parameter holds them all: two lists with IN would make the database try every region with every digest.
    """
    pairs = [[region, entry_digest(entry)] for region, entry in sorted(entries.items())]
    rows = func.json_array_elements if connection.dialect.name == "postgresql" else func.json_each
    pair = rows(literal(pairs, JSON)).table_valued(column("value", JSON), name="pair").c.value
    return select(pair[0].as_integer().label("region"), pair[1].as_string().label("digest")).cte("wanted")


def operation_of(row: Row[Any]) -> Operation:
    """The operation of a row."""
    return Operation(row.model, row.edit, row.position, row.version, _change(row.change))


def _change(text: str) -> RegionChange:
    fields = parse_json(text)
    return RegionChange(**fields | {"centre": tuple(fields["centre"])})


def next_region_id(connection: Connection, model: str) -> int:
    """One more than the largest region id the model ever had; 0 for its first."""
    largest = select(func.max(adapter_versions.c.region)).where(adapter_versions.c.model == model)
    last: int | None = connection.execute(largest).scalar()
    return 0 if last is None else last + 1
