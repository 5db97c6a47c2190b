"""A folder becomes a workspace: raie.toml, a database and a blob store."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from raie.chain_head import publish_chain_head
from raie.configuration.database_url import without_password
from raie.errors import UsageError
from raie.extras import require
from raie.output_files import require_free, whole_file
from raie.registry.db.shown_url import shown
from raie.upkeep import claim, upgrade_schema
from raie.workspace import FILE_NAME, Workspace
from raie.workspace_file import ENVIRONMENT, draft, parse, read

__all__ = ["Created", "create"]


@dataclass(frozen=True)
class Created:
    """A workspace that is ready; database, store: where they are, without secrets; revision: of the schema."""

    workspace: Workspace
    database: str
    store: str
    revision: str | None


def create(
    folder: Path,
    *,
    database: str | None = None,
    store: str | None = None,
    model: str | None = None,
    on_warning: Callable[[str], None] = lambda _: None,
) -> Created:
    """Make a folder a workspace; of one that has a raie.toml, make what the file names.

    Args:
        folder: Where raie.toml is or will be.
        database: An SQLAlchemy URL without a password; an SQLite file in the workspace where there is none.
        store: A folder or an s3:// URL; a folder in the workspace where there is none.
        model: The model's name in the registry.
        on_warning: Called with each line on who else may put objects into the database's schema.

    Returns:
        The workspace.

    Raises:
        UsageError: raie.toml is there and something else is asked for, or the environment overrules it.
        NotOwner: The store is another registry's; the workspace is made, and can be read.
        DatabaseUnreachable, StoreUnreachable: There is no answer, and no workspace is made.
    """
    file = folder / FILE_NAME
    chosen = {"database": database, "store": store, "model": model}
    if file.exists():
        _refuse_options(file, chosen)
        workspace = read(file)
        revision = _make(workspace, on_warning)
    else:
        require_free(file, replace=False)
        text = draft(**_with_environment(chosen))
        workspace = parse(text, file)
        revision = _make(workspace, on_warning)
        # Written last: a database that cannot be reached leaves no half-made workspace behind.
        with whole_file(file, replace=False) as stream:
            stream.write(text.encode())
    # After the file: whoever is refused here needs the workspace for the way out.
    claim(workspace)
    publish_chain_head(workspace)
    return Created(workspace, shown(without_password(workspace.database)), shown(workspace.store), revision)


def _refuse_options(file: Path, chosen: dict[str, str | None]) -> None:
    given = [f"--{key}" for key, value in chosen.items() if value is not None]
    if given:
        raise UsageError(
            f"{file} exists already: change it there, or run `raie init` without {' and '.join(given)}"
        )


def _with_environment(chosen: dict[str, str | None]) -> dict[str, str | None]:
    """What the new raie.toml says: the options, else the environment without its password.

    Raises: UsageError for a password in --database, and for an option that a variable would silently overrule.
    """
    outer = {key: os.environ.get(variable) or None for key, variable in ENVIRONMENT.items()}
    for key, value in chosen.items():
        if value is not None and outer[key] not in (None, value):
            raise UsageError(f"{ENVIRONMENT[key]} is set and comes before --{key}: unset it, or leave --{key} out")
    _refuse_password(chosen["database"])
    if outer["database"] is not None:
        outer["database"] = without_password(outer["database"])
    return {key: value if value is not None else outer[key] for key, value in chosen.items()}


def _refuse_password(database: str | None) -> None:
    if database is not None and without_password(database) != database:
        raise UsageError(
            f"--database holds a password, and {FILE_NAME} is a file people commit and copy: leave it out of the "
            "URL and put it in PGPASSWORD or ~/.pgpass, or give the whole URL in RAIE_DATABASE_URL"
        )


def _require_drivers(workspace: Workspace) -> None:
    """Check that what the database and the store are reached with is installed; raises MissingExtra."""
    if workspace.database.startswith(("postgres://", "postgresql")):
        require("postgres")
    if workspace.store.startswith("s3://"):
        require("s3")


def _make(workspace: Workspace, on_warning: Callable[[str], None]) -> str | None:
    """Make the database and the store; return the database's revision."""
    _require_drivers(workspace)
    own = workspace.folder / ".raie"
    if not own.exists():
        own.mkdir(parents=True)
        # What lies here is data, not source: a `git add .` beside it must not take it.
        (own / ".gitignore").write_text("*\n", encoding="utf-8")
    revision, warnings = upgrade_schema(workspace)
    for warning in warnings:
        on_warning(warning)
    registry = workspace.registry()
    # Whoever may only read clones the workspace of a model that is there, and could not put anything.
    if not registry.models():
        registry.store.probe()
    return revision
