"""The Python API of raie: a workspace joins the engine, which trains, and the registry, which keeps.

    import raie

    workspace = raie.open("shop")
    workspace.edit("log.csv", until="2024-05-30", reason="May")
    workspace.promote("head", reason="better on new windows")
    workspace["production"].recommend("log.csv", k=10)

Importing it costs nothing heavy: torch, pandas and mlflow are imported by what needs them. What goes wrong on purpose is
a `raie.errors.RaieError`, a `raie.registry.RegistryError` or a `raie.engine.errors.EngineError`, whose text is one line.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from raie.callbacks import OnNote, ignore_notes
from raie.workspace import Workspace
from raie.workspace_file import find

__all__ = ["Workspace", "__version__", "create", "open"]

__version__: str


def open(path: str | Path | None = None) -> Workspace:  # noqa: A001 (read as raie.open)
    """Open a workspace; nothing is connected to yet.

    Args:
        path: A folder with a raie.toml, or that file. None for the folder of RAIE_WORKSPACE, and without that for the
            nearest at or above the current folder.

    Raises:
        WorkspaceError: There is none, it cannot be read, or one that nobody named is another user's.
    """
    chosen = path or os.environ.get("RAIE_WORKSPACE")
    return find(Path(chosen) if chosen else None)


def create(
    path: str | Path = ".",
    *,
    database: str | None = None,
    store: str | None = None,
    model: str | None = None,
    on_warning: OnNote = ignore_notes,
) -> Workspace:
    """Make a workspace, as `raie init` does; in one that is there, make what its raie.toml names and is missing.

    Args:
        path: The folder; it is made where it is missing.
        database: An SQLAlchemy URL without a password; None for an SQLite file in the folder.
        store: A folder or an s3:// URL; None for a folder in the folder.
        model: The model's name in the registry; None for recsys.
        on_warning: Called with each line on who else may put objects into the database's schema.

    Returns:
        The workspace, opened.

    Raises:
        UsageError: Options that contradict the raie.toml that is there, the environment, or hold a password.
        RegistryError: The database or the store refuses, or belongs to another registry.
    """
    from raie import new_workspace

    made = new_workspace.create(Path(path), database=database, store=store, model=model, on_warning=on_warning)
    return made.workspace


if not TYPE_CHECKING:

    def __getattr__(name: str) -> str:
        """The version, looked up once it is asked for: that takes longer than importing everything here."""
        if name == "__version__":
            from importlib.metadata import version

            return version("raie")
        raise AttributeError(f"module 'raie' has no attribute {name!r}")
