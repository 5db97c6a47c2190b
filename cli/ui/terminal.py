"""What the terminal behind stderr can show: bars that move, with or without colors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["bars", "renders_bars"]


def renders_bars(stream: TextIO) -> bool:
    """Whether a stream is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def bars(*, color: bool | None, refreshes: bool) -> Progress:
    """Bars on stderr with a share and the time that is left, not started yet.

    Args:
        color: False for none, as click's contexts have it; None lets the terminal decide.
        refreshes: Whether a thread renders them again and again. Without it they are rendered on request, and whatever
            else is written to stderr stands above them.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, no_color=True if color is False else None)
    return Progress(
        TextColumn("{task.description}", markup=False),  # the name of a stage may hold what a user wrote
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        auto_refresh=refreshes,
        redirect_stdout=False,  # standard output is the command's alone
        redirect_stderr=not refreshes,
    )
