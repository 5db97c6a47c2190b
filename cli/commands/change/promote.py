"""`raie promote`, `rollback` and `alias`: what production serves, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.checks import refusal_table, show_checks
from raie.cli.ui.confirm import ask, yes_option
from raie.cli.ui.limits import limit_option, older_follow
from raie.cli.ui.output import Output, accent, json_option, one_line, short, table, times, when
from raie.cli.ui.records import (
    changes_line,
    edit_number,
    finding_line,
    move_json,
    operation_json,
    snapshot_json,
    step,
)
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.alias_target import AliasTarget
    from raie.promotion import AliasTimeline, Promotion, Rollback
    from raie.registry import AliasMove
    from raie.registry.edits.rollback import RollbackPlan

__all__ = ["alias_history", "list_aliases", "promote", "rollback"]

_PRODUCTION = "production"

_reason_option = click.option("--reason", metavar="TEXT", help="Why. Recorded in the history.", default="")


@click.command()
@click.argument("ref", required=False)
@click.option("--region", type=click.IntRange(min=0), metavar="R", help="The region to change.")
@click.option("--version", type=click.IntRange(min=1), metavar="N", help="The region's version to serve.")
@click.option("--to", "alias", metavar="ALIAS", default=_PRODUCTION, show_default=True, help="The alias to move.")
@click.option("--expect", metavar="REF", help="Refuse (exit code 4) unless the alias points at REF now.")
@click.option("--dry-run", is_flag=True, help="Only show every check of the alias's policy, passed or not.")
@click.option(
    "--override", is_flag=True, help="Override failed checks, if the policy allows it. Requires --reason."
)
@_reason_option
@json_option
@in_workspace
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
    where it is. A protected alias refuses (exit code 1) a snapshot that fails its policy, and shows every check. A
    snapshot with a missing blob is refused too (exit code 5). No blob is read: `raie verify` does that.

    \b
    Examples:
      raie promote head
      raie promote edit:3 --to staging --reason "passed review"
      raie promote staging --expect 4f2a91c07d3e
      raie promote --region 2 --version 1
    """
    from raie import promotion

    if ref is not None and region is None and version is None:
        if dry_run:
            return show_checks(promotion.check(workspace, ref, alias=alias, expected=expect), alias, output)
        with refusal_table(lambda: promotion.check(workspace, ref, alias=alias), alias, output):
            done = promotion.promote(
                workspace, ref, alias=alias, expected=expect, reason=reason, override=override
            )
    elif ref is None and region is not None and version is not None and expect is None:
        if dry_run:
            return show_checks(promotion.check_region(workspace, region, version, alias=alias), alias, output)
        with refusal_table(lambda: promotion.check_region(workspace, region, version, alias=alias), alias, output):
            done = promotion.promote_region(
                workspace, region, version, alias=alias, reason=reason, override=override
            )
    else:
        raise click.UsageError(
            "give either a snapshot (and --expect, if you like), or both --region and --version"
        )
    value = move_json(done.move) | {"moved": not done.move.repeated}
    return output.show(value, lambda: _promotion_lines(done))


def _promotion_lines(done: Promotion) -> list[str]:
    """From where to where, or that nothing moved; of a new alias the others too."""
    move, name = done.move, accent(done.move.alias, "green")
    if move.repeated:
        return [f"{name} is at {short(move.target)} already, since {when(move.at)} UTC by {one_line(move.actor)}"]
    moved = f"{name} {step(move.source, move.target)}"
    if move.source is not None or move.alias == _PRODUCTION:
        return [moved]
    return [moved, f"new alias, beside {', '.join(done.beside)}" if done.beside else "new alias, the first one"]


