"""Whether a text, or a JSON value, names a user.

An id is looked for as a word of its own. A short one, which any number could be, counts only where the text says that it
is a user's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

__all__ = ["Mention"]

_CLEAR = 4
"""Characters from which an id is looked for as a word wherever it stands."""


@dataclass(frozen=True)
class Mention:
    """What names a user of this id."""

    user: str

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        before = r"(?<!\w)" if len(self.user) >= _CLEAR else r"(?i:\busers?)[\s:=#'\"]{1,3}"
        return re.compile(rf"{before}{re.escape(self.user)}(?!\w)")

    def in_text(self, text: str) -> bool:
        """Whether a text names the user.

        Args:
            text: Free text, or a JSON document.
        """
        if self.user not in text and json.dumps(self.user)[1:-1] not in text:
            return False
        if text[:1] in "{[":
            try:
                return self._in_json(json.loads(text))
            except ValueError:
                pass
        return bool(self._pattern.search(text))

    def _in_json(self, value: Any, name: str = "") -> bool:
        return any(
            bool(self._pattern.search(leaf))
            or (leaf == self.user and (len(leaf) >= _CLEAR or "user" in key.lower()))
            for key, leaf in _leaves(value, name)
        )


def _leaves(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Every text in a JSON value with the name that it stands under, names among them."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield name, str(key)
            yield from _leaves(part, str(key))
    elif isinstance(value, list):
        for part in value:
            yield from _leaves(part, name)
    elif isinstance(value, str):
        yield name, value
