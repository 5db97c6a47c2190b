"""`raie models`: the models that one registry keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.output import Output, accent, json_option, one_line, short, table, times, when
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.status import ModelSummary

__all__ = ["list_models"]


@click.command("models")
@json_option
@in_workspace
def list_models(workspace: Workspace, output: Output) -> None:
    """List the models of the registry.

    Each has a history, aliases and policies of its own. A star marks the model of the workspace: raie --model NAME runs a
    command on another one.

    \b
    Examples:
      raie models
      raie --model books log
    """
    from raie import status

    summaries = status.models(workspace)
    output.show({"models": [_json(summary) for summary in summaries]}, lambda: _lines(workspace, summaries))


def _json(summary: ModelSummary) -> dict[str, Any]:
    head = summary.head
    return {
        "model": summary.name,
        "chosen": summary.chosen,
        "head": None if head is None else head.id,
        **times(head_at=None if head is None else head.created_at),
        "edits": summary.edits,
        "aliases": list(summary.aliases),
    }


def _lines(workspace: Workspace, summaries: Sequence[ModelSummary]) -> list[str]:
    rows = [
        [
            f"{'*' if s.chosen else ' '} {accent(one_line(s.name)) if s.chosen else one_line(s.name)}",
            "-" if s.head is None else short(s.head.id),
            "-" if s.head is None else when(s.head.created_at),
            s.edits,
            ", ".join(map(one_line, s.aliases)) or "-",
        ]
        for s in summaries
    ]
    lines = table(["  model", "head", "since (UTC)", "edits", "aliases"], rows, right=[3]) if rows else []
    missing = not any(summary.chosen for summary in summaries)
    note = [f"no model {one_line(workspace.model)} yet; `raie setup LOG` makes it"] if missing else []
    return [*lines, *note]
