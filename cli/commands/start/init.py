"""`raie init`: a folder becomes a workspace."""

from __future__ import annotations

from pathlib import Path

import click

from raie.cli.ui.output import accent, faint, say

__all__ = ["init"]


@click.command()
@click.option(
    "--database", metavar="URL", help="sqlite:///FILE or postgresql://USER@HOST/NAME, without a password."
)
@click.option("--store", metavar="URL", help="A folder or s3://NAME/PREFIX.")
@click.option("--model", metavar="NAME", help="The model's name in the registry.  [recsys]")
@click.pass_obj
def init(start: Path | None, database: str | None, store: str | None, model: str | None) -> None:
    """Make a workspace: raie.toml, a database and a blob store.

    Without options everything is in .raie/ beside raie.toml: an SQLite file and a folder. If the folder has a raie.toml,
    as after a clone, what the file names is created and nothing existing is changed. If the registry has no model yet,
    the store is probed once: it must keep, list and delete an object.

    \b
    Examples:
      raie init
      raie --workspace shop init
      raie init --database postgresql://ada@db.example.org/raie --store s3://models/raie
    """
    from raie import new_workspace

    made = new_workspace.create(start or Path.cwd(), database=database, store=store, model=model, on_warning=_warn)
    say(f"workspace  {made.workspace.folder}")
    say(f"model      {made.workspace.model}")
    say(f"database   {made.database}  {faint(f'revision {made.revision}')}")
    say(f"store      {made.store}")
    say("next       raie setup LOG")


def _warn(warning: str) -> None:
    say(f"{accent('note', 'yellow')}  {warning}", err=True)
