"""Users' text as MLflow may have it: no longer than its columns hold, and as text where it renders markdown.

MLflow's schema on PostgreSQL, MySQL and SQL Server refuses what SQLite takes, and servers of several ages are about,
so the smallest limit that any of them has counts. Lengths are in characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["DESCRIPTION_LENGTH", "NAME_LENGTH", "PARAM_LENGTH", "TAG_LENGTH", "cut", "cut_markdown", "markdown"]

DESCRIPTION_LENGTH = 5000
"""Of a registered model and of its versions."""

TAG_LENGTH = 5000
"""Of a tag's value: what MLflow 1 and 2 take; 3 takes 8,000 on a run."""

PARAM_LENGTH = 6000
NAME_LENGTH = 250
"""Of a run's name, and of the key of a tag, a param or a metric."""

_ELLIPSIS = "…"
_SPECIAL = re.compile(r"[\\`*_{}\[\]()#+!|~]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# A bare address becomes a link in MLflow's pages.
_ADDRESS = re.compile(r":(?=//)|(?<=www)\.|(?<=mailto):", re.IGNORECASE)
# Only at the beginning of a line do these make a list, a line or a heading.
_AT_START = re.compile(r"^([-=]|\d+(?=\.))")


def cut(text: str, length: int, note: str = "") -> str:
    """The text, or as much of its beginning as fits with an ellipsis and a note of where the whole is."""
    return _fitted(text, length, note, lambda part: part)


def cut_markdown(text: str, length: int, note: str = "") -> str:
    """The text as `markdown` gives it, cut as `cut` does, never between a character and what escapes it."""
    return _fitted(text, length, note, markdown)


def markdown(text: str) -> str:
    """Markdown that shows the text as it is: no link, no HTML, no list; its lines stay lines."""
    return "  \n".join(_line(line) for line in text.strip().splitlines())


def _line(line: str) -> str:
    blank_free = " ".join(line.split())
    escaped = _SPECIAL.sub(r"\\\g<0>", re.sub(r"[&<>]", lambda match: _ENTITIES[match[0]], blank_free))
    escaped = _ADDRESS.sub(r"\\\g<0>", escaped)
    return _AT_START.sub(lambda match: match[0] + "\\" if match[0].isdigit() else f"\\{match[0]}", escaped)


def _fitted(text: str, length: int, note: str, form: Callable[[str], str]) -> str:
    whole = form(text)
    if len(whole) <= length:
        return whole
    end = f"{_ELLIPSIS}{note}"
    # Every character takes at least one place, and few take many: halve until the longest beginning is found.
    fits, too_long = 0, length
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        fits, too_long = (middle, too_long) if len(form(text[:middle])) + len(end) <= length else (fits, middle)
    return form(text[:fits]) + end
