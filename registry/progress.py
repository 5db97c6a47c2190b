"""What a long call of the registry reports while it works: which stage, and how far that is."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["OnProgress", "ignore_progress"]

OnProgress = Callable[[str, int, int], None]
"""Called with the stage, how many of its steps are done, and how many there are."""


def ignore_progress(stage: str, done: int, total: int) -> None:
    """Show no progress."""
