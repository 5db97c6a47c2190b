"""`raie alias delete` and `raie alias rename`: which names there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from raie.cli.ui.output import Output, accent, json_option, short
from raie.cli.ui.records import move_json, step
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.registry import AliasMove

__all__ = ["delete", "rename"]

_reason_option = click.option("--reason", metavar="TEXT", required=True, help="Why. Recorded in the history.")
_override_option = click.option("--override", is_flag=True, help="Override the alias's policy, if that allows it.")


@click.command()
@click.argument("alias")
@_reason_option
@_override_option
@json_option
@in_workspace
def delete(workspace: Workspace, alias: str, reason: str, override: bool, output: Output) -> None:
    """Delete an alias.

    Its moves stay recorded, and so do its policy and the snapshot that it pointed at: `raie promote` makes it again. A
    server that follows it goes on with the snapshot that it has loaded, and reports that the alias is gone. A protected
    alias is refused (exit code 1). `raie mlflow sync` deletes the alias in MLflow too.

    \b
    Examples:
      raie alias delete staging --reason "the trial is over"
      raie alias delete candidate --reason "never used" --json
    """
    from raie import promotion

    move = promotion.delete_alias(workspace, alias, reason=reason, override=override)
    output.show(move_json(move), lambda: _deleted_lines(move))


def _deleted_lines(move: AliasMove) -> list[str]:
    again = f"`raie promote {short(move.source)} --to {move.alias}` makes it again"
    return [f"{accent(move.alias, 'green')} deleted, it pointed at {short(move.source)}; {again}"]


@click.command()
@click.argument("old")
@click.argument("new")
@_reason_option
@_override_option
@json_option
@in_workspace
def rename(workspace: Workspace, old: str, new: str, reason: str, override: bool, output: Output) -> None:
    """Rename an alias.

    NEW begins where OLD points, and OLD is deleted, in one transaction. The recorded moves and the policy of OLD stay
    with that name. A server that follows OLD goes on with the snapshot that it has loaded: start it again with NEW. A
    protected alias is refused (exit code 1), and so is a NEW that exists (exit code 4).

    \b
    Examples:
      raie alias rename staging candidate --reason "one name in every team"
      raie alias rename staging candidate --reason "one name in every team" --json
    """
    from raie import promotion

    move = promotion.rename_alias(workspace, old, new, reason=reason, override=override)
    value = move_json(move) | {"renamed_from": old}
    output.show(value, lambda: [f"{accent(move.alias, 'green')} {step(move.source, move.target)}, was {old}"])
