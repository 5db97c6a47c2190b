"""Who acts: the name that the history keeps."""

from __future__ import annotations

import getpass
import os

from raie.configuration.settings import Origin, Setting

__all__ = ["actor", "actor_setting"]

_VARIABLE = "RAIE_ACTOR"


def actor() -> str:
    """Who acts: RAIE_ACTOR, or else the user of the operating system."""
    name: str = actor_setting().value
    return name


def actor_setting() -> Setting:
    """Who acts, and whether the environment names them; a name of blanks counts as none."""
    if named := os.environ.get(_VARIABLE, "").strip():
        return Setting(named, Origin.ENVIRONMENT, _VARIABLE)
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a user id that no passwd entry names.
        user = f"uid {os.getuid()}"
    return Setting(user, Origin.BUILT_IN, "user of the system")
