"""`raie audit verify`, `export` and `log`: who did what, and proof that nobody changed it since."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from raie.cli.errors import INTEGRITY
from raie.cli.ui.chain_head import publish_end
from raie.cli.ui.limits import limit_option, newest, older_follow
from raie.cli.ui.output import Output, accent, faint, json_option, one_line, say, short, table, times, when
from raie.cli.ui.workspace_option import in_workspace
from raie.extras import require
from raie.output_files import whole_file
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.registry import AuditEvent
    from raie.registry.audit import ChainReport

__all__ = ["anchor_option", "export", "log", "verify"]

_STANDARD_OUTPUT = ("-", "/dev/stdout", "/dev/fd/1")
anchor_option = click.option(
    "--anchor",
    metavar="N:HASH",
    help="An end of the audit chain that you kept, whole, as an earlier verify printed it.",
)


@click.command()
@anchor_option
@click.option("--mlflow", is_flag=True, help="Also compare with the ends that MLflow shows.")
@json_option
@in_workspace
def verify(workspace: Workspace, anchor: str | None, mlflow: bool, output: Output) -> None:
    """Recompute the audit chain and compare it with what was kept elsewhere.

    Every command that writes keeps the chain's end in the store, and every version in MLflow carries the one of its
    time. A table that was rewritten no longer holds them all: exit code 5.

    \b
    Examples:
      raie audit verify
      raie audit verify --mlflow
      raie audit verify --anchor N:HASH
    """
    from raie.registry import audit
    from raie.registry.db.engine import reading
    from raie.registry.maintenance import checkpoints

    registry = workspace.registry()
    given = [] if anchor is None else [audit.parse_anchor(anchor)]
    stored = checkpoints.published(registry)
    shown = _shown_in_mlflow(workspace) if mlflow else []
    with reading(registry.engine) as connection:
        report = audit.verify_chain(connection, [*given, *stored, *shown])
    value = {
        "ok": not report.problems,
        "events": report.events,
        "head": report.head,
        "kept_in_store": len(stored),
        "kept_in_mlflow": len(shown) if mlflow else None,
        "problems": list(report.problems),
    }
    output.show(value, lambda: _draw(report, len(stored), len(shown) if mlflow else None))
    if report.problems:
        raise click.exceptions.Exit(INTEGRITY)
    publish_end(workspace)


def _shown_in_mlflow(workspace: Workspace) -> list[Any]:
    from raie.registry.mlflow.checkpoints import published_in_mlflow

    require("mlflow")
    return published_in_mlflow(workspace.tracking_uri, workspace.registry().models())


def _draw(report: ChainReport, stored: int, shown: int | None) -> list[str]:
    lines = [
        f"{faint('events')}  {report.events}",
        f"{faint('end   ')}  {report.head}",
        f"{faint('kept  ')}  {stored} earlier ends in the store"
        + ("" if shown is None else f", {shown} in MLflow"),
    ]
    if not report.problems:
        return [*lines, accent("the chain is whole", "green")]
    return [*lines, *(f"{accent('wrong', 'red')}  {one_line(problem)}" for problem in report.problems)]


@click.command()
@click.argument("file", metavar="[FILE]", default="-", type=click.Path(dir_okay=False, allow_dash=True))
@click.option(
    "--since", type=click.IntRange(min=0), default=0, metavar="N", help="Only the events after number N."
)
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@in_workspace
def export(workspace: Workspace, file: str, since: int, force: bool) -> None:
    """Write the audit events as JSON lines.

    Oldest first, into FILE, or to the terminal without one. Each line is one event in canonical JSON with its hash and
    the one before it, so anybody can verify the chain without the database: docs/registry.md says how.

    FILE is written whole or not at all. A file that is there stays as it is, unless --force says otherwise; a link or a
    device is never written to.

    \b
    Examples:
      raie audit export audit.jsonl
      raie audit export --since 41 >> audit.jsonl
    """
    from raie.registry import audit
    from raie.registry.db.engine import reading

    with reading(workspace.registry().engine) as connection:
        lines = (audit.line_of(event) + b"\n" for event in audit.events(connection, after=since))
        if file in _STANDARD_OUTPUT:
            _write(sys.stdout.buffer, lines)
            return
        with whole_file(Path(file), replace=force) as stream:
            count = _write(stream, lines)
    say(f"{file}  {count} events")


def _write(stream: BinaryIO, lines: Iterable[bytes]) -> int:
    """Write the lines and return their number."""
    count = 0
    for line in lines:
        stream.write(line)
        count += 1
    stream.flush()
    return count


@click.command()
@limit_option
@json_option
@in_workspace
def log(workspace: Workspace, limit: int, output: Output) -> None:
    """List the audit events of every model, newest first.

    \b
    Examples:
      raie audit log
      raie audit log -n 100 --json
    """
    from raie.registry import audit
    from raie.registry.db.engine import reading

    with reading(workspace.registry().engine) as connection:
        found, more = newest(audit.newest(connection, limit + 1), limit)
    value = {"events": [_event_json(event) for event in found], "more": more}
    output.show(value, lambda: [*_list(found), *older_follow("events", more=more)])


def _event_json(event: AuditEvent) -> dict[str, Any]:
    return {
        "event": event.id,
        **times(at=event.at),
        "actor": event.actor,
        "action": event.action,
        "model": event.model,
        "subject": event.subject,
        "from": event.source,
        "to": event.target,
        "reason": event.reason,
        "client": event.client,
        "digest": event.digest,
        "hash": event.hash,
    }


def _list(events: Sequence[AuditEvent]) -> list[str]:
    if not events:
        return ["nothing has happened yet"]
    headers = ["event", "when (UTC)", "who", "action", "model", "what", "from → to", "why"]
    return table(headers, map(_row, events), right=[0])


def _row(event: AuditEvent) -> list[object]:
    kind, separator, name = event.subject.partition(":")
    subject = f"{kind}:{short(name)}" if separator and len(name) == 64 else event.subject
    moved = (
        "" if event.source is None and event.target is None else f"{short(event.source)} → {short(event.target)}"
    )
    return [
        event.id,
        when(event.at),
        one_line(event.actor),
        event.action,
        one_line(event.model),
        one_line(subject),
        moved,
        one_line(event.reason),
    ]
