"""Words and lines that errors, notes, screens and JSON share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["SETUP_PART", "known_line", "leaves", "numbers_line"]

_NUMBERS_SHOWN = 8

SETUP_PART = "set-up"
"""The key of the held-out setup windows in JSON; scripts read it, so it keeps its spelling."""


def known_line(known: Mapping[str, Any]) -> str:
    """The shares of users and items that the base knows, from a plan or a report, in one line."""
    return "; ".join(
        f"known {name} {share['row_share']:.1%} of rows ({share['known_ids']:,} of {share['ids']:,})"
        for name, share in ((name, known[name]) for name in ("users", "items"))
    )


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Nested values as (dotted name, value) pairs; prefix: what stands before each name."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def numbers_line(numbers: Sequence[int]) -> str:
    """The numbers of some edits or regions, the first of them where they are many: `2, 3, 4 and 9 more`."""
    shown = ", ".join(map(str, numbers[:_NUMBERS_SHOWN]))
    more = len(numbers) - _NUMBERS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
