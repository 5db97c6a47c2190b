"""The body of a webhook: one CloudEvent, in plain dictionaries.

Source: CloudEvents 1.0.2, JSON format, structured mode; `sequence` is the extension of that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from raie.registry.errors import InvalidValue
from raie.registry.events.event_types import EventType, type_of
from raie.registry.outbox_records import OutboxEvent

__all__ = ["CONTENT_TYPE", "cloud_event"]

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"


def cloud_event(event: OutboxEvent, registry: str) -> dict[str, Any]:
    """What a webhook says of one event.

    Args:
        event: of the outbox.
        registry: the registry's id.
    Returns: a CloudEvent, the same each time the event is sent; `source` and `id` name it among all events.
    Raises: InvalidValue for a kind of event that this version does not know.
    """
    type_ = type_of(event)
    if type_ is None:
        raise InvalidValue(f"Expected an event of a known kind, found {event.kind!r}; upgrade raie")
    made = _edit if type_ in (EventType.EDIT, EventType.ROLLBACK) else _promotion
    subject, data = made(event.payload)
    return {
        "specversion": "1.0",
        "id": str(event.id),
        "source": f"raie://{registry}/{quote(event.model, safe='')}",
        "type": f"raie.{type_.value}",
        "subject": subject,
        "time": datetime.fromtimestamp(event.created_at, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z"),
        "sequence": f"{event.id:020d}",
        "datacontenttype": "application/json",
        "data": {"model": event.model, **data},
    }


def _edit(payload: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    edit, snapshot = payload["edit"], payload["snapshot"]
    changed = [
        {"region": change["region"], "action": change["action"], "version": change["version"]}
        for change in payload["changes"]
    ]
    data = {name: edit[name] for name in ("kind", "actor", "reason", "data_digest")}
    data |= {"edit": edit["number"], "snapshot": snapshot["id"], "parent": snapshot["parent"], "changed": changed}
    return f"edit:{edit['number']}", data


def _promotion(payload: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    names = ("alias", "from", "to", "actor", "reason", "violations")
    return f"alias:{payload['alias']}", {name: payload[name] for name in names if name in payload}
