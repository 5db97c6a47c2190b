"""`raie approve`: a second person's word that an alias may move, and how it is taken back."""

from __future__ import annotations

import click

from raie.cli.ui.chain_head import publishes_end
from raie.cli.ui.output import Output, accent, json_option, one_line, short, times
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace, actor

__all__ = ["approve"]


@click.command()
@click.argument("ref")
@click.option(
    "--alias", metavar="ALIAS", default="production", show_default=True, help="The alias that may move to it."
)
@click.option("--reason", metavar="TEXT", required=True, help="What was looked at; it stays in the audit.")
@click.option(
    "--withdraw", is_flag=True, help="Take your own approval back; it stays on record and counts no more."
)
@json_option
@in_workspace
@publishes_end
def approve(workspace: Workspace, ref: str, alias: str, reason: str, withdraw: bool, output: Output) -> None:
    """Approve that an alias moves to a snapshot, where its policy asks for a second person.

    An approval is of one snapshot for one alias. It counts unless you made the snapshot, or one of the regions in
    which it differs from what the alias serves. Who promotes may be who approved. Names are one person's where only case,
    spaces or compatible characters differ.

    \b
    Examples:
      raie approve edit:3 --reason "looked at the impact report"
      raie approve head --alias staging --reason "tried it"
      raie approve edit:3 --withdraw --reason "the log was wrong"
    """
    from raie.registry import Author, trust

    registry = workspace.registry()
    step = trust.withdraw if withdraw else trust.approve
    given = step(registry, workspace.model, ref, alias, author=Author(actor(), reason))
    counts = False if given.withdrawn else trust.approval_counts(registry, given)
    alike = trust.look_alikes(registry, given)
    value = {"alias": alias, "snapshot": given.snapshot, "actor": given.actor, "reason": given.reason}

    def draw() -> list[str]:
        who, what = one_line(given.actor), f"{accent(short(given.snapshot))} for {accent(alias, 'green')}"
        if given.withdrawn:
            return [f"{who} withdrew the approval of {what}"]
        made = f"; it does not count, for {who} made it or a region of it: somebody else has to"
        return [f"{who} approved {what}" + (made if counts is False else "")]

    said = {"counts": counts, "withdrawn": given.withdrawn, "look_alikes": alike}
    output.show(value | times(at=given.at) | said, draw)
    for name in alike:
        click.echo(
            f"note: {given.actor!a} looks like {name!a}, and is another name: is it another person?",
            err=True,
        )
