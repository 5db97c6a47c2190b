"""Who did something, and why: what every operation that is recorded carries."""

from __future__ import annotations

from dataclasses import dataclass

from raie.registry.errors import InvalidValue
from raie.registry.values import check_name

__all__ = ["Author"]


@dataclass(frozen=True)
class Author:
    """Who does something, and why.

    Args:
        name: of a person or a program, 1 to 200 printable characters; the audit log calls it the actor.
        reason: in their own words; may be empty.

    Raises:
        InvalidValue: for a name or a reason that cannot be stored.
    """

    name: str
    reason: str = ""

    def __post_init__(self) -> None:
        check_name(self.name, "actor")
        if not isinstance(self.reason, str) or "\0" in self.reason or not _encodes(self.reason):
            raise InvalidValue("Expected a reason as text, found characters that have no UTF-8 form")


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
