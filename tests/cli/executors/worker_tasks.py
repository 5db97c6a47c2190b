"""Tasks for workers of Ray, which import them: each shows one thing that a task may do."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from raie.engine.errors import InputError
from raie.engine.executor import Report, Shared

__all__ = ["added", "dies_always", "dies_once", "refuses", "reports", "sleeps"]


def added(task: tuple[Shared[int], int]) -> int:
    return task[0].value + task[1]


def sleeps(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def refuses(name: str) -> None:
    raise InputError(f"expected a log, found {name}; take another")


def reports(count: int, report: Report) -> int:
    for number in range(count):
        report(number, number / 2)
    return count


def dies_once(left: Path) -> int:
    """Killed in the first try; in the next one the process that it runs in."""
    if not left.exists():
        left.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def dies_always(task: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
