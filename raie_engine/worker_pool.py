"""Processes that work for this one, and never outlive it nor the loop that wants their results.

A worker that went on after its parent was killed would write checkpoints under the hands of whoever resumes.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from raie_engine.errors import WorkerLost

__all__ = ["Workers", "begun", "side_by_side", "uninterrupted"]

T = TypeVar("T")

_STOPS = (signal.SIGINT, signal.SIGTERM)


class Workers:
    """Processes that have begun; `side_by_side` gives them work."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def side_by_side(self, function: Callable[[Any], T], tasks: Iterable[Any]) -> Generator[T]:
        """function(task) for every task, each result as it is ready.

        Raises: WorkerLost when the system ends a worker, for instance because memory is short.
        """
        try:
            with uninterrupted():
                futures = [self._pool.submit(function, task) for task in tasks]
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise WorkerLost(
                "expected all training processes to finish, found one that was killed, most likely for lack of "
                "memory; resume the edit with fewer workers"
            ) from error


@contextmanager
def begun(workers: int, first: Callable[[], object]) -> Iterator[Workers]:
    """So many new processes, which import the module of `first` and call it while their parent does something else.

    Left by an error, or by a generator that is closed, it stops them in the middle of their tasks.
    """
    with _pool(workers) as pool:
        with uninterrupted(), suppress(BrokenProcessPool):  # who gives work to a broken pool is told
            for _ in range(workers):
                pool.submit(first)
        yield Workers(pool)


def side_by_side(function: Callable[[Any], T], tasks: Sequence[Any], workers: int) -> Generator[T]:
    """function(task) for every task in new processes, each result as it is ready.

    Closed early, or left by an error, it stops the workers in the middle of their tasks.

    Raises: WorkerLost when the system ends a worker, for instance because memory is short.
    """
    with _pool(min(workers, len(tasks))) as pool:
        yield from Workers(pool).side_by_side(function, tasks)


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    context = get_context("spawn")
    lifeline, held = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_live_by, initargs=(lifeline,))
    with closing(lifeline), closing(held), pool, ExitStack() as at_once:
        at_once.callback(held.close)
        at_once.callback(pool.shutdown, wait=False, cancel_futures=True)
        yield pool
        at_once.pop_all()


def _live_by(lifeline: Connection) -> None:
    """End this process as soon as nobody holds the other end of its lifeline."""

    def watch() -> None:
        try:
            lifeline.poll(None)  # nothing is ever sent: it returns when the other end was closed or died
        finally:
            os._exit(1)

    threading.Thread(target=watch, daemon=True, name="lifeline").start()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Processes begun in here never see Ctrl-C, which a terminal sends to all: the parent alone decides.

    A process half begun would complain of its parent, so what arrives meanwhile is heard afterwards. To block a signal
    is not enough for that: another thread takes it, and Python tells the main one.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    heard: list[int] = []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.signal(number, lambda got, _: heard.append(got)) for number in _STOPS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for late in heard:
            signal.raise_signal(late)
