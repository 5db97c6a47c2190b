"""Who did something, and why: what every operation that is recorded carries."""

from __future__ import annotations

from raie.registry.errors import InvalidValue
from raie.registry.values import check_name

__all__ = ["check_author"]


def check_author(actor: str, reason: str) -> None:
    """Raises InvalidValue for an actor or a reason that cannot be stored."""
    check_name(actor, "actor")
    if not isinstance(reason, str) or "\0" in reason or not _encodes(reason):
        raise InvalidValue("Expected a reason as text, found characters that have no UTF-8 form")


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
