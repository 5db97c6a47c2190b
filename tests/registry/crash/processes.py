"""Real processes that do steps to a registry, and can be killed or stopped at a named point of the protocol.

They are forked from a server that has imported everything, so that one starts in some milliseconds.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import forkserver, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from typing import Any

from raie.registry.db import engine
from raie.registry.failpoints import EVENT
from tests.registry.crash.steps import Done, Site, Step, take

__all__ = ["PATIENCE_S", "Stop", "Victim", "Worker", "context"]

PATIENCE_S = 60.0
"""How long a process may take for anything before it counts as hung."""
IMPORTED = [__name__, "raie.registry.store.s3", "psycopg", "sqlite3", "pytest"]
"""What the server imports."""


@dataclass(frozen=True)
class Stop:
    """Where a process dies or stands still: at the passing-th time that it reaches the point."""

    point: str
    passing: int
    dies: bool


@dataclass(frozen=True)
class Paused:
    """A process stands still; writing: in the midst of a transaction that writes, whose locks it holds."""

    writing: bool


@dataclass(frozen=True)
class Ended:
    """A process has done all its steps; passings: how often it reached each point."""

    passings: Counter[str]


@dataclass
class Victim:
    """A process that does steps and stops where it should; answered: what its steps got so far."""

    site: Site
    steps: Sequence[Step]
    stop: Stop | None = None
    answered: list[Done] = field(default_factory=list)
    error: str = ""

    def __post_init__(self) -> None:
        self._pipe, theirs = context().Pipe()
        self._process: BaseProcess = context().Process(
            target=_do_all, args=(theirs, self.site, self.steps, self.stop), daemon=True
        )
        self._process.start()
        theirs.close()

    def wait(self) -> Paused | Ended | None:
        """Until it stands still or has ended; None where it died, with an error unless it was meant to."""
        try:
            while self._pipe.poll(PATIENCE_S):
                message = self._pipe.recv()
                if isinstance(message, Done):
                    self.answered.append(message)
                elif isinstance(message, str):
                    self.error = message
                else:
                    return message  # type: ignore[no-any-return]
            self.error = "the process hung"
        except EOFError:
            if self.stop is None or not self.stop.dies:
                self.error = self.error or "the process died"
        self.kill()
        return None

    def go_on(self) -> None:
        self._pipe.send(None)

    def kill(self) -> None:
        """Ends it by SIGKILL and waits until no process of its number is there any more."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


class Worker:
    """A process that stays, and does steps to one registry after another; answers with an error or an empty text."""

    def __init__(self) -> None:
        self._pipe, theirs = context().Pipe()
        self._process = context().Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def start(self, site: Site, steps: Sequence[Step]) -> None:
        self._pipe.send((site, steps))

    def is_done(self, within_s: float) -> bool:
        return self._pipe.poll(within_s)

    def result(self) -> str:
        return str(self._pipe.recv()) if self.is_done(PATIENCE_S) else "the other process hung"

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def context() -> ForkServerContext:
    """Processes are forked from a server without threads: a lock that a thread holds in a fork is held for ever."""
    made, running = get_context("forkserver"), forkserver._forkserver  # type: ignore[attr-defined]
    if running._preload_modules != IMPORTED:
        running._stop()  # there is one for all, and an edit may have begun it with other imports
    made.set_forkserver_preload(IMPORTED)
    return made


def _do_all(pipe: Connection, site: Site, steps: Sequence[Step], stop: Stop | None) -> None:
    passings = _listen(pipe, stop)
    try:
        client = site.open()
        for step in steps:
            pipe.send(take(client, step))
        pipe.send(Ended(passings))
    except Exception:
        pipe.send(traceback.format_exc())


def _listen(pipe: Connection, stop: Stop | None) -> Counter[str]:
    """Counts the points that this process reaches from now on, and stops it at the chosen one."""
    passings: Counter[str] = Counter()

    def hear(event: str, _arguments: tuple[Any, ...]) -> None:
        if event.startswith(EVENT):
            point = event.removeprefix(EVENT)
            passings[point] += 1
            if stop is not None and (point, passings[point]) == (stop.point, stop.passing):
                if stop.dies:
                    os.kill(os.getpid(), signal.SIGKILL)
                pipe.send(Paused(_is_writing()))
                pipe.recv()

    sys.addaudithook(hear)
    return passings


def _is_writing() -> bool:
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code is engine.write.__code__:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _serve(pipe: Connection) -> None:
    with suppress(EOFError):
        while True:
            site, steps = pipe.recv()
            try:
                client = site.open()
                for step in steps:
                    take(client, step)
                pipe.send("")
            except Exception:
                pipe.send(traceback.format_exc())
