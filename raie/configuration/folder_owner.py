"""Whose workspace a command may use that nobody named: a raie.toml says where data goes and which Python runs.

One that lies in a folder above was not chosen by anybody. In /tmp or on a shared disk it may be somebody's trap. It is
trusted as git trusts a .git there: where it belongs to the user, or to whoever called sudo.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from raie.errors import WorkspaceError

__all__ = ["TRUSTED", "is_own", "require_trusted"]

TRUSTED = "RAIE_TRUST_WORKSPACE"
_ROOT = 0


def is_own(file: Path) -> bool:
    """Whether a file, and the link where it is one, belongs to the user or to whoever called sudo."""
    return _owners(file) <= _users(os.environ)


def require_trusted(file: Path, *, here: bool) -> None:
    """Raises: WorkspaceError for a raie.toml of another user that nobody named.

    Args:
        file: the raie.toml that was found.
        here: whether it lies in the current folder, where its administrator's is trusted too.
    """
    trusted = _users(os.environ) | ({_ROOT} if here else set())
    if _owners(file) <= trusted or _is_named(file.parent, os.environ.get(TRUSTED, "")):
        return
    (owner, *_) = sorted(_owners(file) - trusted)
    raise WorkspaceError(
        f"expected a workspace of your own, found that {file} belongs to another user (uid {owner}): run raie with "
        f"--workspace {file.parent}, or set {TRUSTED} to that folder, if you trust them with your data"
    )


def _users(environment: Mapping[str, str]) -> set[int]:
    """The user ids whose files count as the user's own; none where the system has no users."""
    if not hasattr(os, "geteuid"):
        return set()
    user = os.geteuid()
    called = environment.get("SUDO_UID", "")
    return {user, int(called)} if user == _ROOT and called.isascii() and called.isdecimal() else {user}


def _owners(file: Path) -> set[int]:
    return {file.lstat().st_uid, file.stat().st_uid} if hasattr(os, "geteuid") else set()


def _is_named(folder: Path, setting: str) -> bool:
    """Whether RAIE_TRUST_WORKSPACE, folders separated as in PATH or a star for all, names this one."""
    return any(part == "*" or _same(Path(part), folder) for part in _parts(setting))


def _parts(setting: str) -> Iterable[str]:
    return (part for part in setting.split(os.pathsep) if part)


def _same(named: Path, folder: Path) -> bool:
    return named.expanduser().resolve() == folder.resolve()
