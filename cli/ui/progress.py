"""Progress bars on stderr: one per stage, only where somebody is looking."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["progress_bars"]

_REDRAWN_S = 0.1
"""No bar is rendered more often: a stage of ten thousand short steps would spend its time on it."""


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A function `(stage, done, total)` that renders a bar per stage; the text of a stage may change while it runs.

    A stage is what stands before the first comma. It is complete, at 100 %, when the next one begins and when all is
    done, even where it stopped early. Where stderr is not a terminal that can move its cursor, nothing is rendered.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda stage, done, total: None
        return
    with _bars() as bars:
        stages = _Stages(bars)
        yield stages.report
        stages.complete()


class _Stages:
    """The bars of the stages so far; only the last one moves."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._name: str | None = None
        self._rendered_at = 0.0

    def report(self, stage: str, done: int, total: int) -> None:
        """Move the bar of a stage, or begin the next one."""
        name, total = stage.split(",")[0], max(total, 1)
        if name != self._name:
            self.complete()
            self._bars.add_task(stage, total=total)
            self._name, self._rendered_at = name, 0.0
        self._bars.update(self._bars.tasks[-1].id, description=stage, completed=min(done, total), total=total)
        if done >= total or time.monotonic() - self._rendered_at >= _REDRAWN_S:
            self._bars.refresh()
            self._rendered_at = time.monotonic()

    def complete(self) -> None:
        """Bring the last stage to its end."""
        for task in self._bars.tasks[-1:]:
            self._bars.update(task.id, completed=task.total, refresh=True)


def _bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    context = click.get_current_context(silent=True)
    # Without a style of ours, and no markup: the name of a stage may hold what a user wrote.
    console = Console(stderr=True, no_color=True if context is not None and context.color is False else None)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    # No thread of its own, as worker processes are forked meanwhile. Standard output is the command's alone.
    return Progress(
        *columns,
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        auto_refresh=False,
        redirect_stdout=False,
    )
