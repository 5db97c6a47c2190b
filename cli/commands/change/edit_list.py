"""`raie edit list`, `show` and `abort`: what was changed, by whom, and which edits are open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.confirm import ask, yes_option
from raie.cli.ui.limits import limit_option, older_follow
from raie.cli.ui.output import Output, faint, json_option, one_line, say, short, table, when
from raie.cli.ui.records import (
    degrees,
    edit_json,
    edit_number,
    operation_json,
    state_word,
    step,
    undone_line,
)
from raie.cli.ui.reports import report_lines
from raie.cli.ui.workspace_option import in_workspace
from raie.newest import newest
from raie.registry.states import EditState
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.edits.edit_records import EditRecord
    from raie.registry import Edit, Operation

__all__ = ["abort", "list_edits", "show"]


@click.command("list")
@limit_option
@click.option("--open", "only_open", is_flag=True, help="Only running and abandoned edits.")
@json_option
@in_workspace
def list_edits(workspace: Workspace, limit: int, only_open: bool, output: Output) -> None:
    """List the edits, newest first.

    The process of a running edit owns its lease and renews it. If the process has ended, or has not renewed the lease for
    two minutes, the edit is abandoned: `raie edit resume` finishes it, `raie edit abort` closes it. --open shows the
    lease owner, its host and when the lease expires.

    \b
    Examples:
      raie edit list
      raie edit list --open
      raie edit list -n 5 --json
    """
    edits, more = newest(workspace.edits(only_open=only_open, limit=limit + 1), limit)

    def lines() -> list[str]:
        if not edits:
            return ["no open edit" if only_open else "no edit yet; `raie setup LOG` makes the first snapshot"]
        headers = ["edit", "state", "kind", "base → result", "when (UTC)", "who", "why"]
        rows = _open_edits(edits) if only_open else table(headers, map(_row, edits), right=[0])
        return [*rows, *older_follow("edits", more=more)]

    value = {"model": workspace.model, "edits": [edit_json(edit) for edit in edits], "more": more}
    output.show(value, lines)


def _open_edits(edits: Sequence[Edit]) -> list[str]:
    """Who works on what, and what is left lying; then the way on."""
    headers = [
        "edit",
        "state",
        "kind",
        "base",
        "begun (UTC)",
        "lease until (UTC)",
        "process",
        "host",
        "who",
        "why",
    ]
    rows = []
    for edit in edits:
        host, process = _lease_owner(edit)
        lease = "-" if edit.lease_expires_at is None else when(edit.lease_expires_at)
        about = [edit.number, state_word(edit.state), edit.kind, short(edit.base), when(edit.created_at), lease]
        rows.append([*about, process, one_line(host), one_line(edit.actor), one_line(edit.reason)])
    left = [edit.number for edit in edits if edit.state == EditState.ABANDONED]
    ways = [f"edit {n} is abandoned: raie edit resume {n}, or raie edit abort {n}" for n in left]
    return [*table(headers, rows, right=[0, 6]), *ways]


def _lease_owner(edit: Edit) -> tuple[str, str]:
    """The host and the process that hold an edit's lease, which names them as host:pid:token."""
    host, _, process = (edit.lease_owner or "-:-:").rpartition(":")[0].rpartition(":")
    return host, process


def _row(edit: Edit) -> list[object]:
    moved = step(edit.base, edit.result)
    why = edit.close_reason if edit.state == EditState.ABORTED else edit.reason
    return [
        edit.number,
        state_word(edit.state),
        edit.kind,
        moved,
        when(edit.created_at),
        one_line(edit.actor),
        one_line(why),
    ]


class _EditNumber(click.ParamType[Any]):
    """The number of an edit: 3, or edit:3 as where a snapshot is asked for."""

    name = "edit"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        number = edit_number(str(value))
        if not number:  # no edit has the number 0
            self.fail(
                f"expected the number of an edit, 3 or edit:3, found {value!r}; see `raie edit list`", param, ctx
            )
        return number


_EDIT = _EditNumber()


@click.command()
@click.argument("number", metavar="EDIT", type=_EDIT)
@json_option
@in_workspace
def show(workspace: Workspace, number: int, output: Output) -> None:
    """Show one edit: who, why, and what it did to each region.

    EDIT is 3 or edit:3.

    \b
    Examples:
      raie edit show 3
      raie edit show 3 --json
    """
    record = workspace.edit_record(number)
    edit, finished = record.edit, list(record.checkpoints)
    value = edit_json(edit) | {
        "finished_parts": finished,
        "undone_by": record.undone_by,
        "operations": [operation_json(operation) for operation in record.operations],
        "parameters": dict(edit.parameters),
        "report": dict(edit.report),
    }
    output.show(value, lambda: [*_facts(record), *_operations(record.operations), "", *report_lines(edit)])


def _facts(record: EditRecord) -> list[str]:
    edit = record.edit
    facts = [
        (
            "edit",
            f"{edit.number}  {edit.kind}  {state_word(edit.state)}  {undone_line(record.undone_by)}".rstrip(),
        ),
        ("snapshots", step(edit.base, edit.result)),
        ("who", one_line(edit.actor)),
        ("why", one_line(edit.reason)),
        ("begun", f"{when(edit.created_at)} UTC"),
    ]
    if edit.closed_at is not None:
        facts.append(("closed", f"{when(edit.closed_at)} UTC  {one_line(edit.close_reason)}".rstrip()))
    if edit.data_digest is not None:
        facts.append(("data", short(edit.data_digest)))
    facts.append(("seed", str(edit.seed)))
    if edit.is_open:
        host, process = _lease_owner(edit)
        until = "-" if edit.lease_expires_at is None else when(edit.lease_expires_at)
        facts.append(("lease", f"process {process} on {one_line(host)}, until {until} UTC"))
        facts.append(("finished", ", ".join(record.checkpoints) or "nothing yet"))
        facts.append(("next", f"raie edit resume {edit.number}  (or: raie edit abort {edit.number})"))
    return [f"{faint(name.ljust(9))}  {text}" for name, text in facts if text]


def _operations(operations: Sequence[Operation]) -> list[str]:
    if not operations:
        return []
    headers = ["region", "action", "version", "windows", "centre moved", "radius", "concentration", "members"]
    rows = [
        [
            operation.change.region,
            operation.change.action,
            "-" if operation.version is None else f"v{operation.version}",
            operation.change.windows,
            degrees(operation.change.centre_shift),
            degrees(operation.change.radius),
            f"{operation.change.concentration:.1f}",
            operation.change.count,
        ]
        for operation in operations
    ]
    return ["", *table(headers, rows, right=[0, 3, 4, 5, 6, 7])]


@click.command()
@click.argument("number", metavar="EDIT", type=_EDIT)
@click.option("--reason", metavar="TEXT", default="", help="Why. Recorded in the history.")
@click.option("--force", is_flag=True, help="Even while a process works on the edit. Its commit is then refused.")
@yes_option
@in_workspace
def abort(workspace: Workspace, number: int, reason: str, force: bool, yes: bool) -> None:
    """Close a running or abandoned edit without a result.

    The head stays where it is. `raie gc` removes what the edit uploaded. While another process works on the edit, this is
    refused (exit code 4).

    \b
    Examples:
      raie edit abort 4
      raie edit abort 4 --reason "wrong log" --yes
    """
    edit = workspace.edit_record(number).edit
    if edit.is_open:
        ask(f"Close edit {number} ({edit.kind}, {edit.state}, begun by {one_line(edit.actor)})?", yes=yes)
    closed = workspace.abort(number, reason=reason, force=force)
    say(f"edit {closed.number} is {state_word(closed.state)}")
