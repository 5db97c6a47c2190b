"""What the API calls while it works: one function for progress, one for notes on how a log was read."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["OnNote", "Progress", "ignore_notes", "ignore_progress"]

Progress = Callable[[str, int, int], None]
"""Called with the stage, how many of its steps are done, and how many there are."""

OnNote = Callable[[str], None]
"""Called with one line on how a log was read, or on what a person should know of it."""


def ignore_progress(stage: str, done: int, total: int) -> None:
    """Show no progress."""


def ignore_notes(line: str) -> None:
    """Show no notes."""
