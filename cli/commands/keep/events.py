"""`raie events status`, `send`, `retry` and `skip`: what happens here, sent to others from the outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from raie.cli.errors import REFUSED, UNREACHABLE
from raie.cli.ui.confirm import ask, yes_option
from raie.cli.ui.output import Output, json_option, one_line, say, table, times, when
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from raie.publishing.events import ConsumerStatus
    from raie.registry.events.delivery import Delivery
    from raie.registry.events.positions import FailedEvent, Lag

__all__ = ["retry", "send", "skip", "status"]

_consumer_option = click.option(
    "--consumer", metavar="NAME", help="The consumer, by its name in raie.toml.  [the only one]"
)
_event_argument = click.argument("event", type=click.IntRange(min=1), metavar="N")


@click.command()
@json_option
@in_workspace
def status(workspace: Workspace, output: Output) -> None:
    """Show each consumer of events and how far it is behind.

    No receiver is asked. Each failed event is named: exit code 1. The exit code is 0 if events are only pending.

    \b
    Examples:
      raie events status
      raie events status --json
    """
    from raie.publishing import events

    consumers = events.status(workspace)
    value = {"consumers": [_status_json(consumer) for consumer in consumers]}
    output.show(value, lambda: _status_lines(consumers))
    if any(consumer.lag.failures for consumer in consumers):
        raise click.exceptions.Exit(REFUSED)


@click.command()
@click.argument("consumer", nargs=-1)
@json_option
@in_workspace
def send(workspace: Workspace, consumer: tuple[str, ...], output: Output) -> None:
    """Send each consumer the events that it waits for, once.

    CONSUMER is a name from raie.toml. Without one, all consumers are sent to, side by side. An event is sent at least
    once, and a model's events in their order. An event that failed is sent again after a pause, which doubles up to 15
    minutes. If a receiver does not answer, the exit code is 6. If it refuses an event, the exit code is 1.

    \b
    Examples:
      raie events send
      raie events send lineage --json
    """
    from raie.publishing import events

    _show(events.send(workspace, *consumer), output)


@click.command()
@_event_argument
@_consumer_option
@click.option("--reason", metavar="TEXT", default="", help="Why. Recorded in the audit log.")
@json_option
@in_workspace
def retry(workspace: Workspace, event: int, consumer: str | None, reason: str, output: Output) -> None:
    """Send a failed event again now, and what waits behind it.

    N is the event's number in `raie events status`.

    \b
    Examples:
      raie events retry 12
      raie events retry 12 --consumer pager --reason "the receiver is mended"
    """
    from raie.publishing import events

    _show((events.retry(workspace, event, consumer=consumer, reason=reason),), output)


@click.command()
@_event_argument
@_consumer_option
@click.option("--reason", metavar="TEXT", required=True, help="Why. Recorded in the audit log.")
@yes_option
@in_workspace
def skip(workspace: Workspace, event: int, consumer: str | None, reason: str, yes: bool) -> None:
    """Go on without a failed event, which the consumer never gets.

    N is the event's number in `raie events status`. Later events of its model are sent by the next `raie events send`.

    \b
    Examples:
      raie events skip 12 --reason "the receiver cannot parse it"
      raie events skip 12 --consumer pager --reason "paged by telephone" --yes
    """
    from raie.publishing import events

    ask(f"Skip event {event} for good?", yes=yes)
    name = events.skip(workspace, event, consumer=consumer, reason=reason)
    say(f"{one_line(name)} goes on after event {event}")


def _show(deliveries: Sequence[Delivery], output: Output) -> None:
    value = {"consumers": [_delivery_json(delivery) for delivery in deliveries]}
    output.show(value, lambda: _delivery_lines(deliveries))
    if any(delivery.unreachable for delivery in deliveries):
        raise click.exceptions.Exit(UNREACHABLE)
    if any(delivery.failed for delivery in deliveries):
        raise click.exceptions.Exit(REFUSED)


def _status_json(consumer: ConsumerStatus) -> dict[str, Any]:
    return {
        "name": consumer.name,
        "format": consumer.format,
        "target": consumer.target,
        "types": list(consumer.types),
        **_lag_json(consumer.lag),
        "failures": [_failure_json(failure) for failure in consumer.lag.failures],
    }


def _delivery_json(delivery: Delivery) -> dict[str, Any]:
    return {
        "name": delivery.consumer,
        "delivered": delivery.delivered,
        "reachable": not delivery.unreachable,
        **_lag_json(delivery.lag),
        "failures": [_failure_json(failure) for failure in delivery.failed],
    }


def _lag_json(lag: Lag) -> dict[str, Any]:
    moments = times(oldest_pending_at=lag.oldest_pending_at, last_delivered_at=lag.delivered_at)
    return {"registered": lag.registered, "pending": lag.pending, **moments}


def _failure_json(failure: FailedEvent) -> dict[str, Any]:
    return {
        "event": failure.event,
        "model": failure.model,
        "type": failure.type,
        "attempts": failure.attempts,
        "error": failure.error,
        **times(next_attempt_at=failure.next_at),
    }


def _status_lines(consumers: Sequence[ConsumerStatus]) -> list[str]:
    if not consumers:
        return ["no consumer of events in raie.toml; a table [events.NAME] makes one"]
    rows = [
        [
            one_line(consumer.name),
            consumer.format,
            one_line(consumer.target),
            _pending(consumer.lag),
            _moment(consumer.lag.delivered_at),
        ]
        for consumer in consumers
    ]
    lines = table(["consumer", "format", "target", "pending", "last delivered (UTC)"], rows)
    return [
        *lines,
        *(line for consumer in consumers for line in _failure_lines(consumer.name, consumer.lag.failures)),
    ]


def _pending(lag: Lag) -> str:
    if not lag.registered:
        return f"{lag.pending}, never sent to"
    since = "" if lag.oldest_pending_at is None else f", the oldest since {when(lag.oldest_pending_at)}"
    return f"{lag.pending}{since}"


def _moment(epoch: float | None) -> str:
    return "-" if epoch is None else when(epoch)


def _delivery_lines(deliveries: Sequence[Delivery]) -> list[str]:
    lines = [
        f"{one_line(delivery.consumer)}: delivered {delivery.delivered}, {delivery.lag.pending} pending"
        for delivery in deliveries
    ]
    return [
        *lines,
        *(line for delivery in deliveries for line in _failure_lines(delivery.consumer, delivery.failed)),
    ]


def _failure_lines(consumer: str, failures: Iterable[FailedEvent]) -> list[str]:
    return [f"{one_line(consumer)}: {_failure_line(failure)}" for failure in failures]


def _failure_line(failure: FailedEvent) -> str:
    attempts = f"{failure.attempts} attempt{'s' * (failure.attempts != 1)}"
    about = f"{failure.type or 'unknown'}, {one_line(failure.model)}, {attempts}"
    return f"event {failure.event} ({about}): {one_line(failure.error)}"
