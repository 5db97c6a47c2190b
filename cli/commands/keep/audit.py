"""`raie audit verify`, `export` and `log`: who did what, and proof that the record is unchanged."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raie.cli.errors import INTEGRITY
from raie.cli.ui.limits import limit_option, older_follow
from raie.cli.ui.output import Output, accent, faint, json_option, one_line, say, short, table, times, when
from raie.cli.ui.renamed_options import renamed_option
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.registry import AuditEvent
    from raie.trust import ChainCheck

__all__ = ["checkpoint_option", "export", "log", "verify"]

_STANDARD_OUTPUT = ("-", "/dev/stdout", "/dev/fd/1")
checkpoint_option = renamed_option(
    "--anchor",
    "--checkpoint",
    "checkpoint",
    metavar="N:HASH",
    help="A chain head that you kept, whole, as an earlier verify printed it.",
)


@click.command()
@checkpoint_option
@click.option("--mlflow", is_flag=True, help="Also compare with the checkpoints in MLflow.")
@json_option
@in_workspace
def verify(workspace: Workspace, checkpoint: str | None, mlflow: bool, output: Output) -> None:
    """Recompute the audit chain and compare it with its checkpoints.

    Every command that writes keeps the chain head in the store as a checkpoint. Every version in MLflow carries the
    chain head of its time. A table that was rewritten no longer matches them all: exit code 5.

    \b
    Examples:
      raie audit verify
      raie audit verify --mlflow
      raie audit verify --checkpoint N:HASH
    """
    from raie import trust

    checked = trust.verify_audit(workspace, checkpoint=checkpoint, mlflow=mlflow)
    report = checked.report
    value = {
        "ok": checked.ok,
        "events": report.events,
        "head": report.head,
        "kept_in_store": checked.in_store,
        "kept_in_mlflow": checked.in_mlflow,
        "problems": list(report.problems),
    }
    output.show(value, lambda: _chain_lines(checked))
    if not checked.ok:
        raise click.exceptions.Exit(INTEGRITY)


def _chain_lines(checked: ChainCheck) -> list[str]:
    lines = [
        f"{faint('events')}  {checked.report.events}",
        f"{faint('head  ')}  {checked.report.head}",
        f"{faint('kept  ')}  {checked.in_store} earlier chain heads in the store"
        + ("" if checked.in_mlflow is None else f", {checked.in_mlflow} in MLflow"),
    ]
    if checked.ok:
        return [*lines, accent("the chain is whole", "green")]
    return [*lines, *(f"{accent('wrong', 'red')}  {one_line(problem)}" for problem in checked.report.problems)]


@click.command()
@click.argument("file", metavar="[FILE]", default="-", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--since", type=click.IntRange(min=0), default=0, metavar="N", help="Only events after number N.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@in_workspace
def export(workspace: Workspace, file: str, since: int, force: bool) -> None:
    """Write the audit events as JSON lines.

    The oldest event comes first. Without FILE they go to standard output. Each line is one event in canonical JSON with
    its hash and the previous one, so anybody can verify the chain without the database: docs/registry.md says how.

    FILE is written whole or not at all. An existing file is overwritten only with --force. A link or a device is never
    written to.

    \b
    Examples:
      raie audit export audit.jsonl
      raie audit export --since 41 >> audit.jsonl
    """
    from raie import trust

    if file in _STANDARD_OUTPUT:
        trust.export_audit(workspace, sys.stdout.buffer, since=since)
    else:
        count = trust.export_audit(workspace, Path(file), since=since, replace=force)
        say(f"{file}  {count} events")


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
    from raie import trust

    shown = trust.audit_log(workspace, limit=limit)
    value = {"events": [_event_json(event) for event in shown.events], "more": shown.more}
    output.show(value, lambda: [*_event_lines(shown.events), *older_follow("events", more=shown.more)])


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


def _event_lines(events: Sequence[AuditEvent]) -> list[str]:
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
