"""Who acts: the name that the history keeps."""

from __future__ import annotations

import getpass
import os

__all__ = ["actor"]


def actor() -> str:
    """Who acts: RAIE_ACTOR, or else the user of the operating system."""
    if named := os.environ.get("RAIE_ACTOR", "").strip():
        return named
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a user id that no passwd entry names.
        return f"uid {os.getuid()}"
