"""`raie approve`: the approval of a promotion by a second person, and its withdrawal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from raie.cli.ui.output import Output, accent, json_option, one_line, short, times
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.promotion import GivenApproval

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
    from raie import promotion

    call = promotion.withdraw if withdraw else promotion.approve
    given = call(workspace, ref, alias=alias, reason=reason)
    approval = given.approval
    value = {
        "alias": alias,
        "snapshot": approval.snapshot,
        "actor": approval.actor,
        "reason": approval.reason,
        **times(at=approval.at),
        "counts": given.counts,
        "withdrawn": approval.withdrawn,
        "look_alikes": list(given.look_alikes),
    }
    output.show(value, lambda: [_line(given)])
    for name in given.look_alikes:
        click.echo(
            f"note: {approval.actor!a} looks like {name!a}, and is another name: is it another person?",
            err=True,
        )


def _line(given: GivenApproval) -> str:
    approval, who = given.approval, one_line(given.approval.actor)
    what = f"{accent(short(approval.snapshot))} for {accent(approval.alias, 'green')}"
    if approval.withdrawn:
        return f"{who} withdrew the approval of {what}"
    own = f"; it does not count, for {who} made it or a region of it: somebody else has to"
    return f"{who} approved {what}" + (own if given.counts is False else "")
