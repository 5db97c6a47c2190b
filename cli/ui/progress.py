"""Progress bars on stderr: one per stage, only where somebody is looking."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import click

__all__ = ["progress_bars"]


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A function `(stage, done, total)` that draws a bar per stage; a stage's words may change while it runs.

    Where stderr is no terminal it draws nothing.
    """
    with ExitStack() as stages:
        current: list[tuple[str, click._termui_impl.ProgressBar[int]]] = []

        def report(stage: str, done: int, total: int) -> None:
            name = stage.split(",")[0]
            if not current or current[-1][0] != name:
                stages.close()
                bar = click.progressbar(
                    length=max(total, 1), label=stage, file=sys.stderr, hidden=not sys.stderr.isatty()
                )
                current[:] = [(name, stages.enter_context(bar))]
            bar = current[-1][1]
            bar.label = stage
            bar.update(done - bar.pos)

        yield report
