"""A database's URL as it may be written down."""

from __future__ import annotations

from raie.errors import UsageError

__all__ = ["without_password"]


def without_password(database: str) -> str:
    """The database URL as it may be written to a file: the same, with every password left out.

    Raises: UsageError for a text that is not a URL; it is not repeated, because it may hold a password.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    from raie.registry.db.shown_url import without_secrets

    try:
        make_url(database)
    except (ArgumentError, ValueError) as error:
        raise UsageError(
            "expected a database URL such as sqlite:///.raie/registry.db or postgresql://ada@db.example.org/raie, "
            "found a text that is not one"
        ) from error
    return without_secrets(database)
