"""The names that a mistyped one may have meant: of commands, aliases, tags, regions and keys of raie.toml."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

__all__ = ["close_names", "suggestion_of"]

_NAMED = 3
_ALIKE = 0.6
"""difflib's ratio, from 0 to 1: one wrong, missing or swapped letter in a short name stays above it."""


def close_names(typed: str, known: Iterable[str]) -> list[str]:
    """The known names most like a typed one.

    Args:
        typed: What was typed.
        known: The names that there are.

    Returns:
        Three or fewer, the most alike first; upper and lower case are alike.
    """
    as_spelt = {name.lower(): name for name in known}
    alike = difflib.get_close_matches(typed.lower(), as_spelt, n=_NAMED, cutoff=_ALIKE)
    return [as_spelt[name] for name in alike]


def suggestion_of(error: BaseException) -> str:
    """What to append to the line of an error that names something unknown.

    Args:
        error: Any error; one that has `asked`, and `known` (name -> what to type), is about a name.

    Returns:
        `; did you mean A or B?`, or nothing.
    """
    asked, known = getattr(error, "asked", ""), getattr(error, "known", {})
    if not asked or not isinstance(known, Mapping):
        return ""
    meant = list(dict.fromkeys(str(known[name]) for name in close_names(asked, known)))
    return f"; did you mean {' or '.join(meant)}?" if meant else ""
