"""What is known of an event of the outbox, of a drain, and of how far MLflow is behind.

Times are epoch seconds UTC.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raie.registry.mlflow.alias_table import AliasGap, ShownAlias

__all__ = [
    "ALIAS_DELETED",
    "ALIAS_MOVED",
    "PROMOTION_REFUSED",
    "SNAPSHOT_COMMITTED",
    "Failure",
    "OutboxEvent",
    "OutboxStatus",
    "SyncReport",
    "error_line",
]

SNAPSHOT_COMMITTED = "snapshot_committed"
ALIAS_MOVED = "alias_moved"
ALIAS_DELETED = "alias_deleted"
PROMOTION_REFUSED = "promotion_refused"
"""It changed nothing, so MLflow has nothing to show of it."""

_ERROR_LENGTH = 500

# An outage's line is the message alone; every other error's begins with its type.
_TYPED = re.compile(r"\w+: ")


@dataclass(frozen=True)
class OutboxEvent:
    """One thing that a commit did; attempts: how often a relay has begun to publish it, this time included."""

    id: int
    model: str
    kind: str
    payload: Mapping[str, Any]
    created_at: float
    attempts: int

    @staticmethod
    def of(row: Any, attempts: int) -> OutboxEvent:
        """The event of a row of the outbox."""
        return OutboxEvent(row.id, row.model, row.kind, json.loads(row.payload), row.created_at, attempts)

    @property
    def subject(self) -> str:
        """What the event is about, in a few words; empty where its payload does not tell."""
        edit, alias = self.payload.get("edit"), self.payload.get("alias")
        return f"edit {edit['number']}" if edit else f"alias {alias}" if alias else ""


@dataclass(frozen=True)
class Failure:
    """An event that could not be published, with the error in one line.

    attempts: how often a relay has tried, outages aside.  subject: the edit or the alias that it is about.
    """

    event: int
    model: str
    kind: str
    attempts: int
    error: str
    subject: str = ""

    @property
    def is_outage(self) -> bool:
        """Whether MLflow was away, which is not the event's own failure."""
        return _TYPED.match(self.error) is None


@dataclass(frozen=True)
class SyncReport:
    """What a drain did: events published, events that remain, those that failed.

    stopped: why the drain ended before it had tried everything, in one line; None where it had.  leased_until: until
    when another relay, or one that was killed, holds some of what remains; None where none does.  aliases: those that
    MLflow showed elsewhere than the registry.  compared: how many were compared; None where the drain ended before.
    """

    published: int
    remaining: int
    failed: tuple[Failure, ...] = ()
    stopped: str | None = None
    leased_until: float | None = None
    aliases: tuple[AliasGap, ...] = ()
    compared: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class OutboxStatus:
    """How far MLflow is behind the registry.

    failing: pending events whose last attempt failed; last_error: of the oldest of them.  oldest_pending_at,
    last_published_at: epoch seconds.  leased_until: until when a relay holds an event, None where none does.
    reachable: whether MLflow answered, None where nobody asked.  failures: the oldest of the failing events.
    aliases: those that somebody moved in MLflow: it shows them where no sync brought them.  shown_aliases: all of them,
    and where MLflow shows them; none where nobody asked.
    """

    pending: int
    published: int
    failing: int
    last_error: str | None
    oldest_pending_at: float | None
    last_published_at: float | None
    leased_until: float | None
    reachable: bool | None = None
    failures: tuple[Failure, ...] = ()
    aliases: tuple[AliasGap, ...] = ()
    shown_aliases: tuple[ShownAlias, ...] = ()


def error_line(error: Exception, hide: Callable[[str], str], *ours: type[Exception]) -> str:
    """An error as one line, for the row of its event.

    Args:
        error: what was raised.
        hide: strips a text of secrets.
        ours: errors whose message says enough; every other line begins with the error's type.
    """
    text = re.sub(r"\s+", " ", hide(str(error))).strip()
    line = text if isinstance(error, ours) else f"{type(error).__name__}: {text}"
    return line if len(line) <= _ERROR_LENGTH else f"{line[: _ERROR_LENGTH - 3]}..."
