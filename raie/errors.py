"""Every error that `raie` itself raises on purpose; those of the registry and of the engine pass through it.

RaieError
├── ClusterUnreachable    the cluster that an executor uses does not answer
├── MissingExtra          a library that an extra brings is not installed
├── WorkspaceError        no raie.toml where one is needed, or one that cannot be read
└── UsageError            arguments that contradict each other or the workspace

A message is one line: what was expected, what was found and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ClusterUnreachable", "MissingExtra", "RaieError", "UsageError", "WorkspaceError"]


class RaieError(Exception):
    """The root of the errors of this package; its text is meant to be shown to a user as it is.

    Attributes:
        asked: A name that is unknown; "" where the error is about none.
        known: The names that there are -> what to type for each.
    """

    def __init__(self, message: str, asked: str = "", known: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.asked = asked
        self.known = dict(known or {})


class ClusterUnreachable(RaieError):
    """The cluster that was named does not answer, or its machines cannot run this version."""


class MissingExtra(RaieError):
    """A library that comes with an extra is not installed; the text says which extra to install."""


class WorkspaceError(RaieError):
    """There is no raie.toml where one is needed, or it cannot be read."""


class UsageError(RaieError):
    """Arguments that contradict each other or the workspace they are used in."""
