"""`raie log`: the history of a model as a tree, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from cli.output import Output, accent, faint, json_option, one_line, short, when
from cli.records import change_json, changes_line, edit_json, names, snapshot_json
from cli.tree import Row, graph
from cli.workspace import Workspace, in_workspace

if TYPE_CHECKING:
    from registry.lineage import Entry

__all__ = ["log"]


@click.command()
@click.option("--limit", "-n", type=click.IntRange(min=1), help="Show the newest so many.")
@json_option
@in_workspace
def log(workspace: Workspace, limit: int | None, output: Output) -> None:
    """Draw the history of snapshots as a tree, newest first.

    The first lane is the head and what it came from; a snapshot that was composed for an alias stands beside it.
    Times are UTC.

    \b
    Examples:
      raie log
      raie log -n 10
      raie log --json
    """
    from registry import lineage

    registry, model = workspace.registry(), workspace.model
    found = registry.head(model)
    head = None if found is None else found.id
    # One more than is shown tells whether there is more.
    entries = lineage.history(registry, model, None if limit is None else limit + 1) if registry.models() else []
    shown = entries[:limit]
    value = {"model": model, "head": head, "snapshots": [_entry_json(entry) for entry in shown]}
    output.show(value, lambda: _draw(shown, head, more=len(entries) > len(shown)))


def _entry_json(entry: Entry) -> dict[str, Any]:
    edit = edit_json(entry.edit)
    about = {key: edit[key] for key in ("kind", "actor", "reason", "data_digest")}
    return snapshot_json(entry.snapshot) | {
        **about,
        "is_head": entry.is_head,
        "aliases": sorted(entry.aliases),
        "changes": [change_json(operation) for operation in entry.operations],
    }


def _draw(entries: Sequence[Entry], head: str | None, *, more: bool) -> list[str]:
    if not entries:
        return ["no snapshot yet; `raie setup LOG` makes the first one"]
    rows = graph([(entry.snapshot.id, entry.snapshot.parent) for entry in entries], head)
    lanes = max(len(row.node) for row in rows)
    widths = _widths(entries)
    lines = []
    for entry, row in zip(entries, rows, strict=True):
        lines += _entry_lines(entry, row, lanes, widths)
    return [*lines, faint("older snapshots follow: raise --limit")] if more else lines


def _cells(entry: Entry) -> list[str]:
    edit = entry.edit
    who = one_line(edit.actor)
    return [short(entry.snapshot.id), f"edit {edit.number}", edit.kind, when(entry.snapshot.created_at), who]


def _widths(entries: Sequence[Entry]) -> list[int]:
    return [max(map(len, column)) for column in zip(*map(_cells, entries), strict=True)]


def _entry_lines(entry: Entry, row: Row, lanes: int, widths: Sequence[int]) -> list[str]:
    """One line of who and when with where it is pointed at from, and one of what and why below it."""
    cells = [cell.ljust(width) for cell, width in zip(_cells(entry), widths, strict=True)]
    cells[0] = accent(cells[0])
    pointed = names(entry.aliases, is_head=entry.is_head)
    lines = [row.joins] if row.joins else []
    lines.append(f"{row.node.ljust(lanes)}  {'  '.join([*cells, pointed])}".rstrip())
    what = [text for text in (changes_line(entry.operations), one_line(entry.edit.reason)) if text]
    indent = " " * (len(short(entry.snapshot.id)) + 2)
    lines.append(f"{row.below.ljust(lanes)}  {indent}{faint(' · ').join(what)}".rstrip())
    return lines
