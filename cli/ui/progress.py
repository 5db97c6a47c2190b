"""Progress on stderr: a bar per stage where somebody is looking; for long commands a line per finished step elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from raie.cli.ui.activity import PATIENCE_S, end_activity
from raie.cli.ui.output import one_line, say
from raie.cli.ui.terminal import bars, renders_bars

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["patient_bars", "progress_bars", "progress_bars_or_lines"]

_REDRAWN_S = 0.1
"""No bar is rendered more often: a stage of ten thousand short steps would spend its time on it."""


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A function `(stage, done, total)` that renders a bar per stage; the text of a stage may change while it runs.

    A stage is what stands before the first comma. It is complete, at 100 %, when the next one begins and when all is
    done, even where it stopped early. Its total may change, and its bar never moves back. Where stderr is not a terminal
    that can move its cursor, nothing is rendered.
    """
    end_activity()
    with _stages(0.0) as report:
        yield report


@contextmanager
def patient_bars() -> Iterator[Callable[[str, int, int], None]]:
    """The same for a command that is quick as a rule: nothing is rendered until it has worked for a while."""
    with _stages(PATIENCE_S) as report:
        yield report


@contextmanager
def _stages(patience_s: float) -> Iterator[Callable[[str, int, int], None]]:
    if not renders_bars(sys.stderr):
        yield lambda stage, done, total: None
        return
    context = click.get_current_context(silent=True)
    # Without a thread that renders them, as worker processes are forked meanwhile.
    stages = _Stages(bars(color=None if context is None else context.color, refreshes=False), patience_s)
    try:
        yield stages.report
        stages.complete()
    finally:
        stages.stop()


@contextmanager
def progress_bars_or_lines() -> Iterator[Callable[[str, int, int], None]]:
    """As `progress_bars`; where no bar can be rendered each step that is finished gets a line.

    What is called with a whole number of steps done, and says which, is a step. Of a stage that names none the end alone
    gets a line: "backbones: 1 of 1".
    """
    if renders_bars(sys.stderr):
        with progress_bars() as report:
            yield report
        return
    printed: set[str] = set()

    def line(stage: str, done: int, total: int) -> None:
        name, _, detail = stage.partition(", ")
        text = f"{name}: {done} of {total}{', ' if detail else ''}{detail}"
        if (done >= total or (detail and name in _STEPPED)) and total and text not in printed:
            printed.add(text)
            say(one_line(text), err=True)

    yield line


_STEPPED = ("steps",)
"""Stages of which every step takes long enough for a line of its own; others go on too fast."""


class _Stages:
    """The bars of the stages so far; only the last one moves. There is none before the first report after a while."""

    def __init__(self, bars: Progress, patience_s: float) -> None:
        self._bars = bars
        self._begins_at = time.monotonic() + patience_s
        self._name: str | None = None
        self._rendered_at = 0.0
        self._share = 0.0

    def report(self, stage: str, done: int, total: int) -> None:
        """Move the bar of a stage, or begin the next one."""
        if self._name is None:
            if time.monotonic() < self._begins_at:
                return
            end_activity()
            self._bars.start()
        name, total = stage.split(",")[0], max(total, 1)
        if name != self._name:
            self.complete()
            self._bars.add_task(stage, total=total)
            self._name, self._rendered_at, self._share = name, 0.0, 0.0
        # A total is a guess where training may stop early, and a guess may grow: a bar never moves back.
        self._share = max(self._share, min(done / total, 1.0))
        self._bars.update(self._bars.tasks[-1].id, description=stage, completed=self._share * total, total=total)
        if done >= total or time.monotonic() - self._rendered_at >= _REDRAWN_S:
            self._bars.refresh()
            self._rendered_at = time.monotonic()

    def complete(self) -> None:
        """Bring the last stage to its end."""
        for task in self._bars.tasks[-1:]:
            self._bars.update(task.id, completed=task.total, refresh=True)

    def stop(self) -> None:
        """Leave the bars as they are, and give the terminal back."""
        if self._name is not None:
            self._bars.stop()
