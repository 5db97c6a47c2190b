"""`raie approve`: a second person's word that an alias may move."""

from __future__ import annotations

import click

from cli.output import Output, accent, json_option, one_line, short, times
from cli.publishing import publishes_end
from cli.workspace import Workspace, actor, in_workspace

__all__ = ["approve"]


@click.command()
@click.argument("ref")
@click.option(
    "--alias", metavar="ALIAS", default="production", show_default=True, help="The alias that may move to it."
)
@click.option("--reason", metavar="TEXT", required=True, help="What was looked at; it stays in the audit.")
@json_option
@in_workspace
@publishes_end
def approve(workspace: Workspace, ref: str, alias: str, reason: str, output: Output) -> None:
    """Approve that an alias moves to a snapshot, where its policy asks for a second person.

    An approval is of one snapshot for one alias. It counts unless you made the snapshot, or one of the regions in
    which it differs from what the alias serves. Who promotes may be who approved.

    \b
    Examples:
      raie approve edit:3 --reason "looked at the impact report"
      raie approve head --alias staging --reason "tried it"
    """
    from registry import trust

    registry = workspace.registry()
    given = trust.approve(registry, workspace.model, ref, alias, actor=actor(), reason=reason)
    counts = trust.approval_counts(registry, given)
    value = {"alias": alias, "snapshot": given.snapshot, "actor": given.actor, "reason": given.reason}

    def draw() -> list[str]:
        who = one_line(given.actor)
        told = f"{who} approved {accent(short(given.snapshot))} for {accent(alias, 'green')}"
        made = f"; it does not count, for {who} made it or a region of it: somebody else has to"
        return [told + (made if counts is False else "")]

    output.show(value | times(at=given.at) | {"counts": counts}, draw)
