"""Requests wait together: a bounded queue, a bounded time, and no request pays for another one's fault."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from raie.engine.answers import Answer, Query
from raie.serving.app import create_app
from raie.serving.batching import Batcher, QueueFull
from raie.serving.follower import Follower
from raie.serving.schema import Limits
from raie.serving.service import Service
from tests.raie.serving.conftest import Shop


def answer(query: Query) -> Answer:
    return Answer(query.items, (), (), 0, 0, "a" * 64)


def queries(*items: str) -> list[Query]:
    return [Query((item,)) for item in items]


def running(scored: Callable[[Sequence[Query]], list[Answer]], work: Callable[[Batcher], Awaitable[Any]]) -> Any:
    """What work gives, with batches of 4 rows and 6 that may wait."""

    async def all_of_it() -> Any:
        batcher = Batcher(scored, rows=4, wait_s=0.0, queue_rows=6)
        await batcher.start()
        try:
            return await work(batcher)
        finally:
            await batcher.stop()

    return asyncio.run(all_of_it())


def test_requests_that_come_while_a_batch_is_scored_make_the_next_one_and_too_many_are_refused() -> None:
    go, sizes = threading.Event(), []

    def scored(asked: Sequence[Query]) -> list[Answer]:
        go.wait(10)
        sizes.append(len(asked))
        return [answer(query) for query in asked]

    async def work(batcher: Batcher) -> list[list[Answer]]:
        first = asyncio.create_task(batcher.submit(queries("a")))
        await asyncio.sleep(0.05)  # it is being scored
        later = [asyncio.create_task(batcher.submit(queries(name, name.upper()))) for name in "bcd"]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull, match="at most 6 histories"):
            await batcher.submit(queries("e"))
        go.set()
        return await asyncio.gather(first, *later)

    made = running(scored, work)
    assert [[a.items[0] for a in of_one] for of_one in made] == [["a"], ["b", "B"], ["c", "C"], ["d", "D"]]
    assert sizes == [1, 4, 2]


def test_a_request_that_fails_leaves_the_others_of_its_batch_alone() -> None:
    def scored(asked: Sequence[Query]) -> list[Answer]:
        if any(query.items == ("bad",) for query in asked):
            raise ValueError("bad")
        return [answer(query) for query in asked]

    async def work(batcher: Batcher) -> list[Any]:
        names = ("a", "bad", "b")
        return await asyncio.gather(*(batcher.submit(queries(name)) for name in names), return_exceptions=True)

    first, bad, last = running(scored, work)
    assert (first[0].items, last[0].items) == (("a",), ("b",))
    assert isinstance(bad, ValueError)


def asked(service: Service, receive: Callable[[], Awaitable[dict[str, Any]]]) -> tuple[int, bytes]:
    """The status and the body of one POST /recommend whose body comes from `receive`."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/recommend", "headers": headers, "query_string": b""}
    scope |= {"asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "raw_path": b"/recommend"}

    async def call() -> None:
        await service.start()
        with suppress(ZeroDivisionError):  # what it does not expect goes on to uvicorn's log
            await create_app(service)(scope, receive, send)
        await service.stop()

    asyncio.run(call())
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def body_of(data: bytes) -> Callable[[], Awaitable[dict[str, Any]]]:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": data, "more_body": False}

    return receive


def test_a_body_that_does_not_come_and_an_answer_that_takes_long_end_in_time_and_a_bug_in_one_line(
    shop: Shop,
) -> None:
    follower = Follower(shop.source())
    assert follower.check()

    async def never() -> dict[str, Any]:
        await asyncio.sleep(60)
        raise AssertionError

    status, body = asked(Service("recsys", follower, limits=Limits(seconds=0.05)), never)
    assert (status, body) == (408, b'{"detail":"body: expected all of it within 0.05 s, found less"}')

    slow, done = Service("recsys", follower, limits=Limits(seconds=0.05)), threading.Event()
    slow.batcher._answer = lambda queries: [done.wait(0.3)]  # type: ignore[list-item, assignment]
    status, body = asked(slow, body_of(b'{"histories": [{"items": []}]}'))
    assert (status, body) == (503, b'{"detail":"expected an answer within 0.05 s, found none; try again"}')

    broken = Service("recsys", follower)
    broken.batcher._answer = lambda queries: [1 / 0]  # type: ignore[list-item, assignment]
    status, body = asked(broken, body_of(b'{"histories": [{"items": []}]}'))
    assert status == 500
    assert json.loads(body)["detail"].startswith("expected an answer, found an unexpected ZeroDivisionError;")
