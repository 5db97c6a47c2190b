"""`raie note` and `raie tag`: what people write on a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.output import Output, accent, json_option, one_line, short, times
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.edits.notes import Annotation

__all__ = ["note", "tag"]


@click.command()
@click.argument("ref")
@click.argument("text")
@json_option
@in_workspace
def note(workspace: Workspace, ref: str, text: str, output: Output) -> None:
    """Add a note to a snapshot. It is recorded in the audit log, and never changed or removed.

    REF is head, an alias, edit:N or N, or the first characters of a snapshot's id. `raie show` has every note, `raie log`
    the newest one of each snapshot.

    \b
    Examples:
      raie note production "clicks fell by 2 % on Tuesday"
      raie note edit:3 "the catalogue had doubles; see ticket 114"
    """
    from raie.edits import notes

    written = notes.note(workspace, ref, text)
    output.show(_json(written), lambda: [f"note on {accent(short(written.snapshot))}: {one_line(written.reason)}"])


@click.command()
@click.argument("ref")
@click.argument("name")
@click.option("--remove", is_flag=True, help="Remove the tag. That the snapshot had it stays recorded.")
@click.option("--reason", metavar="TEXT", default="", help="Why. Recorded in the audit log.")
@json_option
@in_workspace
def tag(workspace: Workspace, ref: str, name: str, remove: bool, reason: str, output: Output) -> None:
    """Tag a snapshot. A tag is a label: several snapshots may have it, and no command takes it for a snapshot.

    REF is head, an alias, edit:N or N, or the first characters of a snapshot's id. `raie log`, `raie show` and
    `raie status` show the tags.

    \b
    Examples:
      raie tag head black-friday --reason "frozen for the sale"
      raie tag edit:3 reviewed
      raie tag edit:3 reviewed --remove
    """
    from raie.edits import notes

    call = notes.untag if remove else notes.tag
    written = call(workspace, ref, name, reason=reason)
    what = "no longer tagged" if remove else "tagged"
    output.show(_json(written), lambda: [f"{accent(short(written.snapshot))} is {what} {one_line(name)}"])


def _json(written: Annotation) -> dict[str, Any]:
    return {
        "snapshot": written.snapshot,
        "action": written.action,
        "tag": written.tag,
        "actor": written.actor,
        "reason": written.reason,
        **times(at=written.at),
    }
