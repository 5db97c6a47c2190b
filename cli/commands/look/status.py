"""`raie status`: where a model stands, on one screen."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from raie.cli.errors import ATTENTION
from raie.cli.ui.output import Output, accent, faint, iso, json_option, one_line, short, times, when
from raie.cli.ui.records import edit_json, finding_line, state_word, tags_line
from raie.cli.ui.workspace_option import in_workspace
from raie.registry.states import EditState
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.alias_target import AliasTarget
    from raie.registry import Edit
    from raie.registry.outbox_records import OutboxStatus
    from raie.status import HeadStatus, Status

__all__ = ["status"]


@click.command()
@click.option("--mlflow", "ask_mlflow", is_flag=True, help="Ask MLflow too: does it answer, and agree on aliases?")
@json_option
@in_workspace
def status(workspace: Workspace, ask_mlflow: bool, output: Output) -> None:
    """Show the state of the model, and what somebody has to mend.

    It shows the head and what that learned from, what aliases serve, unfinished edits and what MLflow has not got yet. An
    alias that serves an edit which was taken back is a problem. So are an abandoned edit, a missing blob, an event that
    MLflow refused and, with --mlflow, an alias that MLflow shows elsewhere. The exit code is 7 if there is a problem. The
    database answers for all this, and the store whether it has each blob. Times are UTC.

    \b
    Examples:
      raie status
      raie status --mlflow --json
    """
    from raie import status as reading

    state = reading.status(workspace, ask_mlflow=ask_mlflow)
    output.show(_json(state), lambda: _lines(state))
    if state.problems:
        raise click.exceptions.Exit(ATTENTION)


def _json(state: Status) -> dict[str, Any]:
    return {
        "model": state.model,
        "database": state.database,
        "store": state.store,
        "head": None
        if state.head is None
        else _head_json(state.head) | {"tags": _tags(state, state.head.snapshot.id)},
        "aliases": [_alias_json(state, target) for target in state.aliases],
        "open_edits": [edit_json(edit) for edit in state.open_edits],
        "outbox": None if state.outbox is None else _outbox_json(state.outbox),
        "findings": [asdict(finding) for finding in state.findings],
    }


def _tags(state: Status, snapshot: str) -> list[str]:
    return list(state.tags.get(snapshot, ()))


def _outbox_json(outbox: OutboxStatus) -> dict[str, Any]:
    oldest = None if outbox.oldest_pending_at is None else iso(outbox.oldest_pending_at)
    return {"pending": outbox.pending, "failing": outbox.failing, "oldest_pending_at": oldest}


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
        "tags": _tags(state, target.alias.snapshot),
        **times(moved_at=target.alias.moved_at),
    }


def _lines(state: Status) -> list[str]:
    rows = [("model", accent(one_line(state.model))), ("database", state.database), ("store", state.store)]
    if state.head is None:
        rows.append(("head", "none; `raie setup LOG` makes the first one"))
    else:
        rows += _head_rows(state.head)
        rows += [("tags", tags_line(tags)) for tags in [_tags(state, state.head.snapshot.id)] if tags]
    rows += [("alias", _alias_line(state, target)) for target in state.aliases]
    rows += [("open", _open_line(edit)) for edit in state.open_edits]
    rows += _outbox_rows(state.outbox)
    rows += [(finding.severity, finding_line(finding)) for finding in state.findings]
    return [f"{label:<8}  {text}" for label, text in rows]


def _head_rows(head: HeadStatus) -> list[tuple[str, str]]:
    snapshot, edit = head.snapshot, head.edit
    why = f" · {one_line(edit.reason)}" if edit.reason else ""
    made = f"{when(snapshot.created_at)}  {one_line(edit.actor)}{why}"
    learned = (
        "no rows"
        if head.learned_until is None
        else f"rows until {iso(head.learned_until)}, {_age(head.learned_until)}"
    )
    regions = len(snapshot.content.regions)
    return [
        ("head", f"{accent(short(snapshot.id))}  edit {edit.number}  {edit.kind}  {made}"),
        ("learned", f"{learned}, {regions} region{'s' * (regions != 1)}"),
    ]


def _age(since: float) -> str:
    """How long ago, in days."""
    days = int((time.time() - since) // 86_400)
    return f"{days} day{'s' * (days != 1)} ago"


def _alias_line(state: Status, target: AliasTarget) -> str:
    where = "the head" if state.is_head(target) else f"edit {target.edit}"
    since = faint(f"since {when(target.alias.moved_at)}")
    tags = tags_line(_tags(state, target.alias.snapshot))
    return (
        f"{accent(one_line(target.alias.name))} → {short(target.alias.snapshot)}  {where} {since}  {tags}".rstrip()
    )


def _open_line(edit: Edit) -> str:
    way = f"; `raie edit resume {edit.number}` goes on" if edit.state == EditState.ABANDONED else ""
    since = faint(f"since {when(edit.created_at)}")
    return f"edit {edit.number} of {one_line(edit.actor)} is {state_word(edit.state)} {since}{way}"


def _outbox_rows(outbox: OutboxStatus | None) -> list[tuple[str, str]]:
    if outbox is None or not outbox.pending or outbox.oldest_pending_at is None:
        return []
    count = f"{outbox.pending} event{'s' * (outbox.pending != 1)}"
    return [("mlflow", f"{count} to publish, the oldest since {when(outbox.oldest_pending_at)}")]
