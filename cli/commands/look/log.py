"""`raie log`: the history of a model as a tree, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.limits import limit_option, older_follow
from raie.cli.ui.output import Output, accent, faint, json_option, one_line, short, times, when
from raie.cli.ui.records import (
    change_json,
    changes_line,
    expiry_json,
    names,
    state_word,
    tags_line,
    undid_line,
    undone_line,
)
from raie.cli.ui.tree import Row, graph
from raie.cli.ui.workspace_option import in_workspace
from raie.registry.states import EditState
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.history import Log, LogEntry
    from raie.registry import Edit

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
    from raie import history

    shown = history.log(workspace, limit=limit)
    output.show(_json(shown), lambda: _lines(shown))


def _json(log: Log) -> dict[str, Any]:
    return {
        "model": log.model,
        "head": log.head,
        "open_edits": [edit.number for edit in log.open_edits],
        "snapshots": [_entry_json(entry) for entry in log.entries],
        "more": log.more,
    }


def _open_line(edit: Edit) -> str:
    """An edit that has no snapshot yet, and the way on where nobody works on it any more."""
    way = (
        f": raie edit resume {edit.number}, or raie edit abort {edit.number}"
        if edit.state == EditState.ABANDONED
        else ""
    )
    return f"edit {edit.number} of {one_line(edit.actor)} is {state_word(edit.state)}{way}"


def _entry_json(entry: LogEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "parent": entry.parent,
        "edit": entry.edit,
        "content_digest": entry.content_digest,
        **times(created_at=entry.created_at),
        "expired": expiry_json(entry.expired),
        "kind": entry.kind,
        "actor": entry.actor,
        "reason": entry.reason,
        "data_digest": entry.data_digest,
        "is_head": entry.is_head,
        "aliases": list(entry.aliases),
        "changes": [change_json(operation) for operation in entry.operations],
        "undoes": list(entry.undoes),
        "undone_by": entry.undone_by,
        "tags": list(entry.tags),
        "note": entry.note or None,
    }


def _lines(log: Log) -> list[str]:
    tree = _tree(log.entries, log.head) if log.entries else [_NOTHING]
    return [*map(_open_line, log.open_edits), *tree, *older_follow("snapshots", more=log.more)]


def _tree(entries: Sequence[LogEntry], head: str | None) -> list[str]:
    rows = graph([(entry.id, entry.parent) for entry in entries], head)
    lanes = max(len(row.node) for row in rows)
    texts = [_entry_texts(entry) for entry in entries]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    lines = (
        _entry_lines(entry, shown, row, lanes, widths)
        for entry, shown, row in zip(entries, texts, rows, strict=True)
    )
    return [line for pair in lines for line in pair]


def _note(entry: LogEntry) -> str:
    return f"note: {one_line(entry.note)}" if entry.note else ""


def _entry_texts(entry: LogEntry) -> tuple[str, ...]:
    return short(entry.id), f"edit {entry.edit}", entry.kind, when(entry.created_at), one_line(entry.actor)


def _entry_lines(entry: LogEntry, texts: Sequence[str], row: Row, lanes: int, widths: Sequence[int]) -> list[str]:
    """One line of who and when with what points at it, and one of what and why below it."""
    columns = [text.ljust(width) for text, width in zip(texts, widths, strict=True)]
    indent = " " * (len(columns[0]) + 2)
    columns[0] = accent(columns[0])
    pointed = names(entry.aliases, is_head=entry.is_head) if entry.expired is None else faint("expired")
    parts = (changes_line(entry.operations), undid_line(entry.undoes), one_line(entry.reason), _note(entry))
    what = faint(" · ".join(filter(None, parts)))
    lines = [row.joins] if row.joins else []
    state = filter(None, (pointed, undone_line(entry.undone_by), tags_line(entry.tags)))
    lines.append(f"{row.node.ljust(lanes)}  {'  '.join([*columns, *state])}".rstrip())
    lines.append(f"{row.below.ljust(lanes)}  {indent}{what}".rstrip())
    return lines
