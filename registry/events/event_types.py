"""What an event of the outbox means to others: an edit, a rollback, a promotion, a refused one or an alias's end."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from sqlalchemy import JSON, ColumnElement, cast, func, or_

from raie.registry.db.tables import outbox_events
from raie.registry.outbox_records import (
    ALIAS_DELETED,
    ALIAS_MOVED,
    PROMOTION_REFUSED,
    SNAPSHOT_COMMITTED,
    OutboxEvent,
)
from raie.registry.states import EditKind

__all__ = ["EventType", "is_one_of", "type_of"]

_e = outbox_events.c


class EventType(StrEnum):
    """A type of event; EDIT is every commit but a rollback: a setup, a merge and a cherry-pick too."""

    EDIT = "edit"
    ROLLBACK = "rollback"
    PROMOTION = "promotion"
    PROMOTION_REFUSED = "promotion_refused"
    ALIAS_DELETED = "alias_deleted"


_OF_ALIASES = {
    ALIAS_MOVED: EventType.PROMOTION,
    PROMOTION_REFUSED: EventType.PROMOTION_REFUSED,
    ALIAS_DELETED: EventType.ALIAS_DELETED,
}


def type_of(event: OutboxEvent) -> EventType | None:
    """The type of an event.

    Args:
        event: of the outbox.
    Returns: the type; None for a kind that this version does not know.
    """
    if event.kind == SNAPSHOT_COMMITTED:
        return EventType.ROLLBACK if event.payload["edit"]["kind"] == EditKind.ROLLBACK else EventType.EDIT
    return _OF_ALIASES.get(event.kind)


def is_one_of(types: Iterable[EventType], dialect: str) -> ColumnElement[bool]:
    """The SQL condition on a row of the outbox that `type_of` gives one of these types.

    Args:
        types: the wanted types, at least one.
        dialect: of the database, "sqlite" or "postgresql".
    """
    if dialect == "postgresql":
        kind = func.json_extract_path_text(cast(_e.payload, JSON), "edit", "kind")
    else:
        kind = func.json_extract(_e.payload, "$.edit.kind")
    committed, rolled_back = _e.kind == SNAPSHOT_COMMITTED, kind == EditKind.ROLLBACK.value
    conditions = {
        EventType.EDIT: committed & ~rolled_back,
        EventType.ROLLBACK: committed & rolled_back,
        EventType.PROMOTION: _e.kind == ALIAS_MOVED,
        EventType.PROMOTION_REFUSED: _e.kind == PROMOTION_REFUSED,
        EventType.ALIAS_DELETED: _e.kind == ALIAS_DELETED,
    }
    return or_(*(conditions[wanted] for wanted in sorted(set(types))))
