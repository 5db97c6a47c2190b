"""`raie log`: the history of a model as a tree, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from cli.output import Output, accent, faint, json_option, one_line, short, when
from cli.records import change_json, changes_line, edit_json, names, snapshot_json, state_word
from cli.tree import Row, graph
from cli.workspace import Workspace, in_workspace

if TYPE_CHECKING:
    from registry import Edit
    from registry.lineage import Entry

__all__ = ["log"]

_NOTHING = "no snapshot yet; `raie setup LOG` makes the first one"


@click.command()
@click.option("--limit", "-n", type=click.IntRange(min=1), help="Show the newest so many.")
@json_option
@in_workspace
def log(workspace: Workspace, limit: int | None, output: Output) -> None:
    """Draw the history of snapshots as a tree, newest first.

    The first lane is the head and what it came from; a snapshot that was composed for an alias stands beside it. One
    that expired is marked: `raie lineage REF` tells when, by whom and why. Times are UTC.

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
    if not registry.models():
        output.show({"model": model, "head": None, "open_edits": [], "snapshots": []}, lambda: [_NOTHING])
        return
    # One more than is shown tells whether there is more.
    entries = lineage.history(registry, model, None if limit is None else limit + 1)
    shown = entries[:limit]
    unfinished = [edit for edit in registry.edits(model) if edit.is_open]
    value = {
        "model": model,
        "head": head,
        "open_edits": [edit.number for edit in unfinished],
        "snapshots": [_entry_json(entry) for entry in shown],
    }
    more = [faint("older snapshots follow: raise --limit")] if len(entries) > len(shown) else []
    output.show(value, lambda: [*map(_open_line, unfinished), *_draw(shown, head), *more])


def _open_line(edit: Edit) -> str:
    """An edit that has no snapshot yet, and the way on where nobody works on it any more."""
    way = (
        f": raie edit resume {edit.number}, or raie edit abort {edit.number}" if edit.state == "abandoned" else ""
    )
    return f"edit {edit.number} of {one_line(edit.actor)} is {state_word(edit.state)}{way}"


def _entry_json(entry: Entry) -> dict[str, Any]:
    edit = edit_json(entry.edit)
    about = {key: edit[key] for key in ("kind", "actor", "reason", "data_digest")}
    return snapshot_json(entry.snapshot) | {
        **about,
        "is_head": entry.is_head,
        "aliases": sorted(entry.aliases),
        "changes": [change_json(operation) for operation in entry.operations],
    }


def _draw(entries: Sequence[Entry], head: str | None) -> list[str]:
    if not entries:
        return [_NOTHING]
    rows = graph([(entry.snapshot.id, entry.snapshot.parent) for entry in entries], head)
    lanes = max(len(row.node) for row in rows)
    widths = _widths(entries)
    drawn = (_entry_lines(entry, row, lanes, widths) for entry, row in zip(entries, rows, strict=True))
    return [line for lines in drawn for line in lines]


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
    if entry.snapshot.expired is not None:
        pointed = faint("expired")
    lines = [row.joins] if row.joins else []
    lines.append(f"{row.node.ljust(lanes)}  {'  '.join([*cells, pointed])}".rstrip())
    what = [text for text in (changes_line(entry.operations), one_line(entry.edit.reason)) if text]
    indent = " " * (len(short(entry.snapshot.id)) + 2)
    lines.append(f"{row.below.ljust(lanes)}  {indent}{faint(' · ').join(what)}".rstrip())
    return lines
