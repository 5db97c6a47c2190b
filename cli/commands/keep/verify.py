"""`raie db`, `verify` and `gc`: upgrade a registry, check it, delete what nothing needs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from raie.cli.commands.keep.audit import checkpoint_option
from raie.cli.errors import INTEGRITY, UNREACHABLE
from raie.cli.ui.confirm import ask, yes_option
from raie.cli.ui.output import Output, accent, faint, json_option, one_line, say, short, size, table
from raie.cli.ui.progress import patient_bars
from raie.cli.ui.renamed_options import renamed_option
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.registry.maintenance.verify import DamagedBlob, GcReport, VerifyReport
    from raie.upkeep import Schema, Upgrade

__all__ = ["current", "gc", "upgrade", "verify"]

_DAY_S = 24 * 3600.0
_LISTED = 20


@click.command()
@in_workspace
def upgrade(workspace: Workspace) -> None:
    """Upgrade the database to the schema of this version, in one transaction.

    An up-to-date database is left as it is. Rows are kept. Run it once after installing a newer raie.

    \b
    Examples:
      raie db upgrade
    """
    from raie import upkeep

    done = upkeep.upgrade(workspace)
    for note in (*done.warnings, *filter(None, [done.unclaimed])):
        say(f"{accent('note', 'yellow')}  {one_line(note)}", err=True)
    say(_upgrade_line(done))


def _upgrade_line(done: Upgrade) -> str:
    if done.before == done.after:
        return f"the database is at revision {done.after} already"
    return f"upgraded the database from revision {done.before or 'none'} to {done.after}"


@click.command()
@json_option
@in_workspace
def current(workspace: Workspace, output: Output) -> None:
    """Print the database's schema revision and the one expected.

    \b
    Examples:
      raie db current
      raie db current --json
    """
    from raie import upkeep

    schema = upkeep.schema(workspace)
    value = {"revision": schema.revision, "expected": schema.expected, "up_to_date": schema.up_to_date}
    output.show(value, lambda: [_schema_line(schema)])


def _schema_line(schema: Schema) -> str:
    if schema.missing:
        return f"no database file at {schema.missing}, expected revision {schema.expected}; `raie init` makes one"
    advice = "" if schema.up_to_date else "; run `raie db upgrade`"
    return f"revision {schema.revision or 'none'}, expected {schema.expected}{advice}"


@click.command()
@checkpoint_option
@json_option
@in_workspace
def verify(workspace: Workspace, checkpoint: str | None, output: Output) -> None:
    """Check every blob, every reference, every signature and the audit chain. The exit code is 5 if anything is wrong.

    Every blob is read back from the store. Each damaged blob is named with the snapshots that it affects. An unreadable
    blob is named too (exit code 6 if nothing else is wrong). The audit chain is compared with its checkpoints in the
    store and with --checkpoint. `raie audit verify` checks the chain alone. It may run at any time, beside any other
    command.

    \b
    Examples:
      raie verify
      raie verify --checkpoint N:HASH
      raie verify --json
    """
    from raie import upkeep

    with patient_bars() as progress:
        report = upkeep.verify(workspace, checkpoint=checkpoint, progress=progress)
    value = {
        "ok": report.ok,
        "snapshots": report.snapshots,
        "expired_snapshots": report.expired,
        "blobs": report.blobs,
        "bytes": report.bytes,
        "damaged": [asdict(damaged) for damaged in report.damaged],
        "unreadable": [asdict(unreadable) for unreadable in report.unreadable],
        "references": list(report.references),
        "signatures": report.trust.signatures,
        "trust_problems": list(report.trust.problems),
        "chain_events": report.chain.events,
        "chain_head": report.chain.head,
        "chain_kept_in_store": report.published,
        "chain_problems": list(report.chain.problems),
        "ownership_problems": list(report.ownership.problems),
        "notes": list(report.ownership.notes),
    }
    output.show(value, lambda: _verify_lines(report))
    if not report.ok:
        raise click.exceptions.Exit(INTEGRITY if report.wrong else UNREACHABLE)


def _verify_lines(report: VerifyReport) -> list[str]:
    lines = [
        f"{faint('snapshots  ')}  {report.snapshots}" + (f", {report.expired} expired" if report.expired else ""),
        f"{faint('blobs      ')}  {report.blobs} read back, {size(report.bytes)}",
        f"{faint('signatures ')}  {report.trust.signatures} checked",
        f"{faint('audit chain')}  {report.chain.events} events, head {report.chain.head}",
        f"{faint('kept       ')}  {report.published} earlier chain heads in the store",
    ]
    for damaged in report.damaged:
        lines += _damage_lines("damaged", damaged)
    for unreadable in report.unreadable:
        lines += _damage_lines("unreadable", unreadable)
    problems = [*report.references, *report.trust.problems, *report.chain.problems, *report.ownership.problems]
    lines += [f"{accent('wrong', 'red')}  {one_line(problem)}" for problem in problems]
    lines += [f"{accent('note', 'yellow')}  {one_line(note)}" for note in report.ownership.notes]
    return [*lines, *_verdict(report, len(report.damaged) + len(problems))]


def _verdict(report: VerifyReport, wrong: int) -> list[str]:
    if report.ok:
        return [accent("all is well", "green")]
    lines = [accent(f"{wrong} found wrong", "red")] if wrong else []
    if report.unreadable:
        lines.append(accent(f"{len(report.unreadable)} blobs could not be read, so nobody knows", "red"))
    return lines


def _damage_lines(label: str, damaged: DamagedBlob) -> list[str]:
    affected = ", ".join(short(snapshot) for snapshot in damaged.snapshots) or "no snapshot"
    problem = f"{accent(label, 'red')}  {short(damaged.digest)}  {one_line(damaged.problem)}"
    return [problem, f"{' ' * len(label)}  affects {affected}"]


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show what would be deleted.")
@click.option(
    "--grace",
    metavar="DAYS",
    type=click.FloatRange(min=0),
    default=3.0,
    show_default=True,
    help="Keep blobs younger than this.",
)
@renamed_option(
    "--strays",
    "--orphans",
    "orphans",
    is_flag=True,
    help="Also delete objects in this registry's part of the store that its database does not know.",
)
@click.option("--reason", metavar="TEXT", default="", help="Why. Recorded in the audit log.")
@yes_option
@json_option
@in_workspace
def gc(
    workspace: Workspace, dry_run: bool, grace: float, orphans: bool, reason: str, yes: bool, output: Output
) -> None:
    """Delete blobs that nothing refers to: no kept snapshot and no open edit. Younger ones than --grace stay.

    A snapshot is kept unless it has expired, and can be rolled back to as before. It may run at any time, beside any
    other command.

    \b
    Examples:
      raie gc --dry-run
      raie gc --yes
      raie gc --grace 30 --json --yes
    """
    from raie import upkeep
    from raie.chain_head import publish_chain_head

    grace_s = grace * _DAY_S
    report = upkeep.gc(workspace, grace_s=grace_s, orphans=orphans, dry_run=True)
    doomed = len(report.removed) + len(report.incomplete_uploads) + (len(report.orphans) if orphans else 0)
    if not dry_run and doomed:
        for line in _removed_lines(report):
            say(line, err=True)
        ask(f"Delete {doomed} objects for good?", yes=yes)
        with patient_bars() as progress:
            report = upkeep.gc(workspace, grace_s=grace_s, orphans=orphans, reason=reason, progress=progress)
    elif not dry_run:
        publish_chain_head(workspace)  # what an earlier command could not keep
    value = {
        "dry_run": dry_run,
        "deleted": [asdict(blob) for blob in report.removed],
        "bytes": report.bytes,
        "kept": [asdict(blob) for blob in report.kept],
        "leftovers": list(report.incomplete_uploads),
        "strays": list(report.orphans),
        "uploads_problem": report.uploads_problem,
    }
    output.show(value, lambda: _gc_lines(report, dry_run=dry_run))


def _gc_lines(report: GcReport, *, dry_run: bool) -> list[str]:
    looked_at = [*_removed_lines(report), *_kept_lines(report)] if dry_run else []
    return [*looked_at, *_total_lines(report)]


def _removed_lines(report: GcReport) -> list[str]:
    """What nothing needs, the first of it by name."""
    if not report.removed:
        return []
    rows = [[short(blob.digest), size(blob.size), blob.reason] for blob in report.removed[:_LISTED]]
    more = len(report.removed) - len(rows)
    return [*table(["blob", "size", "why"], rows, right=[1]), *([f"and {more} more"] if more else [])]


def _kept_lines(report: GcReport) -> list[str]:
    """What nothing needs either, by the reason why it stays for now."""
    reasons: dict[str, list[int]] = {}
    for blob in report.kept:
        reasons.setdefault(blob.reason, []).append(blob.size)
    return [f"kept {len(sizes)} blobs ({size(sum(sizes))}): {why}" for why, sizes in sorted(reasons.items())]


def _total_lines(report: GcReport) -> list[str]:
    verb = "would delete" if report.dry_run else "deleted"
    uploads, orphans = len(report.incomplete_uploads), len(report.orphans)
    total = f"{verb} {len(report.removed)} blobs ({size(report.bytes)}), {uploads} interrupted uploads"
    if orphans:
        total += f"; {orphans} objects are unknown to this database (--orphans)"
    if report.uploads_problem is None:
        return [total]
    return [total, f"{accent('not looked for', 'yellow')}  {one_line(report.uploads_problem)}"]
