"""`raie approve`: the approval of a promotion by a second person, and its withdrawal."""

from __future__ import annotations

import click

from raie.actor import actor
from raie.cli.ui.chain_head import publishes_end
from raie.cli.ui.output import Output, accent, json_option, one_line, short, times
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

__all__ = ["approve"]


@click.command()
@click.argument("ref")
@click.option(
    "--alias", metavar="ALIAS", default="production", show_default=True, help="The alias to promote it to."
)
@click.option("--reason", metavar="TEXT", required=True, help="What you reviewed. Recorded in the audit log.")
@click.option("--withdraw", is_flag=True, help="Withdraw your approval. It stays recorded and no longer counts.")
@json_option
@in_workspace
@publishes_end
def approve(workspace: Workspace, ref: str, alias: str, reason: str, withdraw: bool, output: Output) -> None:
    """Approve the promotion of a snapshot, where the alias's policy requires a second person.

    An approval is for one snapshot and one alias. It does not count if you made the snapshot, or one of the regions in
    which it differs from what the alias serves. The person who approved may also promote. Names that differ only in
    case, spaces or compatible characters are one person's.

    \b
    Examples:
      raie approve edit:3 --reason "looked at the impact report"
      raie approve head --alias staging --reason "tried it"
      raie approve edit:3 --withdraw --reason "the log was wrong"
    """
    from raie.registry import trust

    registry = workspace.registry()
    step = trust.withdraw if withdraw else trust.approve
    given = step(registry, workspace.model, ref, alias, actor=actor(), reason=reason)
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
