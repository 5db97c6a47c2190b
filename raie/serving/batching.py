"""Concurrent requests answered together: a bounded queue, a bounded wait, and one thread that scores.

A request is never split, so one snapshot answers all of it. Requests that come while a batch is scored make the next one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from raie.engine.answers import Answer, Query

__all__ = ["Batcher", "QueueFull"]


class QueueFull(RuntimeError):
    """More histories wait than the queue may hold."""


@dataclass(eq=False)
class _Pending:
    queries: Sequence[Query]
    future: asyncio.Future[list[Answer]] = field(repr=False)


class Batcher:
    """Answers requests in batches.

    Args:
        answer: From the histories of a batch to one answer for each; runs in a thread of its own, never twice at once.
        rows: Histories per batch; a request of more is a batch by itself.
        wait_s: Seconds that the first request of a batch waits for others, where several ask at the same time.
        queue_rows: Histories that may wait.
    """

    def __init__(
        self, answer: Callable[[Sequence[Query]], list[Answer]], *, rows: int, wait_s: float, queue_rows: int
    ) -> None:
        self._answer = answer
        self._rows, self._wait_s, self._queue_rows = rows, wait_s, queue_rows
        self._pending: deque[_Pending] = deque()
        self._pool = ThreadPoolExecutor(1, "raie-score")
        self._there = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._crowded = False

    @property
    def queued(self) -> int:
        """Histories that wait."""
        return sum(len(pending.queries) for pending in self._pending)

    async def start(self) -> None:
        """Begin to answer, in the running event loop."""
        self._worker = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Stop; requests that still wait are cancelled."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def submit(self, queries: Sequence[Query]) -> list[Answer]:
        """The answers of one request.

        Args:
            queries: Its histories.

        Raises:
            QueueFull: Too many wait.
        """
        queued = self.queued
        if queued and queued + len(queries) > self._queue_rows:
            raise QueueFull(f"expected at most {self._queue_rows} histories to wait, found {queued}; try again")
        pending = _Pending(queries, asyncio.get_running_loop().create_future())
        self._pending.append(pending)
        self._there.set()
        return await pending.future

    async def _work(self) -> None:
        while True:
            await self._there.wait()
            # Whoever asks alone gains nothing by waiting.
            if self._wait_s and (self._crowded or len(self._pending) > 1) and self.queued < self._rows:
                await asyncio.sleep(self._wait_s)
            batch = self._taken()
            self._crowded = len(batch) > 1
            if not self._pending:
                self._there.clear()
            if batch:
                await self._answered(batch)

    def _taken(self) -> list[_Pending]:
        """The requests of the next batch, without those that nobody waits for any more."""
        batch: list[_Pending] = []
        rows = 0
        while self._pending and (not batch or rows + len(self._pending[0].queries) <= self._rows):
            pending = self._pending.popleft()
            if not pending.future.done():
                batch.append(pending)
                rows += len(pending.queries)
        return batch

    async def _answered(self, batch: Sequence[_Pending]) -> None:
        queries = [query for pending in batch for query in pending.queries]
        try:
            made = await asyncio.get_running_loop().run_in_executor(self._pool, self._answer, queries)
        except Exception as error:  # whoever waits for the request gets it
            if len(batch) > 1:
                # One request may be at fault, which the others must not feel.
                for pending in batch:
                    await self._answered([pending])
            elif not batch[0].future.done():
                batch[0].future.set_exception(error)
            return
        start = 0
        for pending in batch:
            stop = start + len(pending.queries)
            if not pending.future.done():
                pending.future.set_result(made[start:stop])
            start = stop
