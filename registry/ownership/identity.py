"""Which registry a database is: one row per epoch, each recorded in the audit chain in the same transaction.

An epoch begins when the registry is made, and when a copy of its database becomes another registry, takes its part of
the store over, or moves to another part. What a row says must be what the chain says: an UPDATE of the row alone would
otherwise send the comparison with the kept chain heads to a folder where there are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, Row, insert, select

from raie.registry import audit
from raie.registry.author import Author
from raie.registry.db.tables import audit_events, identity
from raie.registry.errors import NotOwner, Untrusted
from raie.registry.states import AuditAction
from raie.registry.store.base import ArtifactStore

__all__ = ["Epoch", "add_epoch", "current", "epochs", "problems", "recorded", "require_scope", "scope_of"]

_SUBJECT = re.compile(r"epoch:([0-9]{1,9})")
_UPGRADE = "revision "
"""How the client of an event begins that a migration wrote: the rows begin anew with it."""
_e = audit_events.c


@dataclass(frozen=True)
class Epoch:
    """A registry's identity from one audit event on.

    number: counted from 1.  registry: its id.  prefix: where below the store's URL its objects lie, empty for the root.
    event: the number of the audit event that records it.  at: epoch seconds.
    """

    number: int
    registry: str
    prefix: str
    event: int
    actor: str
    reason: str
    at: float

    @property
    def heads_folder(self) -> str:
        """Where the chain heads of this epoch are kept: those of one that was left are compared only up to its end."""
        return f"audit/{self.registry}" if self.number == 1 else f"audit/{self.registry}-{self.number}"


def current(connection: Connection) -> Epoch:
    """The epoch in force; raises Untrusted where every row was deleted."""
    row = connection.execute(select(identity).order_by(identity.c.id.desc()).limit(1)).first()
    if row is None:
        raise Untrusted(
            "Expected the registry's identity in the database, found no row of it: somebody deleted it; restore the "
            "database from a backup"
        )
    return _epoch(row)


def epochs(connection: Connection) -> list[Epoch]:
    """Every epoch that has a row, oldest first."""
    return [_epoch(row) for row in connection.execute(select(identity).order_by(identity.c.id))]


def recorded(connection: Connection) -> list[Epoch]:
    """Every epoch that the audit chain records, oldest first; those before a return to an older schema are among them."""
    return [epoch for epoch, _ in _events(connection)]


def add_epoch(connection: Connection, *, number: int, registry: str, prefix: str, author: Author) -> Epoch:
    """Begins an epoch: its row and its audit event, in the caller's transaction."""
    event = audit.append(
        connection,
        author=author,
        action=AuditAction.IDENTITY,
        subject=f"epoch:{number}",
        source=registry,
        target=prefix,
    )
    epoch = Epoch(number, registry, prefix, event.id, author.name, author.reason, event.at)
    row = {"id": number, "registry": registry, "prefix": prefix, "event": event.id}
    connection.execute(
        insert(identity).values(row | {"actor": author.name, "reason": author.reason, "at": event.at})
    )
    return epoch


def problems(connection: Connection) -> list[str]:
    """Where rows and chain say different things, one line each."""
    rows = {epoch.number: epoch for epoch in epochs(connection)}
    events = _since_upgrade(list(_events(connection)))
    lines = []
    for number in sorted(rows.keys() | events.keys()):
        row, event = rows.get(number), events.get(number)
        if row is None:
            lines.append(f"identity: the audit chain records epoch {number}, and its row was deleted")
        elif event is None:
            lines.append(f"identity: there is a row of epoch {number}, and no audit event records it")
        elif row != event:
            names = [name for name in vars(row) if getattr(row, name) != getattr(event, name)]
            lines.append(
                f"identity: the row of epoch {number} was changed: its {', '.join(names)} are not what the audit "
                "chain records"
            )
    return lines


def scope_of(connection: Connection) -> str:
    """The prefix in force."""
    return current(connection).prefix


def require_scope(connection: Connection, store: ArtifactStore) -> None:
    """Raises NotOwner where the registry has moved to another part of the store since this process opened it.

    Asked in the transaction that makes a blob live or removes it: a process that still works in the old part would
    otherwise record a blob that the new one lacks, or delete one there that is another registry's by now.
    """
    if (prefix := scope_of(connection)) != store.scope:
        raise NotOwner(
            f"Expected the registry at {store.scope or 'the root'} of its store, found that it moved to "
            f"{prefix or 'the root'} meanwhile; repeat the command"
        )


def _epoch(row: Row[tuple[object, ...]]) -> Epoch:
    fields = dict(row._mapping)
    return Epoch(fields.pop("id"), **fields)


def _events(connection: Connection) -> Iterator[tuple[Epoch, str]]:
    """Each epoch of the chain, with the client that wrote its event."""
    query = select(audit_events).where(_e.action == AuditAction.IDENTITY).order_by(_e.id)
    for row in connection.execute(query):
        if match := _SUBJECT.fullmatch(row.subject):
            number, registry, prefix = int(match[1]), row.source or "", row.target or ""
            yield Epoch(number, registry, prefix, row.id, row.actor, row.reason, row.at), row.client


def _since_upgrade(events: list[tuple[Epoch, str]]) -> dict[int, Epoch]:
    """Those from the last one on that a migration wrote."""
    starts = [index for index, (_, client) in enumerate(events) if client.startswith(_UPGRADE)]
    return {epoch.number: epoch for epoch, _ in events[starts[-1] if starts else 0 :]}
