"""`raie db grant`: who may do what, in PostgreSQL and in S3."""

from __future__ import annotations

import json

import click

from raie.cli.ui.output import accent, faint, say
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

__all__ = ["grant"]


@click.command()
@click.option(
    "--prefix", metavar="NAME", default="raie", show_default=True, help="The roles are NAME_reader and so on."
)
@click.option(
    "--print",
    "what",
    type=click.Choice(["sql", "s3"]),
    help="Change nothing: print the SQL, or the IAM policies of the store as JSON.",
)
@in_workspace
def grant(workspace: Workspace, prefix: str, what: str | None) -> None:
    """Make the roles reader, editor, promoter and collector, each with the least rights that its work needs.

    Run it as the owner of the tables, and again after each `raie db upgrade`. Then give a role to a login:
    GRANT raie_editor TO ada. Policies and trusted keys stay the owner's. SQLite has no roles: whoever may write its
    file may change everything in it.

    \b
    Examples:
      raie db grant
      raie db grant --print sql > roles.sql
      raie db grant --print s3
    """
    from raie import upkeep

    if what == "sql":
        for statement in upkeep.grant_statements(prefix):
            say(f"{statement};")
    elif what == "s3":
        say(json.dumps(upkeep.store_policies(workspace), indent=2))
    else:
        for role in upkeep.grant(workspace, prefix):
            say(f"{accent(role.name, 'green')}  {faint(role.about)}")
