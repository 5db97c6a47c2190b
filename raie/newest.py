"""How much of a long list is read: the newest of it, and whether there is more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

__all__ = ["NEWEST", "newest"]

T = TypeVar("T")

NEWEST = 20
"""About a screen."""


def newest(records: Sequence[T], limit: int) -> tuple[tuple[T, ...], bool]:
    """The first `limit` records, and whether there are more.

    Args:
        records: Newest first; one more than `limit` is asked for to know this.
        limit: The most to return.
    """
    return tuple(records[:limit]), len(records) > limit
