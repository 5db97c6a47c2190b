"""The same question to a server for many blobs, several at a time: one far away answers in a small part of the time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["at_once"]

T = TypeVar("T")
R = TypeVar("R")

_AT_ONCE = 8
"""Requests at a time: fewer than the connections that boto3 keeps."""


def at_once(request: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """What the request answers for each item, in their order.

    Raises what the first request that fails raises; those that have not begun by then are not made.
    """
    # The first one alone: a store that does not answer at all is given up after one request.
    answers = [request(item) for item in items[:1]]
    if len(items) > 1:
        pool = ThreadPoolExecutor(_AT_ONCE)
        try:
            answers += pool.map(request, items[1:])
        finally:
            pool.shutdown(cancel_futures=True)
    return answers
