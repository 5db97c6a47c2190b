"""`raie expire`: a retention rule gives up the blobs of old snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.confirm import ask, yes_option
from raie.cli.ui.output import Output, faint, json_option, short, size, table, times, when
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.registry.maintenance.expiry import ExpiryReport, Verdict

__all__ = ["expire"]

_LISTED = 20


@click.command()
@click.option(
    "--keep-last",
    type=click.IntRange(min=1),
    metavar="N",
    help="Keep the newest N snapshots of the head's line and of each alias.",
)
@click.option(
    "--keep-days",
    type=click.FloatRange(min=0),
    metavar="DAYS",
    help="Keep snapshots that were made or in use in the last DAYS days.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would expire, and why the rest is kept.")
@click.option("--reason", metavar="TEXT", default="", help="Why. Recorded in the history.")
@yes_option
@json_option
@in_workspace
def expire(
    workspace: Workspace,
    keep_last: int | None,
    keep_days: float | None,
    dry_run: bool,
    reason: str,
    yes: bool,
    output: Output,
) -> None:
    """Expire old snapshots by a retention rule.

    `raie gc` may then delete the blobs that only expired snapshots need. A snapshot that either option keeps is kept. The
    head, the snapshots of aliases and the bases of open edits are always kept. A snapshot was in use while it was the
    head or an alias pointed at it. An expired snapshot stays in the history, but cannot be promoted, rolled back to or
    served.

    \b
    Examples:
      raie expire --keep-last 20 --keep-days 90 --dry-run
      raie expire --keep-last 20 --keep-days 90 --reason "disk space" --yes
    """
    from raie import upkeep
    from raie.chain_head import publish_chain_head

    report = upkeep.expire(workspace, keep_last=keep_last, keep_days=keep_days, dry_run=True)
    if not dry_run and report.expired:
        for line in _expired_lines(report.expired):
            click.echo(line, err=True)
        ask(f"Let {len(report.expired)} snapshots expire for good?", yes=yes)
        report = upkeep.expire(workspace, keep_last=keep_last, keep_days=keep_days, reason=reason)
    elif not dry_run:
        publish_chain_head(workspace)  # what an earlier command could not keep
    value = {
        "model": report.model,
        "dry_run": dry_run,
        "rule": {"keep_last": report.rule.keep_last, "keep_days": report.rule.keep_days},
        "bytes": report.bytes,
        "expired": [_json(verdict) | {"bytes": verdict.bytes} for verdict in report.expired],
        "kept": [_json(verdict) | {"kept_by": list(verdict.kept_by)} for verdict in report.kept],
    }
    output.show(value, lambda: _lines(report, dry_run=dry_run))


def _json(verdict: Verdict) -> dict[str, Any]:
    return {"snapshot": verdict.snapshot, "edit": verdict.edit, **times(created_at=verdict.created_at)}


def _lines(report: ExpiryReport, *, dry_run: bool) -> list[str]:
    verb = "would expire" if dry_run else "expired"
    total = f"{len(report.expired)} snapshots {verb} ({size(report.bytes)}), {len(report.kept)} are kept"
    if not dry_run:
        return [total]
    return [*_expired_lines(report.expired), *_kept_lines(report.kept), total]


def _expired_lines(verdicts: Sequence[Verdict]) -> list[str]:
    if not verdicts:
        return []
    rows = [[*_cells(verdict), size(verdict.bytes)] for verdict in verdicts[:_LISTED]]
    return [*table(["expires", "edit", "made (UTC)", "frees"], rows, right=[1, 3]), *_more(verdicts), ""]


def _kept_lines(verdicts: Sequence[Verdict]) -> list[str]:
    rows = [[*_cells(verdict), "; ".join(verdict.kept_by)] for verdict in verdicts[:_LISTED]]
    return (
        [*table(["kept", "edit", "made (UTC)", "because"], rows, right=[1]), *_more(verdicts), ""] if rows else []
    )


def _cells(verdict: Verdict) -> list[object]:
    return [short(verdict.snapshot), verdict.edit, when(verdict.created_at)]


def _more(verdicts: Sequence[Verdict]) -> list[str]:
    return [faint(f"and {len(verdicts) - _LISTED} more; --json lists all")] if len(verdicts) > _LISTED else []
