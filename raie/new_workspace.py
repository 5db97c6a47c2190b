"""A folder becomes a workspace: raie.toml, a database at this program's schema, and a store of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from raie import migrations
from raie.actor import actor
from raie.callbacks import OnNote, ignore_notes
from raie.chain_head import publish_chain_head
from raie.errors import UsageError
from raie.output_files import require_free, whole_file
from raie.registry.access import schema_rights
from raie.registry.db.engine import missing_file, open_engine
from raie.registry.maintenance.upgrade_event import append_upgrade
from raie.registry.ownership import standing
from raie.workspace import FILE_NAME, Workspace
from raie.workspace_file import ENVIRONMENT, draft, parse, read, without_password

__all__ = ["bring_up_to_date", "create_workspace", "schema_revision"]


def create_workspace(
    path: str | Path = ".",
    *,
    database: str | None = None,
    store: str | None = None,
    model: str | None = None,
    on_note: OnNote = ignore_notes,
) -> Workspace:
    """Make a workspace, as `raie init` does; in one that is there, make what its raie.toml names and is missing.

    Args:
        path: The folder; it is made where it is missing.
        database: An SQLAlchemy URL without a password; None for an SQLite file in the folder.
        store: A folder or an s3:// URL; None for a folder in the folder.
        model: The model's name in the registry; None for recsys.
        on_note: Called with each warning on the database's rights.

    Returns:
        The workspace, opened.

    Raises:
        UsageError: Options that contradict the raie.toml that is there, the environment, or hold a password.
        RegistryError: The database or the store refuses, or belongs to another registry.
    """
    file = Path(path) / FILE_NAME
    chosen = {"database": database, "store": store, "model": model}
    if file.exists():
        _refuse_options(file, chosen)
        workspace = read(file)
        _make(workspace, on_note)
    else:
        require_free(file, replace=False)
        text = draft(**_with_environment(chosen))
        workspace = parse(text, file)
        _make(workspace, on_note)
        # Written last: a database that cannot be reached leaves no half-made workspace behind.
        with whole_file(file, replace=False) as stream:
            stream.write(text.encode())
    # After the file: whoever is refused here needs the workspace for the way out.
    standing.require_collectable(workspace.registry())
    publish_chain_head(workspace)
    return workspace


def schema_revision(workspace: Workspace) -> str | None:
    """The revision of the database's schema; None for a database without one."""
    return migrations.current(workspace.database)


def bring_up_to_date(workspace: Workspace, on_note: OnNote = ignore_notes) -> str | None:
    """Bring the database to this program's schema, which the audit log records.

    Args:
        workspace: Whose database it is.
        on_note: Called with each warning on the database's rights.

    Returns:
        The revision.

    Raises:
        RegistryError: The database refuses, or holds tables that somebody else planted.
    """
    engine = open_engine(workspace.database)
    if missing_file(engine) is None:
        schema_rights.refuse_planted(engine)
    revision = migrations.upgrade(workspace.database, tell=partial(append_upgrade, actor=actor()))
    for warning in schema_rights.warnings_of(engine):
        on_note(warning)
    return revision


def _refuse_options(file: Path, chosen: Mapping[str, str | None]) -> None:
    given = [f"--{key}" for key, value in chosen.items() if value is not None]
    if given:
        raise UsageError(
            f"{file} exists already: change it there, or run `raie init` without {' and '.join(given)}"
        )


def _with_environment(chosen: Mapping[str, str | None]) -> dict[str, str | None]:
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


def _make(workspace: Workspace, on_note: OnNote) -> None:
    """Make the database and the store."""
    own = workspace.folder / ".raie"
    if not own.exists():
        own.mkdir(parents=True)
        # What lies here is data, not source: a `git add .` beside it must not take it.
        (own / ".gitignore").write_text("*\n", encoding="utf-8")
    bring_up_to_date(workspace, on_note)
    registry = workspace.registry()
    # Whoever may only read clones the workspace of a model that is there, and could not put anything.
    if not registry.models():
        registry.store.probe()
