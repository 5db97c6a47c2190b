"""The transaction that makes another registry's history this one's: all of it is there, or nothing.

Rows keep what they say: ids, numbers, names, times and reasons. The audit records who brought them, when, and from which
file. No alias moves. The head goes on where the history goes on from it; a history that parted from this one is refused.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select, update

from raie.registry import audit
from raie.registry.author import Author
from raie.registry.blobs import accept, keep_blobs
from raie.registry.canonical import parse_json
from raie.registry.db import tables
from raie.registry.db.engine import chunked, upsert
from raie.registry.db.queries import edit_by_number, head_id, lock_model
from raie.registry.edits.landing import enqueue_committed
from raie.registry.errors import CommitConflict
from raie.registry.failpoints import failpoint
from raie.registry.promotion import keys
from raie.registry.promotion.evaluations import evaluation_subject
from raie.registry.recorded_rows import imported
from raie.registry.states import AuditAction
from raie.registry.transfer.recomputed import History
from raie.registry.transfer.records import COLUMNS, Row
from raie.registry.values import Digest, Manifest

__all__ = ["News", "arrive", "news_of"]

_KEYS: Mapping[str, tuple[str, ...]] = {
    "snapshots": ("id",),
    "edits": ("number",),
    "operations": ("edit", "position"),
    "adapter_versions": ("region", "version"),
    "evaluations": COLUMNS["evaluations"],
    "signatures": ("snapshot", "key"),
}
"""What names a row among those of one model."""


@dataclass(frozen=True)
class News:
    """What of a history is not here yet.

    rows: by table.  head: where the head goes; None where it stays.  returns: the history's snapshot expired here, and
    comes back.
    """

    rows: Mapping[str, Sequence[Row]]
    head: str | None
    returns: bool

    @property
    def nothing(self) -> bool:
        """Whether all of it is here."""
        return self.head is None and not self.returns and not any(self.rows.values())

    @property
    def snapshots(self) -> frozenset[str]:
        """The ids of the new snapshots."""
        return frozenset(row["id"] for row in self.rows["snapshots"])


def news_of(connection: Connection, history: History) -> News:
    """What of a history is not here yet; raises CommitConflict where this registry has another history."""
    rows = {name: _new(connection, history, name) for name in _KEYS}
    known = {row["id"] for row in history.records.snapshots} - {row["id"] for row in rows["snapshots"]}
    gone = select(tables.expired_snapshots.c.snapshot).where(
        tables.expired_snapshots.c.snapshot == history.snapshot
    )
    returns = history.snapshot in known and connection.execute(gone).first() is not None
    return News(rows, _next_head(connection, history, known), returns)


def _new(connection: Connection, history: History, name: str) -> list[Row]:
    """The rows of a table that are not here; raises CommitConflict for one that is here and says something else."""
    new = []
    held = _held(connection, history, name)
    for row in getattr(history.records, name):
        there = held.get(_key(name, row))
        if there is None:
            new.append(row)
        elif name in ("edits", "operations", "adapter_versions") and there != dict(row):
            raise _parted(history, f"another {name.rstrip('s').replace('_', ' ')} {_key(name, row)[-1]} here")
    if name == "adapter_versions":
        entries = {(row["region"], row["entry_digest"]) for row in held.values()}
        if any((row["region"], row["entry_digest"]) in entries for row in new):
            raise _parted(history, "a region's version under another number here")
    return new


def _key(name: str, row: Row) -> tuple[Any, ...]:
    return tuple(row[column] for column in _KEYS[name])


def _held(connection: Connection, history: History, name: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The rows here that those of the history could meet, by their keys; what is not compared is not read."""
    table: Table = tables.metadata.tables[name]
    first = _KEYS[name][0] if name != "evaluations" else "snapshot"
    wanted = sorted({row[first] for row in getattr(history.records, name)})
    compared = _KEYS[name] if name in ("snapshots", "signatures") else COLUMNS[name]
    held = {}
    for chunk in chunked(wanted):
        query = select(*(table.c[column] for column in compared))
        query = query.where(table.c.model == history.model, table.c[first].in_(chunk))
        for row in connection.execute(query):
            values = dict(row._mapping)
            held[_key(name, values)] = values
    return held


def _next_head(connection: Connection, history: History, known: set[str]) -> str | None:
    """Where the head goes: on along the history's line; None where it is there or further on."""
    head, last = head_id(connection, history.model), history.heads[-1]
    if head == last or (last in known and head is not None):
        return None
    if head is not None and head not in history.heads:
        raise _parted(history, f"head {head[:12]}, which the file does not know")
    return last


def _parted(history: History, what: str) -> CommitConflict:
    last = history.heads[-1]
    return CommitConflict(
        f"Expected the history of {history.model!r} here to be the beginning of the file's or to hold it, found {what}: "
        "the two registries went apart; import into a registry without edits of its own",
        None,
        last,
    )


def arrive(connection: Connection, history: History, source: str, author: Author) -> News:
    """Adds what is not here yet; source: what the audit says of the file. Returns what that was.

    Raises CommitConflict where the histories parted, and BlobMissing for a blob that was not put.
    """
    at = time.time()
    _make_model(connection, history.model, at)
    lock_model(connection, history.model)
    news = news_of(connection, history)
    failpoint("import.locked")
    if news.nothing:
        return news
    for name in ("snapshots", "edits", "operations", "adapter_versions"):
        if news.rows[name]:
            connection.execute(insert(tables.metadata.tables[name]), [dict(row) for row in news.rows[name]])
    _count_edits(connection, history.model, news)
    failpoint("import.written")
    _record_edits(connection, history, news, source, author, at)
    _expire(connection, history, news, source, author, at)
    _keep(connection, history, news)
    _add_evaluations_and_signatures(connection, history, news, source, author, at)
    _move_head(connection, history, news, at)
    audit.append(
        connection,
        author=author,
        action=AuditAction.IMPORT,
        model=history.model,
        subject=f"snapshot:{history.snapshot}",
        source=source,
        target=news.head,
        at=at,
    )
    failpoint("import.audited")
    return news


