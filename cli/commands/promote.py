"""`raie promote`, `rollback` and `alias`: what production serves, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from raie.actor import actor
from raie.cli.ui.chain_head import publishes_end
from raie.cli.ui.checks import show_rehearsal
from raie.cli.ui.confirm import ask, yes_option
from raie.cli.ui.limits import limit_option, newest, older_follow
from raie.cli.ui.output import Output, accent, json_option, one_line, short, table, times, when
from raie.cli.ui.records import changes_line, edit_number, move_json, operation_json, snapshot_json, step
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.registry import AliasMove, Registry, Snapshot

__all__ = ["alias_history", "list_aliases", "promote", "rollback"]

_USUAL = "production"
"""The alias that is meant where none is named: nobody makes it by a slip of the keyboard."""

_reason_option = click.option("--reason", metavar="TEXT", help="Why. Recorded in the history.", default="")


@click.command()
@click.argument("ref", required=False)
@click.option("--region", type=click.IntRange(min=0), metavar="R", help="The region to change.")
@click.option("--version", type=click.IntRange(min=1), metavar="N", help="The region's version to serve.")
@click.option("--to", "alias", metavar="ALIAS", default=_USUAL, show_default=True, help="The alias to move.")
@click.option("--expect", metavar="REF", help="Refuse (exit code 4) unless the alias points at REF now.")
@click.option("--dry-run", is_flag=True, help="Only show every check of the alias's policy, passed or not.")
@click.option(
    "--override", is_flag=True, help="Override failed checks, if the policy allows it. Requires --reason."
)
@_reason_option
@json_option
@in_workspace
@publishes_end
def promote(
    workspace: Workspace,
    ref: str | None,
    region: int | None,
    version: int | None,
    alias: str,
    expect: str | None,
    dry_run: bool,
    override: bool,
    reason: str,
    output: Output,
) -> None:
    """Point an alias at a snapshot, or at one region's other version.

    REF is head, an alias, edit:N, or the first characters of a snapshot's id. --region and --version cherry-pick one
    region version: a new snapshot has the content that the alias points at, with that region replaced. The head stays
    where it is. A protected alias refuses (exit code 1) a snapshot that fails its policy, and names each failed check. A
    snapshot with a missing blob is refused too (exit code 5). No blob is read: `raie verify` does that.

    \b
    Examples:
      raie promote head
      raie promote edit:3 --to staging --reason "passed review"
      raie promote staging --expect 4f2a91c07d3e
      raie promote --region 2 --version 1
    """
    from raie.registry import preflight, trust

    model, who = workspace.model, actor()
    if ref is not None and region is None and version is None:
        registry = workspace.registry()
        if dry_run:
            return show_rehearsal(trust.rehearse(registry, model, ref, alias, expect), alias, output)
        target = preflight.require_snapshot(registry, model, ref)
        move = registry.promote(model, target, alias, who, reason, expected=expect, override=override)
    elif ref is None and region is not None and version is not None and expect is None:
        registry = workspace.registry()
        if dry_run:
            rehearsal = trust.rehearse_region(registry, model, region, version, alias, actor=who)
            return show_rehearsal(rehearsal, alias, output)
        preflight.require_version(registry, model, region, version)
        _, move = registry.promote_region(model, region, version, alias, who, reason, override)
    else:
        raise click.UsageError(
            "give either a snapshot (and --expect, if you like), or both --region and --version"
        )
    return output.show(move_json(move) | {"moved": not move.repeated}, lambda: _move_lines(registry, move))


def _move_lines(registry: Registry, move: AliasMove) -> list[str]:
    """From where to where, or that nothing moved; of a new alias the others too, beside which a typo is seen."""
    name = accent(move.alias, "green")
    if move.repeated:
        return [f"{name} is at {short(move.target)} already, since {when(move.at)} UTC by {one_line(move.actor)}"]
    moved = f"{name} {step(move.source, move.target)}"
    if move.source is not None or move.alias == _USUAL:
        return [moved]
    others = ", ".join(alias.name for alias in registry.aliases(move.model) if alias.name != move.alias)
    return [moved, f"new alias, beside {others}" if others else "new alias, the first one"]


@click.command()
@click.argument("edit", required=False)
@click.option(
    "--to", "target", metavar="REF", help="Commit a new snapshot with exactly the content of this older one."
)
@click.option("--cascade", is_flag=True, help="Also undo later edits of the same regions.")
@_reason_option
@yes_option
@json_option
@in_workspace
@publishes_end
def rollback(
    workspace: Workspace,
    edit: str | None,
    target: str | None,
    cascade: bool,
    reason: str,
    yes: bool,
    output: Output,
) -> None:
    """Undo one edit, or go back to an older snapshot.

    Nothing is deleted: a rollback is a new snapshot. Undoing EDIT (3 or edit:3) restores the regions that it changed.
    Later changes of other regions stay. If a later edit changed the same region, the rollback is refused (exit code 4)
    and names that edit: choose --cascade or --to. Aliases stay where they are: promote the new head to serve it.

    \b
    Examples:
      raie rollback 3 --reason "a week of bot traffic"
      raie rollback 3 --cascade
      raie rollback --to production
    """
    if (edit is None) == (target is None):
        raise click.UsageError("give either an edit, or --to with a snapshot")
    registry, model = workspace.registry(), workspace.model
    before = registry.head(model)
    if target is not None:
        if cascade:
            raise click.UsageError("--cascade goes with an edit; --to leaves out every edit since that snapshot")
        snapshot = registry.rollback_to(model, target, actor=actor(), reason=reason)
    else:
        number = _edit_number(str(edit))
        snapshot = _undo(registry, model, number, reason, cascade=cascade, yes=yes)
    _show_rollback(registry, before, snapshot, output)


def _edit_number(text: str) -> int:
    number = edit_number(text)
    if number is None:
        raise click.UsageError(f"expected the number of an edit, found {text!r}; for a snapshot use --to {text}")
    return number


def _undo(registry: Registry, model: str, number: int, reason: str, *, cascade: bool, yes: bool) -> Snapshot:
    """Undo one edit; with cascade ask before the later edits that stand in its way are undone with it."""
    from raie.registry.errors import RollbackConflict

    try:
        return registry.rollback_edit(model, number, actor=actor(), reason=reason)
    except RollbackConflict as conflict:
        if not cascade:
            raise
        later = ", ".join(map(str, conflict.edits))
    ask(f"Undo edit {number} and with it the later edit{'s' if ',' in later else ''} {later}?", yes=yes)
    return registry.rollback_edit(model, number, actor=actor(), reason=reason, cascade=True)


def _show_rollback(registry: Registry, before: Snapshot | None, snapshot: Snapshot, output: Output) -> None:
    from raie.registry import lineage

    operations = lineage.operations(registry, snapshot.model, snapshot.edit)
    value = {
        "snapshot": snapshot_json(snapshot),
        "previous_head": None if before is None else before.id,
        "changes": [operation_json(operation) for operation in operations],
    }

    def draw() -> list[str]:
        if before is not None and before.id == snapshot.id:
            return [f"{accent('head', 'cyan')} {short(snapshot.id)} has that content already"]
        changed = changes_line(operations) or "no region changed"
        head = f"{accent('head', 'cyan')} {step(None if before is None else before.id, snapshot.id)}"
        return [f"{head}  edit {snapshot.edit}: {changed}"]

    output.show(value, draw)


@click.command("list")
@json_option
@in_workspace
def list_aliases(workspace: Workspace, output: Output) -> None:
    """List the aliases and what they point at.

    \b
    Examples:
      raie alias list
      raie alias list --json
    """
    registry = workspace.registry()
    found = registry.aliases(workspace.model) if registry.models() else []
    edits = {alias.name: registry.resolve(workspace.model, alias.snapshot).edit for alias in found}
    rows: list[dict[str, Any]] = [
        {
            "alias": alias.name,
            "snapshot": alias.snapshot,
            "edit": edits[alias.name],
            **times(moved_at=alias.moved_at),
        }
        for alias in found
    ]

    def draw() -> list[str]:
        if not found:
            return ["no alias yet; `raie promote head` makes production"]
        shown = [[accent(a.name, "green"), short(a.snapshot), edits[a.name], when(a.moved_at)] for a in found]
        return table(["alias", "snapshot", "edit", "moved (UTC)"], shown, right=[2])

    output.show({"model": workspace.model, "aliases": rows}, draw)


@click.command("history")
@click.argument("alias", required=False)
@limit_option
@json_option
@in_workspace
def alias_history(workspace: Workspace, alias: str | None, limit: int, output: Output) -> None:
    """List the moves of an alias, newest first. ALIAS is production by default.

    \b
    Examples:
      raie alias history
      raie alias history staging --json
    """
    name = alias or _USUAL
    moves, more = newest(workspace.registry().alias_history(workspace.model, name, limit + 1), limit)

    def draw() -> list[str]:
        rows = [[when(m.at), step(m.source, m.target), one_line(m.actor), one_line(m.reason)] for m in moves]
        return [*table(["when (UTC)", "from → to", "who", "why"], rows), *older_follow("moves", more=more)]

    shown = [move_json(move) for move in moves]
    output.show({"model": workspace.model, "alias": name, "moves": shown, "more": more}, draw)
