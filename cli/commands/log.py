"""`raie log`: the history of a model as a tree, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.limits import limit_option, newest, older_follow
from raie.cli.ui.output import Output, accent, faint, json_option, one_line, short, when
from raie.cli.ui.records import change_json, changes_line, edit_json, names, snapshot_json, state_word
from raie.cli.ui.tree import Row, graph
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.registry import Edit
    from raie.registry.lineage import Entry

__all__ = ["log"]

_NOTHING = "no snapshot yet; `raie setup LOG` makes the first one"


@click.command()
@limit_option
@json_option
@in_workspace
def log(workspace: Workspace, limit: int, output: Output) -> None:
    """Show the history of snapshots as a tree, newest first.

    The first lane is the head and its ancestors. A snapshot with a cherry-picked region version has a lane beside it.
    Expired snapshots are marked: `raie lineage REF` shows when, by whom and why. Times are UTC.

    \b
    Examples:
      raie log
      raie log -n 10
      raie log --json
    """
    from raie.registry import lineage

    registry, model = workspace.registry(), workspace.model
    found = registry.head(model)
    head = None if found is None else found.id
    if not registry.models():
        nothing: dict[str, Any] = {"model": model, "head": None, "open_edits": [], "snapshots": [], "more": False}
        output.show(nothing, lambda: [_NOTHING])
        return
    # One more than is shown tells whether there is more. Of each entry only what is shown is kept.
    seen = [_Seen.of(entry) for entry in lineage.walk(registry, model, limit + 1)]
    shown, more = newest(seen, limit)
    unfinished = registry.edits(model, only_open=True)
    value = {
        "model": model,
        "head": head,
        "open_edits": [edit.number for edit in unfinished],
        "snapshots": [each.value for each in shown],
        "more": more,
    }
    left = older_follow("snapshots", more=more)
    output.show(value, lambda: [*map(_open_line, unfinished), *_draw(shown, head), *left])


@dataclass(frozen=True)
class _Seen:
    """What is shown of a snapshot: its cells, where it is pointed at from, what was done and why, and its JSON."""

    cells: tuple[str, ...]
    pointed: str
    what: str
    value: dict[str, Any]

    @staticmethod
    def of(entry: Entry) -> _Seen:
        edit, snapshot = entry.edit, entry.snapshot
        who = one_line(edit.actor)
        cells = (short(snapshot.id), f"edit {edit.number}", edit.kind, when(snapshot.created_at), who)
        pointed = names(entry.aliases, is_head=entry.is_head)
        what = [text for text in (changes_line(entry.operations), one_line(edit.reason)) if text]
        pointed = pointed if snapshot.expired is None else faint("expired")
        return _Seen(cells, pointed, faint(" · ").join(what), _entry_json(entry))


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


def _draw(entries: Sequence[_Seen], head: str | None) -> list[str]:
    if not entries:
        return [_NOTHING]
    rows = graph([(entry.value["id"], entry.value["parent"]) for entry in entries], head)
    lanes = max(len(row.node) for row in rows)
    widths = [max(map(len, column)) for column in zip(*(entry.cells for entry in entries), strict=True)]
    drawn = (_entry_lines(entry, row, lanes, widths) for entry, row in zip(entries, rows, strict=True))
    return [line for lines in drawn for line in lines]


def _entry_lines(entry: _Seen, row: Row, lanes: int, widths: Sequence[int]) -> list[str]:
    """One line of who and when with where it is pointed at from, and one of what and why below it."""
    cells = [cell.ljust(width) for cell, width in zip(entry.cells, widths, strict=True)]
    indent = " " * (len(entry.cells[0]) + 2)
    cells[0] = accent(cells[0])
    lines = [row.joins] if row.joins else []
    lines.append(f"{row.node.ljust(lanes)}  {'  '.join([*cells, entry.pointed])}".rstrip())
    lines.append(f"{row.below.ljust(lanes)}  {indent}{entry.what}".rstrip())
    return lines
