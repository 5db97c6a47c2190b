"""`raie mlflow sync`, `status` and `ui`: the same history on MLflow's pages, whenever MLflow is there."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from raie.cli.errors import REFUSED, UNREACHABLE
from raie.cli.ui.chain_head import publish_end
from raie.cli.ui.output import Output, faint, json_option, one_line, say, short, times, when
from raie.cli.ui.workspace_option import in_workspace
from raie.extras import require
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.registry.mlflow.alias_table import AliasGap
    from raie.registry.outbox_records import Failure, OutboxStatus, SyncReport

__all__ = ["status", "sync", "ui"]

_PORT = 5000


@click.command()
@click.option("--again", is_flag=True, help="Publish the whole history once more, for an MLflow that was emptied.")
@json_option
@in_workspace
def sync(workspace: Workspace, again: bool, output: Output) -> None:
    """Publish what MLflow does not show yet: every edit as a run, every snapshot as a version, every alias.

    Running it twice adds nothing. An alias that somebody moved in MLflow is put back to where the registry has it.
    Where MLflow does not answer (exit code 6) the events wait for the next time. An event that MLflow refuses is
    named (exit code 1); what does not depend on it is published all the same.

    \b
    Examples:
      raie mlflow sync
      raie mlflow sync --again
    """
    from raie.registry.db.shown_url import shown
    from raie.registry.mlflow import publisher

    require("mlflow")
    report = publisher.sync(workspace.registry(), workspace.tracking_uri, again=again)
    value = asdict(report) | {"tracking_uri": shown(workspace.tracking_uri)}
    output.show(value, lambda: _draw_sync(report))
    publish_end(workspace)
    if report.stopped is not None:
        raise click.exceptions.Exit(UNREACHABLE)
    if report.failed or any(gap.version is None for gap in report.aliases):
        raise click.exceptions.Exit(REFUSED)


def _draw_sync(report: SyncReport) -> list[str]:
    lines = [f"published {report.published}, {report.remaining} wait"]
    lines += [_draw_failure(failure) for failure in report.failed]
    return lines + [_draw_gap(gap) for gap in report.aliases]


def _draw_failure(failure: Failure) -> str:
    about = one_line(", ".join(filter(None, (failure.kind, failure.subject, failure.model))))
    tries = "" if failure.is_outage else f", {failure.attempts} attempt{'s' * (failure.attempts != 1)}"
    return f"event {failure.event} ({about}{tries}): {one_line(failure.error)}"


def _draw_gap(gap: AliasGap) -> str:
    """One alias that MLflow shows elsewhere, with both places, and what became of it."""
    there = "no such alias" if gap.found_version is None else f"version {one_line(gap.found_version)}"
    if gap.found_snapshot is not None:
        there += f" ({one_line(short(gap.found_snapshot))})"
    line = f"alias {one_line(gap.alias)} of {one_line(gap.model)}: the registry has {short(gap.snapshot)}"
    if gap.version is not None:
        return f"{line}, MLflow had {there}; set to version {gap.version}"
    return f"{line}, MLflow has {there}; " + one_line(gap.error or "`raie mlflow sync` puts it back")


@click.command()
@json_option
@in_workspace
def status(workspace: Workspace, output: Output) -> None:
    """Say what is published, what waits, and why.

    Names each event that failed, and each alias that MLflow shows elsewhere than the registry; the exit code is 1
    where there is one, and 0 where events only wait.

    \b
    Examples:
      raie mlflow status
      raie mlflow status --json
    """
    from raie.registry.db.shown_url import shown
    from raie.registry.mlflow import publisher

    found = publisher.status(workspace.registry(), workspace.tracking_uri)
    uri = shown(workspace.tracking_uri)
    value: dict[str, Any] = {
        "tracking_uri": uri,
        "reachable": found.reachable,
        "pending": found.pending,
        "published": found.published,
        "failing": found.failing,
        "last_error": found.last_error,
        **times(
            oldest_pending_at=found.oldest_pending_at,
            last_published_at=found.last_published_at,
            leased_until=found.leased_until,
        ),
        "failures": [asdict(failure) for failure in found.failures],
        "aliases": [asdict(gap) for gap in found.aliases],
    }
    output.show(value, lambda: _draw_status(found, uri))
    if found.aliases or any(not failure.is_outage for failure in found.failures):
        raise click.exceptions.Exit(REFUSED)


def _draw_status(found: OutboxStatus, uri: str) -> list[str]:
    there = "answers" if found.reachable else "not there yet" if uri.startswith("sqlite") else "does not answer"
    lines = [f"{faint('mlflow   ')}  {uri}  {there}", f"{faint('published')}  {found.published}"]
    waits = f"{found.pending}"
    if found.oldest_pending_at is not None:
        waits += f", the oldest since {when(found.oldest_pending_at)} UTC; `raie mlflow sync` publishes them"
    lines.append(f"{faint('waiting  ')}  {waits}")
    if found.last_error is not None:
        lines.append(f"{faint('failing  ')}  {found.failing}: {one_line(found.last_error)}")
        lines += [_draw_failure(failure) for failure in found.failures if not failure.is_outage]
    return lines + [_draw_gap(gap) for gap in found.aliases]


@click.command()
@click.option(
    "--port", type=click.IntRange(1, 65535), default=_PORT, show_default=True, help="On this machine only."
)
@in_workspace
def ui(workspace: Workspace, port: int) -> None:
    """Serve MLflow's pages over this workspace's records, until interrupted.

    Shows what the last `raie mlflow sync` published.

    \b
    Examples:
      raie mlflow ui
      raie mlflow ui --port 5001
    """
    from raie.registry.mlflow.client import make_file, ui_command

    require("mlflow")
    arguments, environment = ui_command(workspace.tracking_uri, port)
    # The server would make the file in place, and leave half of one where it is interrupted.
    make_file(workspace.tracking_uri)
    say(f"serving at http://127.0.0.1:{port}/?workflowType=machine_learning (Ctrl+C stops it)")
    # The server takes this process's place, so that a signal reaches it and nothing is left behind.
    os.execve(arguments[0], arguments, environment)
