"""How long a server is waited for: `?timeout=SECONDS` in a database's or a store's URL, and a deadline that holds.

A library's own timeout is one of each read from a socket, so a server that sends a byte now and then is waited for
without end. A deadline is one of the whole request.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

from raie.registry.errors import InvalidValue

__all__ = ["Deadline", "timeout_of"]

T = TypeVar("T")

_DAY_S = 86_400.0


def timeout_of(text: object) -> float:
    """The seconds that a URL's `timeout` says; raises InvalidValue unless they are above 0 and at most a day."""
    try:
        seconds = float(str(text))
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _DAY_S:
        raise InvalidValue(f"Expected ?timeout= in seconds, above 0 and at most a day, found {ascii(text)[:40]}")
    return seconds


class Deadline:
    """A moment after which nobody waits any longer, whatever is going on underneath."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends = time.monotonic() + seconds

    def extend(self, seconds: float) -> None:
        """Moves the moment, once it is known how much there is to do."""
        self._seconds += seconds
        self._ends += seconds

    def run(self, act: Callable[[], T]) -> T:
        """What act() returns or raises; TimeoutError at the deadline, and act() then ends unheard in its thread."""
        answer: Future[T] = Future()

        def work() -> None:
            try:
                answer.set_result(act())
            except BaseException as error:
                answer.set_exception(error)

        if self._left() <= 0:
            raise self._missed()
        # A daemon: a request that never ends must not keep the process from ending either.
        threading.Thread(target=work, daemon=True, name="request with a deadline").start()
        # More than once: act() itself may move the moment, as long as what it waits for comes.
        while (left := self._left()) > 0:
            with suppress(TimeoutError):
                return answer.result(left)
            if answer.done():
                return answer.result()
        raise self._missed()

    def _left(self) -> float:
        return self._ends - time.monotonic()

    def _missed(self) -> TimeoutError:
        return TimeoutError(f"no answer within {self._seconds:.3g} s")