@click.command()
@click.argument("edit", required=False)
@click.option(
    "--to", "target", metavar="REF", help="Commit a new snapshot with exactly the content of this older one."
)
@click.option("--cascade", is_flag=True, help="Also undo later edits of the same regions.")
@click.option("--dry-run", is_flag=True, help="Only show which regions would go back; nothing is committed.")
@_reason_option
@yes_option
@json_option
@in_workspace
def rollback(
    workspace: Workspace,
    edit: str | None,
    target: str | None,
    cascade: bool,
    dry_run: bool,
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
      raie rollback 3 --cascade --dry-run
      raie rollback --to production
    """
    if (edit is None) == (target is None):
        raise click.UsageError("give either an edit, or --to with a snapshot")
    if target is not None and cascade:
        raise click.UsageError("--cascade goes with an edit; --to leaves out every edit since that snapshot")
    from raie import promotion

    if dry_run:
        if target is None:
            plan = promotion.plan_rollback(workspace, _edit_number(str(edit)), cascade=cascade)
        else:
            plan = promotion.plan_rollback_to(workspace, target)
        return output.show(_plan_json(plan), lambda: _plan_lines(plan))
    if target is None:
        done = _undo(workspace, _edit_number(str(edit)), reason, cascade=cascade, yes=yes)
    else:
        done = promotion.rollback_to(workspace, target, reason=reason)
    value = {
        "snapshot": snapshot_json(done.snapshot),
        "previous_head": done.previous_head,
        "changes": [operation_json(operation) for operation in done.operations],
        "findings": [asdict(finding) for finding in done.findings],
    }
    return output.show(value, lambda: _rollback_lines(done))


def _plan_json(plan: RollbackPlan) -> dict[str, Any]:
    return {
        "dry_run": True,
        "snapshot": plan.snapshot,
        "head": plan.head.id,
        "edits": list(plan.edits),
        "changes": [
            {"region": change.region, "action": change.action, "version": plan.versions.get(change.region)}
            for change in plan.changes
        ],
    }


def _plan_lines(plan: RollbackPlan) -> list[str]:
    head = accent("head", "cyan")
    if plan.snapshot == plan.head.id:
        return [f"{head} {short(plan.head.id)} has that content already"]
    undone = f", undoing edit{'s' * (len(plan.edits) > 1)} {', '.join(map(str, plan.edits))}" if plan.edits else ""
    rows = [
        f"region {change.region} would go back to version {plan.versions[change.region]}"
        if change.region in plan.versions
        else f"region {change.region} would be retired"
        for change in plan.changes
    ]
    return [f"{head} would be {step(plan.head.id, plan.snapshot)}{undone}", *rows, "nothing is committed"]


def _edit_number(text: str) -> int:
    number = edit_number(text)
    if number is None:
        raise click.UsageError(f"expected the number of an edit, found {text!r}; for a snapshot use --to {text}")
    return number


def _undo(workspace: Workspace, number: int, reason: str, *, cascade: bool, yes: bool) -> Rollback:
    """Undo one edit; with cascade ask before the later edits that stand in its way are undone with it."""
    from raie import promotion
    from raie.registry.errors import RollbackConflict

    try:
        return promotion.rollback(workspace, number, reason=reason)
    except RollbackConflict as conflict:
        if not cascade:
            raise
        later = ", ".join(map(str, conflict.edits))
    ask(f"Undo edit {number} and with it the later edit{'s' if ',' in later else ''} {later}?", yes=yes)
    return promotion.rollback(workspace, number, reason=reason, cascade=True)


def _rollback_lines(done: Rollback) -> list[str]:
    head, snapshot = accent("head", "cyan"), done.snapshot
    findings = [finding_line(finding) for finding in done.findings]
    if not done.changed:
        return [f"{head} {short(snapshot.id)} has that content already", *findings]
    changed = changes_line(done.operations) or "no region changed"
    return [f"{head} {step(done.previous_head, snapshot.id)}  edit {snapshot.edit}: {changed}", *findings]


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
    from raie import promotion

    aliases = promotion.aliases(workspace)
    rows: list[dict[str, Any]] = [
        {
            "alias": target.alias.name,
            "snapshot": target.alias.snapshot,
            "edit": target.edit,
            **times(moved_at=target.alias.moved_at),
        }
        for target in aliases
    ]
    output.show({"model": workspace.model, "aliases": rows}, lambda: _alias_lines(aliases))


def _alias_lines(aliases: Sequence[AliasTarget]) -> list[str]:
    if not aliases:
        return ["no alias yet; `raie promote head` makes production"]
    rows = [
        [accent(t.alias.name, "green"), short(t.alias.snapshot), t.edit, when(t.alias.moved_at)] for t in aliases
    ]
    return table(["alias", "snapshot", "edit", "moved (UTC)"], rows, right=[2])


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
    from raie import promotion

    timeline = promotion.alias_history(workspace, alias or _PRODUCTION, limit=limit)
    value = {
        "model": workspace.model,
        "alias": timeline.alias,
        "moves": [move_json(move) for move in timeline.moves],
        "more": timeline.more,
    }
    output.show(value, lambda: _timeline_lines(timeline))


def _move_text(move: AliasMove) -> str:
    return f"{short(move.source)} → deleted" if move.target is None else step(move.source, move.target)


def _timeline_lines(timeline: AliasTimeline) -> list[str]:
    rows = [
        [when(move.at), _move_text(move), one_line(move.actor), one_line(move.reason)] for move in timeline.moves
    ]
    headers = ["when (UTC)", "from → to", "who", "why"]
    return [*table(headers, rows), *older_follow("moves", more=timeline.more)]
