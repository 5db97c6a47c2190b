"""`raie db`, `verify` and `gc`: upgrade a registry, check it, delete what nothing needs."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import click

from raie.actor import actor
from raie.cli.commands.audit import checkpoint_option
from raie.cli.commands.registry import claim_or_refuse
from raie.cli.errors import INTEGRITY, UNREACHABLE
from raie.cli.ui.chain_head import publish_end, publishes_end
from raie.cli.ui.confirm import ask, yes_option
from raie.cli.ui.output import Output, accent, faint, json_option, one_line, say, short, size, table
from raie.cli.ui.renamed_options import renamed_option
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.registry.maintenance.verify import DamagedBlob, GcReport, VerifyReport

__all__ = ["bring_up_to_date", "current", "gc", "upgrade", "verify"]

_DAY_S = 24 * 3600.0
_LISTED = 20


def bring_up_to_date(workspace: Workspace) -> str | None:
    """Upgrade the database to this version's schema, which the audit log records; return the revision."""
    from raie import migrations
    from raie.registry.access import schema_rights
    from raie.registry.db.engine import missing_file, open_engine
    from raie.registry.maintenance.upgrade_event import append_upgrade

    engine = open_engine(workspace.database)
    if missing_file(engine) is None:
        schema_rights.refuse_planted(engine)
    revision = migrations.upgrade(workspace.database, tell=partial(append_upgrade, actor=actor()))
    for warning in schema_rights.warnings_of(engine):
        say(f"{accent('note', 'yellow')}  {warning}", err=True)
    return revision


@click.command()
@in_workspace
@publishes_end
def upgrade(workspace: Workspace) -> None:
    """Upgrade the database to the schema of this version, in one transaction.

    An up-to-date database is left as it is. Rows are kept. Run it once after installing a newer raie.

    \b
    Examples:
      raie db upgrade
    """
    from raie import migrations

    before = migrations.current(workspace.database)
    after = bring_up_to_date(workspace)
    if before == after:
        say(f"the database is at revision {after} already")
    else:
        say(f"upgraded the database from revision {before or 'none'} to {after}")
    _say_who_owns_the_store(workspace)


def _say_who_owns_the_store(workspace: Workspace) -> None:
    """Claim the store if nobody owns it; an upgrade is done even where that is refused."""
    from raie.registry import NotOwner, StoreError

    try:
        claim_or_refuse(workspace)
    except (NotOwner, StoreError) as refused:
        say(f"{accent('note', 'yellow')}  {one_line(str(refused))}", err=True)


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
    from raie import migrations
    from raie.registry.db.engine import missing_file, open_engine
    from raie.registry.db.tables import SCHEMA_REVISION

    # Looked for first: SQLite would make an empty file of it.
    missing = missing_file(open_engine(workspace.database))
    revision = None if missing else migrations.current(workspace.database)
    value = {"revision": revision, "expected": SCHEMA_REVISION, "up_to_date": revision == SCHEMA_REVISION}

    def draw() -> list[str]:
        if missing:
            return [f"no database file at {missing}, expected revision {SCHEMA_REVISION}; `raie init` makes one"]
        advice = "" if value["up_to_date"] else "; run `raie db upgrade`"
        return [f"revision {revision or 'none'}, expected {SCHEMA_REVISION}{advice}"]

    output.show(value, draw)


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
    from raie.registry import audit
    from raie.registry.maintenance import verify as maintenance

    given = [] if checkpoint is None else [audit.parse_anchor(checkpoint)]
    report = maintenance.verify(workspace.registry(), anchors=given)
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
    output.show(value, lambda: _draw_verify(report))
    if not report.ok:
        raise click.exceptions.Exit(INTEGRITY if report.wrong else UNREACHABLE)
    publish_end(workspace)


def _draw_verify(report: VerifyReport) -> list[str]:
    lines = [
        f"{faint('snapshots  ')}  {report.snapshots}" + (f", {report.expired} expired" if report.expired else ""),
        f"{faint('blobs      ')}  {report.blobs} read back, {size(report.bytes)}",
        f"{faint('signatures ')}  {report.trust.signatures} checked",
        f"{faint('audit chain')}  {report.chain.events} events, end {report.chain.head}",
        f"{faint('kept       ')}  {report.published} earlier ends in the store",
    ]
    for damaged in report.damaged:
        lines += _damage("damaged", damaged)
    for unreadable in report.unreadable:
        lines += _damage("unreadable", unreadable)
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


def _damage(word: str, damaged: DamagedBlob) -> list[str]:
    affected = ", ".join(short(snapshot) for snapshot in damaged.snapshots) or "no snapshot"
    problem = f"{accent(word, 'red')}  {short(damaged.digest)}  {one_line(damaged.problem)}"
    return [problem, f"{' ' * len(word)}  affects {affected}"]


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
@publishes_end
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
    from raie.registry.maintenance import verify as maintenance

    registry = workspace.registry()
    found = maintenance.gc(registry, actor=actor(), grace_s=grace * _DAY_S, dry_run=True, strays=orphans)
    doomed = len(found.removed) + len(found.leftovers) + (len(found.strays) if orphans else 0)
    if not dry_run and doomed:
        for line in _doomed(found):
            say(line, err=True)
        ask(f"Delete {doomed} objects for good?", yes=yes)
        found = maintenance.gc(registry, actor=actor(), reason=reason, grace_s=grace * _DAY_S, strays=orphans)
    value = {
        "dry_run": dry_run,
        "deleted": [asdict(blob) for blob in found.removed],
        "bytes": found.bytes,
        "kept": [asdict(blob) for blob in found.kept],
        "leftovers": list(found.leftovers),
        "strays": list(found.strays),
        "uploads_problem": found.uploads_problem,
    }
    output.show(value, lambda: [*([*_doomed(found), *_waiting(found)] if dry_run else []), _told(found)])


def _doomed(report: GcReport) -> list[str]:
    """What nothing needs, the first of it by name."""
    if not report.removed:
        return []
    rows = [[short(blob.digest), size(blob.size), blob.reason] for blob in report.removed[:_LISTED]]
    more = len(report.removed) - len(rows)
    return [*table(["blob", "size", "why"], rows, right=[1]), *([f"and {more} more"] if more else [])]


def _waiting(report: GcReport) -> list[str]:
    """What nothing needs either, by the reason why it stays for now."""
    reasons: dict[str, list[int]] = {}
    for blob in report.kept:
        reasons.setdefault(blob.reason, []).append(blob.size)
    return [f"kept {len(sizes)} blobs ({size(sum(sizes))}): {why}" for why, sizes in sorted(reasons.items())]


def _told(report: GcReport) -> str:
    verb = "would delete" if report.dry_run else "deleted"
    told = (
        f"{verb} {len(report.removed)} blobs ({size(report.bytes)}), {len(report.leftovers)} interrupted uploads"
    )
    if report.strays:
        told += f"; {len(report.strays)} objects are unknown to this database (--orphans)"
    if report.uploads_problem is not None:
        told += f"\n{accent('not looked for', 'yellow')}  {one_line(report.uploads_problem)}"
    return told
