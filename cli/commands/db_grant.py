"""`raie db grant`: who may do what, in PostgreSQL and in S3."""

from __future__ import annotations

import json

import click

from raie.actor import actor
from raie.cli.ui.chain_head import publishes_end
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
@publishes_end
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
    from raie.registry.access.iam import iam_policies
    from raie.registry.access.postgres_roles import ROLES, grant, statements

    if what == "sql":
        for statement in statements(prefix):
            say(f"{statement};")
    elif what == "s3":
        say(json.dumps(iam_policies(workspace.store, _prefix(workspace)), indent=2))
    else:
        registry = workspace.registry()
        registry.require_writable(store_needed=False)
        for name, about in zip(grant(registry.engine, prefix, actor=actor()), ROLES.values(), strict=True):
            say(f"{accent(name, 'green')}  {faint(about)}")


def _prefix(workspace: Workspace) -> str:
    """Where below the store's URL the registry's objects lie."""
    return workspace.registry().store.scope
