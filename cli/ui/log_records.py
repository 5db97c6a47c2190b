"""`--verbose`: what the loggers below `raie` record goes to standard error; without it nothing does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import click

from raie.cli.ui.output import one_line

__all__ = ["log_records_shown"]

_LEVELS = (logging.INFO, logging.DEBUG)


class _Lines(logging.Handler):
    """A line for each record; it may quote what a user or a server wrote, so nothing in it moves the cursor."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(one_line(f"{record.levelname.lower()}: {record.name}: {record.getMessage()}"), err=True)


@contextmanager
def log_records_shown(verbose: int) -> Iterator[None]:
    """Show records while inside.

    Args: verbose: 0 for none, 1 for those at INFO and above, 2 and more for those at DEBUG too.
    """
    logger = logging.getLogger("raie")
    # Without a handler Python itself would print warnings.
    handler = _Lines() if verbose else logging.NullHandler()
    level = logger.level
    logger.addHandler(handler)
    if verbose:
        logger.setLevel(_LEVELS[min(verbose, len(_LEVELS)) - 1])
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