def _make_model(connection: Connection, model: str, at: float) -> None:
    row = upsert(connection, tables.models).values(name=model, last_edit=0, created_at=at)
    connection.execute(row.on_conflict_do_nothing())


def _count_edits(connection: Connection, model: str, news: News) -> None:
    last = max((row["number"] for row in news.rows["edits"]), default=0)
    mine = (tables.models.c.name == model, tables.models.c.last_edit < last)
    connection.execute(update(tables.models).where(*mine).values(last_edit=last))


def _record_edits(
    connection: Connection, history: History, news: News, source: str, author: Author, at: float
) -> None:
    """One audit event and one event of the outbox for each new edit, in their order."""
    made = select(tables.models).where(tables.models.c.name == history.model)
    model = [dict(row._mapping) for row in connection.execute(made)]
    by_edit = {name: _grouped(news.rows[name], "edit") for name in ("operations", "adapter_versions", "snapshots")}
    manifests = {row["id"]: Manifest.from_bytes(row["manifest"].encode()) for row in history.records.snapshots}
    for row in news.rows["edits"]:
        number = row["number"]
        operations, versions, snapshots = (by_edit[name].get(number, []) for name in by_edit)
        event = audit.append(
            connection,
            author=author,
            action=AuditAction.IMPORT_EDIT,
            model=history.model,
            subject=f"edit:{number}",
            source=source,
            target=row["result"],
            at=at,
            rows=imported(row, operations, versions, snapshots, model),
        )
        changes = [parse_json(operation["change"]) | {"version": operation["version"]} for operation in operations]
        edit = edit_by_number(connection, history.model, number)
        enqueue_committed(connection, edit, manifests[row["result"]], changes, event)


def _grouped(rows: Iterable[Row], column: str) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[column], []).append(row)
    return groups


def _expire(connection: Connection, history: History, news: News, source: str, author: Author, at: float) -> None:
    """Snapshots whose blobs did not travel are here what they were there: history without blobs."""
    for row in history.records.expired_snapshots:
        if row["snapshot"] not in news.snapshots:
            continue
        because = Author(author.name, f"expired where it came from, by {row['actor']}: {row['reason']}")
        event = audit.append(
            connection,
            author=because,
            action=AuditAction.EXPIRE,
            model=history.model,
            subject=f"snapshot:{row['snapshot']}",
            source=row["snapshot"],
            at=at,
        )
        expiry = {"snapshot": row["snapshot"], "at": at, "actor": because.name, "reason": because.reason}
        connection.execute(insert(tables.expired_snapshots).values(expiry | {"event": event.id}))


def _keep(connection: Connection, history: History, news: News) -> None:
    """Keeps the blobs of the new snapshots from gc: of each those that no kept parent keeps for it."""
    parents = {row["id"]: row["parent"] for row in history.records.snapshots}
    kept = [row["id"] for row in news.rows["snapshots"] if row["id"] not in history.expired]
    if news.returns:
        gone = tables.expired_snapshots
        connection.execute(delete(gone).where(gone.c.snapshot == history.snapshot))
        kept.append(history.snapshot)
    gone_now = _expired_here(connection, sorted({parents[name] for name in kept if parents[name] is not None}))
    for name in kept:
        needed = history.contents[name].blobs() | {Digest(name)}
        parent = parents[name]
        # One that comes back kept nothing meanwhile, so what its parent keeps for it is not asked.
        if parent is not None and parent not in gone_now and name in news.snapshots:
            needed -= history.contents[parent].blobs()
        accept(connection, Digest(name))
        keep_blobs(connection, name, needed)


def _expired_here(connection: Connection, ids: list[str]) -> set[str]:
    gone: set[str] = set()
    column = tables.expired_snapshots.c.snapshot
    for chunk in chunked(ids):
        gone |= set(connection.execute(select(column).where(column.in_(chunk))).scalars())
    return gone


def _add_evaluations_and_signatures(
    connection: Connection, history: History, news: News, source: str, author: Author, at: float
) -> None:
    """Evaluations as they were recorded there, and signatures, which whoever imports records here."""
    for row in news.rows["evaluations"]:
        query = insert(tables.evaluations).values(dict(row)).returning(tables.evaluations.c.id)
        number = connection.execute(query).scalar_one()
        audit.append(
            connection,
            author=author,
            action=AuditAction.IMPORT_EVALUATION,
            model=history.model,
            subject=evaluation_subject(number, row["report"]),
            source=source,
            target=row["snapshot"],
            at=at,
            rows={"evaluations": [dict(row) | {"id": number}]},
        )
    for row in news.rows["signatures"]:
        because = Author(author.name, f"imported, recorded there by {row['actor']}: {row['reason']}")
        keys.attach(connection, history.model, row["snapshot"], row["key"], row["signature"], because)


def _move_head(connection: Connection, history: History, news: News, at: float) -> None:
    if news.head is None:
        return
    row = {"model": history.model, "snapshot": news.head, "moved_at": at}
    move = upsert(connection, tables.heads).values(row)
    changed = {"snapshot": news.head, "moved_at": at}
    connection.execute(move.on_conflict_do_update(index_elements=[tables.heads.c.model], set_=changed))
