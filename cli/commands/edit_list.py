"""`raie edit list`, `show`, `diff` and `abort`: what was changed, by whom, and what is still open."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.chain_head import publishes_end
from raie.cli.ui.confirm import ask, yes_option
from raie.cli.ui.limits import limit_option, newest, older_follow
from raie.cli.ui.output import Output, faint, json_option, one_line, say, short, table, when
from raie.cli.ui.records import (
    degrees,
    edit_json,
    edit_number,
    expiry_json,
    expiry_lines,
    operation_json,
    state_word,
    step,
)
from raie.cli.ui.reports import draw_report
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace, actor

if TYPE_CHECKING:
    from raie.registry import Edit, Operation, Registry, Snapshot

__all__ = ["abort", "diff", "list_edits", "show"]


@click.command("list")
@limit_option
@click.option("--open", "only_open", is_flag=True, help="Only those that run or were abandoned.")
@json_option
@in_workspace
def list_edits(workspace: Workspace, limit: int, only_open: bool, output: Output) -> None:
    """List the edits, newest first.

    A running edit holds a lease, which its process renews. When that has gone, or has not renewed it for two minutes,
    the edit is abandoned: `raie edit resume` finishes it, `raie edit abort` closes it. With --open, who holds the
    lease, on which host, and until when.

    \b
    Examples:
      raie edit list
      raie edit list --open
      raie edit list -n 5 --json
    """
    registry = workspace.registry()
    found: list[Edit] = []
    if registry.models():
        found = registry.edits(workspace.model, only_open=only_open, limit=limit + 1)
    edits, more = newest(found, limit)
    left = older_follow("edits", more=more)

    def draw() -> list[str]:
        if not edits:
            return ["no open edit" if only_open else "no edit yet; `raie setup LOG` makes the first snapshot"]
        if only_open:
            return [*_open_edits(edits), *left]
        headers = ["edit", "state", "kind", "base → result", "when (UTC)", "who", "why"]
        return [*table(headers, map(_row, edits), right=[0]), *left]

    value = {"model": workspace.model, "edits": [edit_json(edit) for edit in edits], "more": more}
    output.show(value, draw)


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
        host, process = _holder(edit)
        lease = "-" if edit.lease_expires_at is None else when(edit.lease_expires_at)
        about = [edit.number, state_word(edit.state), edit.kind, short(edit.base), when(edit.created_at), lease]
        rows.append([*about, process, one_line(host), one_line(edit.actor), one_line(edit.reason)])
    left = [edit.number for edit in edits if edit.state == "abandoned"]
    ways = [f"edit {n} is abandoned: raie edit resume {n}, or raie edit abort {n}" for n in left]
    return [*table(headers, rows, right=[0, 6]), *ways]


def _holder(edit: Edit) -> tuple[str, str]:
    """The host and the process that hold an edit's lease, which names them as host:pid:token."""
    host, _, process = (edit.lease_owner or "-:-:").rpartition(":")[0].rpartition(":")
    return host, process


def _row(edit: Edit) -> list[object]:
    moved = step(edit.base, edit.result)
    why = edit.close_reason if edit.state == "aborted" else edit.reason
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
    from raie.registry import lineage

    registry = workspace.registry()
    edit = registry.edit(workspace.model, number)
    operations = lineage.operations(registry, workspace.model, number)
    value = edit_json(edit) | {
        "finished_parts": sorted(registry.checkpoints(workspace.model, number)),
        "operations": [operation_json(operation) for operation in operations],
        "parameters": dict(edit.parameters),
        "report": dict(edit.report),
    }

    def draw() -> list[str]:
        return [*_facts(edit, value["finished_parts"]), *_operations(operations), "", *draw_report(edit)]

    output.show(value, draw)


