"""`raie status`: where a model stands, on one screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.output import Output, accent, faint, iso, json_option, one_line, short, times, when
from raie.cli.ui.records import edit_json, state_word
from raie.cli.ui.workspace_option import in_workspace
from raie.registry.states import EditState
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.alias_target import AliasTarget
    from raie.registry import Edit
    from raie.status import HeadStatus, Status

__all__ = ["status"]


@click.command()
@json_option
@in_workspace
def status(workspace: Workspace, output: Output) -> None:
    """Show the state of the model: its head and what it learned from, what aliases serve, and unfinished edits.

    The database and one blob are read, so it also shows whether both answer. Times are UTC.

    \b
    Examples:
      raie status
      raie status --json
    """
    from raie import status as reading

    state = reading.status(workspace)
    output.show(_json(state), lambda: _lines(state))


def _json(state: Status) -> dict[str, Any]:
    return {
        "model": state.model,
        "database": state.database,
        "store": state.store,
        "head": None if state.head is None else _head_json(state.head),
        "aliases": [_alias_json(state, target) for target in state.aliases],
        "open_edits": [edit_json(edit) for edit in state.open_edits],
    }


def _head_json(head: HeadStatus) -> dict[str, Any]:
    edit = {
        key: value for key, value in edit_json(head.edit).items() if key in ("edit", "kind", "actor", "reason")
    }
    return {
        "id": head.snapshot.id,
        **edit,
        "regions": len(head.snapshot.content.regions),
        "learnt_until": None if head.learned_until is None else iso(head.learned_until),
        **times(created_at=head.snapshot.created_at),
    }


def _alias_json(state: Status, target: AliasTarget) -> dict[str, Any]:
    return {
        "alias": target.alias.name,
        "snapshot": target.alias.snapshot,
        "edit": target.edit,
        "is_head": state.is_head(target),
        **times(moved_at=target.alias.moved_at),
    }


def _lines(state: Status) -> list[str]:
    rows = [("model", accent(one_line(state.model))), ("database", state.database), ("store", state.store)]
    if state.head is None:
        rows.append(("head", "none; `raie setup LOG` makes the first one"))
    else:
        rows += _head_rows(state.head)
    rows += [("alias", _alias_line(state, target)) for target in state.aliases]
    rows += [("open", _open_line(edit)) for edit in state.open_edits]
    return [f"{label:<8}  {text}" for label, text in rows]


def _head_rows(head: HeadStatus) -> list[tuple[str, str]]:
    snapshot, edit = head.snapshot, head.edit
    why = f" · {one_line(edit.reason)}" if edit.reason else ""
    made = f"{when(snapshot.created_at)}  {one_line(edit.actor)}{why}"
    learned = "no rows" if head.learned_until is None else f"rows until {iso(head.learned_until)}"
    regions = len(snapshot.content.regions)
    return [
        ("head", f"{accent(short(snapshot.id))}  edit {edit.number}  {edit.kind}  {made}"),
        ("learned", f"{learned}, {regions} region{'s' * (regions != 1)}"),
    ]


def _alias_line(state: Status, target: AliasTarget) -> str:
    where = "the head" if state.is_head(target) else f"edit {target.edit}"
    since = faint(f"since {when(target.alias.moved_at)}")
    return f"{accent(one_line(target.alias.name))} → {short(target.alias.snapshot)}  {where} {since}"


def _open_line(edit: Edit) -> str:
    way = f"; `raie edit resume {edit.number}` goes on" if edit.state == EditState.ABANDONED else ""
    since = faint(f"since {when(edit.created_at)}")
    return f"edit {edit.number} of {one_line(edit.actor)} is {state_word(edit.state)} {since}{way}"
