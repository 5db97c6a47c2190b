"""What a server is made of: the followed alias, the batches, and those that watch the answers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from raie.engine.answers import Answer, Query, answers
from raie.serving.batching import Batcher
from raie.serving.follower import Follower
from raie.serving.metrics import Metrics
from raie.serving.request_log import RequestLog
from raie.serving.schema import Limits
from raie.serving.shadow import Shadow

if TYPE_CHECKING:
    from raie.serving.schema import RecommendRequest

__all__ = ["Batching", "Service"]


@dataclass(frozen=True)
class Batching:
    """How requests are answered together.

    Attributes:
        rows: Histories per batch.
        wait_s: Seconds that the first request of a batch waits for others.
        queue_rows: Histories that may wait.
    """

    rows: int = 64
    wait_s: float = 0.001
    queue_rows: int = 1024


@dataclass
class Service:
    """Everything that one server needs to answer.

    Attributes:
        model: The model's name.
        follower: Of the alias that is served.
        limits: What one request may ask for.
        batching: How requests are answered together.
        shadow: Answers some batches too; None without one.
        request_log: Where requests are logged; None where they are not.
        stored: User -> stored history; None where none are kept.
        draining: Whether the server is about to stop.
    """

    model: str
    follower: Follower
    limits: Limits = field(default_factory=Limits)
    batching: Batching = field(default_factory=Batching)
    shadow: Shadow | None = None
    request_log: RequestLog | None = None
    stored: Mapping[str, Query] | None = field(default=None, repr=False)
    draining: bool = False
    batcher: Batcher = field(init=False, repr=False)
    metrics: Metrics = field(init=False, repr=False)

    def __post_init__(self) -> None:
        chosen = self.batching
        self.batcher = Batcher(self._scored, rows=chosen.rows, wait_s=chosen.wait_s, queue_rows=chosen.queue_rows)
        self.metrics = Metrics(self.follower, lambda: self.batcher.queued)
        for watcher in (self.shadow, self.request_log):
            if watcher is not None:
                watcher.metrics = self.metrics

    async def start(self) -> None:
        """Begin to answer, in the running event loop."""
        await self.batcher.start()

    async def stop(self) -> None:
        """Stop answering."""
        await self.batcher.stop()

    def _scored(self, queries: Sequence[Query]) -> list[Answer]:
        """The answers of one batch, all by one snapshot."""
        loaded, begun = self.follower.current, time.perf_counter()
        made = answers(loaded, queries)
        seconds = time.perf_counter() - begun
        self.metrics.answered(made, seconds)
        if self.shadow is not None:
            self.shadow.offer(queries, made, seconds)
        return made

    def log_requests(self, request: RecommendRequest, made: Sequence[Answer]) -> None:
        """Log the rows of a request that was answered.

        Args:
            request: As it came.
            made: Its answers.
        """
        if self.request_log is not None:
            users = [None if history.user is None else str(history.user) for history in request.histories]
            self.request_log.offer(made, users)
