"""Processes that work for this one, and never outlive it nor the loop that wants their results.

A worker that went on after its parent was killed would write checkpoints under the hands of whoever resumes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from multiprocessing import forkserver, get_context, resource_tracker
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from raie.engine.errors import WorkerLost

__all__ = ["foreseen", "side_by_side", "uninterrupted"]

T = TypeVar("T")

_STOPS = (signal.SIGINT, signal.SIGTERM)
_FORKED = sys.platform == "linux"  # elsewhere what torch stands on may not survive a fork
_NEEDED = "raie.engine.training.train_adapter"


def foreseen() -> None:
    """Let what workers need be imported already, in the process they are to be forked from, while this one goes on.

    Only Linux forks them; elsewhere each worker imports for itself.
    """
    if _FORKED:
        resource_tracker.ensure_running()  # the server would, and would let through what is held back for itself
        with uninterrupted():
            forkserver.set_forkserver_preload([_NEEDED])
            forkserver.ensure_running()


def side_by_side(function: Callable[[Any], T], tasks: Sequence[Any], workers: int) -> Generator[T]:
    """function(task) for every task in new processes, each result as it is ready.

    Closed early, or left by an error, it stops the workers in the middle of their tasks.

    Args:
        function: picklable.
        tasks: picklable.
        workers: processes.

    Yields:
        Each result as it is ready.

    Raises:
        WorkerLost: when the system ends a worker, for instance because memory is short.
    """
    foreseen()
    context = get_context("forkserver" if _FORKED else "spawn")
    lifeline, held = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(
        min(workers, len(tasks)), mp_context=context, initializer=_live_by, initargs=(lifeline,)
    )
    # The lifeline is cut before the pool is waited for: nobody wants what workers still do, not even that they end well.
    with closing(lifeline), pool, closing(held):
        try:
            with uninterrupted():
                futures = [pool.submit(function, task) for task in tasks]
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise WorkerLost(
                "expected all training processes to finish, found one that was killed, most likely for lack of "
                "memory; resume the edit with fewer workers"
            ) from error


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
    is not enough for that: another thread takes it, and Python notifies the main one.
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
