"""A bar for a command that works for more than two seconds and has not printed anything by then.

Commands that know how far they are have bars of their own, from raie.cli.ui.progress. This one only moves.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, Timer
from typing import TYPE_CHECKING

import click

from raie.cli.ui.terminal import bars, renders_bars

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["activity_bar", "end_activity"]

PATIENCE_S = 2.0
"""How long a command may work before a bar says that it does."""

_KEY = f"{__name__}.activity"
_OWN_SCREEN = ("export", "ui")
"""Commands that write to the terminal as they go, and past this program's output."""


class _Activity:
    """A bar that a timer begins, and that ends once, whoever ends it."""

    def __init__(self, label: str, color: bool | None) -> None:
        self._label = label
        self._color = color
        self._lock = Lock()
        self._bars: Progress | None = None
        self._is_over = False
        self._timer = Timer(PATIENCE_S, self._begin)
        self._timer.daemon = True
        self._timer.start()

    def _begin(self) -> None:
        with self._lock:
            if not self._is_over:
                self._bars = bars(color=self._color, refreshes=True)
                self._bars.add_task(self._label, total=None)
                self._bars.start()

    def end(self, *, complete: bool) -> None:
        """Take the timer back, or stop the bar: at 100 % where the work is complete."""
        self._timer.cancel()
        with self._lock:
            if self._bars is not None and not self._is_over:
                if complete:
                    self._bars.update(self._bars.task_ids[0], total=1, completed=1)
                self._bars.stop()
            self._is_over = True


@contextmanager
def activity_bar(context: click.Context) -> Iterator[None]:
    """Show a bar if what runs inside takes longer than PATIENCE_S; nothing where stderr is not a terminal.

    Args:
        context: Of the command that runs; its first output ends the bar.
    """
    if not renders_bars(sys.stderr) or context.info_name in _OWN_SCREEN:
        yield
        return
    activity = context.meta[_KEY] = _Activity(context.command_path, context.color)
    try:
        yield
        activity.end(complete=True)
    finally:
        activity.end(complete=False)


def end_activity() -> None:
    """End the bar of the command that runs, if there is one: something is about to be printed or asked."""
    context = click.get_current_context(silent=True)
    activity = None if context is None else context.meta.get(_KEY)
    if activity is not None:
        activity.end(complete=True)
