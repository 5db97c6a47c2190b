"""Figures as the one line that errors, notes and screens share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["known_line"]


def known_line(known: Mapping[str, Any]) -> str:
    """The shares of users and items that the base knows, from a plan or a report, in one line."""
    return "; ".join(
        f"known {name} {each['row_share']:.1%} of rows ({each['known_ids']:,} of {each['ids']:,})"
        for name, each in ((name, known[name]) for name in ("users", "items"))
    )
