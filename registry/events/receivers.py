"""The receivers that there are: OpenLineage into a file, OpenLineage over HTTP, and signed webhooks.

Each is a frozen value that hides its secrets; none keeps a connection between two events.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from raie.registry.canonical import canonical_json
from raie.registry.events import signature
from raie.registry.events.cloud_event import CONTENT_TYPE, cloud_event
from raie.registry.events.http_post import REQUEST_S, post
from raie.registry.events.json_lines import append
from raie.registry.events.openlineage import DataRange, Source, run_events
from raie.registry.hiding import hiding
from raie.registry.outbox_records import OutboxEvent

__all__ = ["OpenLineageEndpoint", "OpenLineageFile", "RangeOf", "Webhook"]

RangeOf = Callable[[OutboxEvent], DataRange | None]
"""The rows of the log that an edit took, read from its snapshot by whoever knows what is in one."""


@dataclass(frozen=True)
class OpenLineageFile:
    """Appends each run event to a file of JSON lines."""

    path: Path
    source: Source
    range_of: RangeOf = field(repr=False)

    def deliver(self, event: OutboxEvent) -> None:
        """Writes the run events of one event, all or none; raises ReceiverUnreachable."""
        append(self.path, [canonical_json(made) for made in run_events(event, self.source, self.range_of(event))])

    def hide(self, text: str) -> str:
        """The text: a path is no secret."""
        return text


@dataclass(frozen=True)
class OpenLineageEndpoint:
    """Posts each run event to an HTTP endpoint, with a bearer token where there is one."""

    url: str = field(repr=False)
    source: Source
    range_of: RangeOf = field(repr=False)
    token: str | None = field(default=None, repr=False)
    timeout_s: float = REQUEST_S

    def deliver(self, event: OutboxEvent) -> None:
        """Posts the run events of one event, in their order; raises ReceiverUnreachable and EventRefused."""
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Bearer {self.token}"} if self.token else {}
        for made in run_events(event, self.source, self.range_of(event)):
            post(self.url, canonical_json(made), headers, timeout_s=self.timeout_s)

    def hide(self, text: str) -> str:
        """The text without the token and the secrets of the URL."""
        return hiding(self.url, [self.token])(text.replace(self.url, "***"))


@dataclass(frozen=True)
class Webhook:
    """Posts each event as a CloudEvent, signed with a secret that the receiver knows too."""

    url: str = field(repr=False)
    secret: str = field(repr=False)
    registry: str
    timeout_s: float = REQUEST_S
    clock: Callable[[], float] = field(default=time.time, repr=False)

    def deliver(self, event: OutboxEvent) -> None:
        """Posts one event; raises ReceiverUnreachable and EventRefused."""
        body = canonical_json(cloud_event(event, self.registry))
        signed = signature.sign(self.secret, body, int(self.clock()))
        headers = {"Content-Type": CONTENT_TYPE, signature.HEADER: signed}
        post(self.url, body, headers, timeout_s=self.timeout_s)

    def hide(self, text: str) -> str:
        """The text without the shared secret and the secrets of the URL."""
        return hiding(self.url, [self.secret])(text.replace(self.url, "***"))
