"""What happens in the registry, sent to others: OpenLineage events and webhooks, from the outbox.

A commit and a promotion only write to the outbox. `send` delivers from there, so a receiver that is slow or dead holds
up neither. Each consumer has a position of its own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from raie.actor import actor
from raie.chain_head import publishes_chain_head
from raie.configuration.event_consumers import EventConsumer
from raie.errors import UsageError, WorkspaceError
from raie.publishing.data_ranges import DataRanges
from raie.registry import Author, Registry
from raie.registry.db.engine import reading
from raie.registry.errors import EventRefused
from raie.registry.events import positions
from raie.registry.events.delivery import Consumer, Delivery, Receiver, deliver
from raie.registry.events.event_types import EventType
from raie.registry.events.http_post import is_confidential, origin
from raie.registry.events.openlineage import Source
from raie.registry.events.positions import Lag
from raie.registry.events.receivers import OpenLineageEndpoint, OpenLineageFile, Webhook
from raie.registry.outbox_records import OutboxEvent
from raie.registry.ownership import identity

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = ["ConsumerStatus", "retry", "send", "skip", "status"]


@dataclass(frozen=True)
class ConsumerStatus:
    """A consumer of events and how far it is behind.

    Attributes:
        name: Its name in raie.toml.
        format: "openlineage" or "webhook".
        target: Its file, or the scheme and host of its URL.
        types: The types of events that it is given.
        lag: What it waits for, and what failed.
    """

    name: str
    format: str
    target: str
    types: tuple[str, ...]
    lag: Lag


def send(workspace: Workspace, *names: str) -> tuple[Delivery, ...]:
    """Send the consumers of events what they wait for, once and side by side.

    Args:
        workspace: Whose registry and consumers they are.
        names: Only these consumers; none for all.

    Returns:
        What was sent to each, and why what remains was not.

    Raises:
        UsageError: There is no such consumer, or none at all.
        WorkspaceError: raie.toml is another user's: it would choose where events and tokens go.
        NotOwner: The database is a copy of a registry, which sends the same.
    """
    chosen = [_named(workspace, name) for name in names] or list(_all(workspace))
    if not workspace.runs_code:
        raise WorkspaceError(
            "expected to send events from a workspace of your own, found that its raie.toml belongs to another user: "
            "read where it sends them, and copy the workspace to do it"
        )
    registry = workspace.registry()
    registry.require_writable(store_needed=False)
    source = _source(registry)
    return deliver(registry.engine, [_consumer(consumer, registry, source) for consumer in chosen])


def status(workspace: Workspace) -> tuple[ConsumerStatus, ...]:
    """How far each consumer is behind; no receiver is asked.

    Args:
        workspace: Whose registry and consumers they are.

    Returns:
        One entry for each consumer, by name.
    """
    engine = workspace.registry().engine if workspace.consumers else None
    return tuple(
        ConsumerStatus(
            consumer.name,
            consumer.format,
            str(consumer.file) if consumer.url is None else origin(consumer.url),
            consumer.types,
            positions.lag(engine, consumer.name, map(EventType, consumer.types), from_now=consumer.start == "now"),
        )
        for consumer in workspace.consumers
        if engine is not None
    )


@publishes_chain_head
def retry(workspace: Workspace, event: int, *, consumer: str | None = None, reason: str = "") -> Delivery:
    """Send a consumer an event that failed now, and what waits behind it.

    Args:
        workspace: Whose registry and consumers they are.
        event: The event's number.
        consumer: The consumer's name; None where there is one alone.
        reason: Why; it stays in the audit log.

    Returns:
        What was sent.

    Raises:
        NotFound: The event did not fail there.
        Conflict: Another sender is at work.
        UsageError, WorkspaceError, NotOwner: As `send`.
    """
    name = _single(workspace, consumer).name
    registry = workspace.registry()
    registry.require_writable(store_needed=False)
    positions.retry(registry.engine, name, event, author=Author(actor(), reason))
    (delivery,) = send(workspace, name)
    return delivery


@publishes_chain_head
def skip(workspace: Workspace, event: int, *, consumer: str | None = None, reason: str) -> str:
    """Let a consumer go on without an event that failed; it never gets that one.

    Args:
        workspace: Whose registry and consumers they are.
        event: The event's number.
        consumer: The consumer's name; None where there is one alone.
        reason: Why; it stays in the audit log.

    Returns:
        The consumer's name.

    Raises:
        NotFound: The event did not fail there.
        Conflict: Another sender is at work.
        InvalidValue: There is no reason.
        UsageError: There is no such consumer.
    """
    name = _single(workspace, consumer).name
    registry = workspace.registry()
    registry.require_writable(store_needed=False)
    positions.skip(registry.engine, name, event, author=Author(actor(), reason))
    return name


def _all(workspace: Workspace) -> tuple[EventConsumer, ...]:
    if not workspace.consumers:
        raise UsageError("expected a consumer of events in raie.toml, found none: add a table [events.NAME]")
    return workspace.consumers


def _named(workspace: Workspace, name: str) -> EventConsumer:
    for consumer in _all(workspace):
        if consumer.name == name:
            return consumer
    known = ", ".join(consumer.name for consumer in workspace.consumers)
    raise UsageError(f"expected a consumer of events from raie.toml ({known}), found {name!r}")


def _single(workspace: Workspace, name: str | None) -> EventConsumer:
    if name is not None:
        return _named(workspace, name)
    if len(_all(workspace)) > 1:
        known = ", ".join(consumer.name for consumer in workspace.consumers)
        raise UsageError(
            f"expected the name of one of several consumers ({known}), found none: add --consumer NAME"
        )
    return workspace.consumers[0]


def _source(registry: Registry) -> Source:
    with reading(registry.engine) as connection:
        return Source(identity.current(connection).registry, metadata.version("raie"), "raie")


def _consumer(consumer: EventConsumer, registry: Registry, source: Source) -> Consumer:
    try:
        receiver = _receiver(consumer, registry, source)
    except UsageError as error:
        # Recorded with the event that it stops: what is wrong with one consumer is no matter of the others.
        receiver = _Misconfigured(str(error))
    return Consumer(consumer.name, frozenset(map(EventType, consumer.types)), receiver, consumer.start == "now")


@dataclass(frozen=True)
class _Misconfigured:
    """The receiver of a consumer that cannot be sent to as it is configured."""

    message: str

    def deliver(self, event: OutboxEvent) -> None:
        raise EventRefused(self.message)

    def hide(self, text: str) -> str:
        return text


def _receiver(consumer: EventConsumer, registry: Registry, source: Source) -> Receiver:
    if consumer.format == "webhook":
        return Webhook(str(consumer.url), _secret(consumer, consumer.secret_variable), source.registry)
    named = Source(source.registry, source.version, consumer.namespace)
    ranges = DataRanges(registry)
    if consumer.file is not None:
        return OpenLineageFile(consumer.file, named, ranges)
    token = _secret(consumer, consumer.token_variable) if consumer.token_variable else None
    if token and not is_confidential(str(consumer.url)):
        raise UsageError(
            f"expected https for consumer {consumer.name!r}, which has a token, found http, where anybody can read it"
        )
    return OpenLineageEndpoint(str(consumer.url), named, ranges, token)


def _secret(consumer: EventConsumer, variable: str) -> str:
    value = os.environ.get(variable, "").strip()
    if not value or not value.isascii() or not value.isprintable():
        raise UsageError(
            f"expected the secret of consumer {consumer.name!r} in the environment as {variable}, found "
            f"{'one that is not printable ASCII' if value else 'none'}: set it"
        )
    return value
