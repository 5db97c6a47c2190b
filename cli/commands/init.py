"""`raie init`: a folder becomes a workspace."""

from __future__ import annotations

import os
from pathlib import Path

import click

from raie.cli.commands.registry import claim_or_refuse
from raie.cli.commands.verify import bring_up_to_date
from raie.cli.ui.chain_head import publish_end
from raie.cli.ui.output import faint, say
from raie.errors import UsageError
from raie.output_files import require_free, whole_file
from raie.workspace import ENVIRONMENT, FILE_NAME, Workspace, draft, parse, read, without_password

__all__ = ["init"]


@click.command()
@click.option(
    "--database", metavar="URL", help="sqlite:///FILE or postgresql://USER@HOST/NAME, without a password."
)
@click.option("--store", metavar="URL", help="A folder or s3://NAME/PREFIX.")
@click.option("--model", metavar="NAME", help="The model's name in the registry (recsys).")
@click.pass_obj
def init(start: Path | None, database: str | None, store: str | None, model: str | None) -> None:
    """Make a workspace: raie.toml, a database and a blob store.

    Without options everything lies in .raie/ beside raie.toml: an SQLite file and a folder. In a folder that has a
    raie.toml already, as after a clone, this makes what the file names and changes nothing that is there. Unless the
    registry has a model by then, whether the store keeps, lists and deletes what it is given is tried once.

    \b
    Examples:
      raie init
      raie --workspace shop init
      raie init --database postgresql://ada@db.example.org/raie --store s3://models/raie
    """
    from raie.registry.db.shown_url import shown

    file = (start or Path.cwd()) / FILE_NAME
    chosen = {"database": database, "store": store, "model": model}
    if file.exists():
        _refuse_options(file, chosen)
        workspace = read(file)
        revision = _make(workspace)
    else:
        require_free(file, replace=False)
        text = draft(**_with_environment(chosen))
        workspace = parse(text, file)
        revision = _make(workspace)
        # Written last: a database that cannot be reached leaves no half-made workspace behind.
        with whole_file(file, replace=False) as stream:
            stream.write(text.encode())
    # After the file: whoever is refused here needs the workspace for the way out.
    claim_or_refuse(workspace)
    publish_end(workspace)
    say(f"workspace  {workspace.folder}")
    say(f"model      {workspace.model}")
    say(f"database   {shown(without_password(workspace.database))}  {faint(f'revision {revision}')}")
    say(f"store      {shown(workspace.store)}")
    say("next       raie setup LOG")


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


def _make(workspace: Workspace) -> str | None:
    """Make the database and the store; return the database's revision."""
    workspace.require_drivers()
    own = workspace.folder / ".raie"
    if not own.exists():
        own.mkdir(parents=True)
        # What lies here is data, not source: a `git add .` beside it must not take it.
        (own / ".gitignore").write_text("*\n", encoding="utf-8")
    revision = bring_up_to_date(workspace)
    registry = workspace.registry()
    # Whoever may only read clones the workspace of a model that is there, and could not put anything.
    if not registry.models():
        registry.store.probe()
    return revision