def _facts(edit: Edit, parts: list[str]) -> list[str]:
    facts = [
        ("edit", f"{edit.number}  {edit.kind}  {state_word(edit.state)}"),
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
        host, process = _holder(edit)
        until = "-" if edit.lease_expires_at is None else when(edit.lease_expires_at)
        facts.append(("lease", f"process {process} on {one_line(host)}, until {until} UTC"))
        facts.append(("finished", ", ".join(parts) or "nothing yet"))
        facts.append(("next", f"raie edit resume {edit.number}  (or: raie edit abort {edit.number})"))
    return [f"{faint(name.ljust(9))}  {text}" for name, text in facts if text]


def _operations(operations: list[Operation]) -> list[str]:
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
@click.argument("older")
@click.argument("newer", required=False)
@json_option
@in_workspace
def diff(workspace: Workspace, older: str, newer: str | None, output: Output) -> None:
    """Compare two snapshots, or an edit with its base.

    With one argument: the edit of that number (3 or edit:3) with its base, or a snapshot with its parent. Two are
    snapshots: head, an alias, edit:N, or the first characters of an id.

    \b
    Examples:
      raie edit diff 3
      raie edit diff production head
    """
    from raie.registry import lineage

    registry, model = workspace.registry(), workspace.model
    before, after = _pair(registry, model, older, newer)
    rows = _region_rows(registry, before, after)
    found = lineage.diff(before, after)
    value = {
        "older": before.id,
        "newer": after.id,
        "expired": {one.id: expiry_json(one) for one in (before, after) if one.expired is not None},
        "same_content": before.content.digest == after.content.digest,
        "regions": rows,
        "unchanged_regions": sorted(set(after.content.regions) - {row["region"] for row in rows}),
        "shared": [_part_row(part, before, after) for part in found.shared],
        "backbone": list(found.backbone),
        "space": found.space,
    }
    output.show(value, lambda: [*expiry_lines(before, after), *_draw_diff(value)])


def _region_rows(registry: Registry, before: Snapshot, after: Snapshot) -> list[dict[str, Any]]:
    """Each region that differs: how, between which versions, and in which of its blobs."""
    from raie.registry import lineage

    found = lineage.diff(before, after)
    words = {"added": found.added, "removed": found.removed, "changed": found.changed}
    older, newer = (lineage.versions_in(registry, snapshot) for snapshot in (before, after))
    rows = []
    for region, word in sorted((region, word) for word, regions in words.items() for region in regions):
        a, b = before.content.regions.get(region, {}), after.content.regions.get(region, {})
        rows.append(
            {
                "region": region,
                "difference": word,
                "older_version": older[region].version if region in older else None,
                "newer_version": newer[region].version if region in newer else None,
                "roles": sorted(role for role in a.keys() | b.keys() if a.get(role) != b.get(role)),
            }
        )
    return rows


def _part_row(part: str, before: Snapshot, after: Snapshot) -> dict[str, Any]:
    older, newer = before.content.shared.get(part, ()), after.content.shared.get(part, ())
    return {"part": part, "older": list(older), "newer": list(newer)}


def _draw_diff(value: dict[str, Any]) -> list[str]:
    lines = [step(value["older"], value["newer"])]
    if value["same_content"]:
        return [*lines, "the same content"]
    lines += [f"{name} differs" for name in ("space", "backbone") if value[name]]
    rows = [
        [
            row["region"],
            row["difference"],
            f"{_version(row['older_version'])} → {_version(row['newer_version'])}",
            ", ".join(row["roles"]),
        ]
        for row in value["regions"]
    ]
    if rows:
        lines += ["", *table(["region", "", "version", "blobs that differ"], rows, right=[0])]
    for row in value["shared"]:
        lines.append(f"{row['part']}  {len(row['older'])} → {len(row['newer'])} blobs")
    untouched = ", ".join(map(str, value["unchanged_regions"])) or "none"
    return [*lines, "", f"{faint('untouched regions')}  {untouched}"]


def _version(number: int | None) -> str:
    return "-" if number is None else f"v{number}"


def _pair(registry: Registry, model: str, older: str, newer: str | None) -> tuple[Snapshot, Snapshot]:
    from raie.registry import lineage

    if newer is not None:
        first, second = lineage.find_all(registry, model, [older, newer])
        return first, second
    number = re.fullmatch(r"[0-9]{1,9}", older)
    after = lineage.find(registry, model, f"edit:{older}" if number else older)
    if after.parent is None:
        raise click.UsageError(
            f"{short(after.id)} is the first snapshot, so there is none before it to compare with"
        )
    return lineage.find(registry, model, after.parent), after


@click.command()
@click.argument("number", metavar="EDIT", type=_EDIT)
@click.option("--reason", metavar="TEXT", default="", help="Why; it stays in the history.")
@click.option("--force", is_flag=True, help="Even while a process still works on it; its commit is then refused.")
@yes_option
@in_workspace
@publishes_end
def abort(workspace: Workspace, number: int, reason: str, force: bool, yes: bool) -> None:
    """Close a running or abandoned edit without a result.

    The head has not moved, so nothing else changes; what the edit uploaded is left to `raie gc`. Refused (exit
    code 4) while another process works on it.

    \b
    Examples:
      raie edit abort 4
      raie edit abort 4 --reason "wrong log" --yes
    """
    from raie.registry import Author

    registry, model = workspace.registry(), workspace.model
    edit = registry.edit(model, number)
    if edit.is_open:
        ask(f"Close edit {number} ({edit.kind}, {edit.state}, begun by {one_line(edit.actor)})?", yes=yes)
    closed = registry.abort(model, number, author=Author(actor(), reason), force=force)
    say(f"edit {closed.number} is {state_word(closed.state)}")
