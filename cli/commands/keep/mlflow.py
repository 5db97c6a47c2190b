"""`raie mlflow sync`, `status` and `ui`: the same history on MLflow's pages, whenever MLflow is there."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from raie.cli.errors import REFUSED, UNREACHABLE
from raie.cli.ui.output import Output, faint, json_option, one_line, say, short, times, when
from raie.cli.ui.page_opener import has_browser, open_once_served
from raie.cli.ui.progress import patient_bars
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.registry.mlflow.alias_table import AliasGap, ShownAlias
    from raie.registry.outbox_records import Failure, OutboxStatus, SyncReport

__all__ = ["status", "sync", "ui"]

_PORT = 5000


@click.command()
@click.option("--again", is_flag=True, help="Publish the whole history again, for an MLflow that was emptied.")
@json_option
@in_workspace
def sync(workspace: Workspace, again: bool, output: Output) -> None:
    """Publish what MLflow does not show yet: every edit as a run, every snapshot as a version, every alias.

    A model of which something was published gets a new page of its whole history, as `raie lineage --html` writes it.

    Running it twice adds nothing. Each sync compares all aliases, also where nothing is published: one that somebody
    moved in MLflow is moved back to the registry's snapshot. If MLflow does not answer (exit code 6), the events stay
    pending. An event that MLflow refuses is named (exit code 1). Events that do not depend on it are published.

    \b
    Examples:
      raie mlflow sync
      raie mlflow sync --again
    """
    from raie.publishing import tracking

    with patient_bars() as progress:
        done = tracking.sync(workspace, again=again, progress=progress)
    output.show(asdict(done.report) | {"tracking_uri": done.tracking_uri}, lambda: _sync_lines(done.report))
    if done.report.stopped is not None:
        raise click.exceptions.Exit(UNREACHABLE)
    if done.refused:
        raise click.exceptions.Exit(REFUSED)


def _sync_lines(report: SyncReport) -> list[str]:
    lines = [f"published {report.published}, {report.remaining} pending"]
    lines += [_failure_line(failure) for failure in report.failed]
    if report.stopped is not None and report.stopped not in {failure.error for failure in report.failed}:
        lines.append(one_line(report.stopped))
    if report.compared and not report.aliases:
        lines.append(f"{report.compared} alias{'es' * (report.compared != 1)} compared: as in the registry")
    return lines + [_gap_line(gap) for gap in report.aliases]


def _failure_line(failure: Failure) -> str:
    about = one_line(", ".join(filter(None, (failure.kind, failure.subject, failure.model))))
    tries = "" if failure.is_outage else f", {failure.attempts} attempt{'s' * (failure.attempts != 1)}"
    return f"event {failure.event} ({about}{tries}): {one_line(failure.error)}"


def _there(alias: AliasGap | ShownAlias) -> str:
    """Where MLflow has an alias."""
    there = "no such alias" if alias.found_version is None else f"version {one_line(alias.found_version)}"
    if alias.found_snapshot is not None:
        there += f" ({one_line(short(alias.found_snapshot))})"
    return there


def _registry_line(alias: AliasGap | ShownAlias) -> str:
    there = "has deleted it" if alias.snapshot is None else f"has {short(alias.snapshot)}"
    return f"alias {one_line(alias.alias)} of {one_line(alias.model)}: the registry {there}"


def _shown_line(alias: ShownAlias) -> str:
    """One alias that nobody moved in MLflow: as it is there, or as it will be after the next sync."""
    line = _registry_line(alias)
    then = "; `raie mlflow sync` publishes its last move" if alias.differs else ""
    return f"{line}, MLflow has {_there(alias)}{then}"


def _gap_line(gap: AliasGap) -> str:
    """One alias that MLflow shows elsewhere, with both snapshots, and what became of it."""
    there = _there(gap)
    line = _registry_line(gap)
    if gap.removed:
        return f"{line}, MLflow had {there}; deleted there too"
    if gap.version is not None:
        return f"{line}, MLflow had {there}; set to version {gap.version}"
    return f"{line}, MLflow has {there}; " + one_line(gap.error or "`raie mlflow sync` puts it back")


@click.command()
@json_option
@in_workspace
def status(workspace: Workspace, output: Output) -> None:
    """Show what is published, what is pending and why, and where aliases differ.

    The exit code is 1 if an event failed or somebody moved an alias in MLflow, and 0 if events are only pending. An alias
    that was moved there is not served: the registry's counts. `raie mlflow sync` puts it back.

    \b
    Examples:
      raie mlflow status
      raie mlflow status --json
    """
    from raie.publishing import tracking

    state = tracking.status(workspace)
    outbox = state.outbox
    value: dict[str, Any] = {
        "tracking_uri": state.tracking_uri,
        "reachable": outbox.reachable,
        "pending": outbox.pending,
        "published": outbox.published,
        "failing": outbox.failing,
        "last_error": outbox.last_error,
        **times(
            oldest_pending_at=outbox.oldest_pending_at,
            last_published_at=outbox.last_published_at,
            leased_until=outbox.leased_until,
        ),
        "failures": [asdict(failure) for failure in outbox.failures],
        "aliases": [asdict(gap) for gap in outbox.aliases],
        "alias_targets": [asdict(alias) | {"differs": alias.differs} for alias in outbox.shown_aliases],
    }
    output.show(value, lambda: _status_lines(outbox, state.tracking_uri))
    if state.refused:
        raise click.exceptions.Exit(REFUSED)


def _status_lines(outbox: OutboxStatus, uri: str) -> list[str]:
    there = "answers" if outbox.reachable else "not there yet" if uri.startswith("sqlite") else "does not answer"
    pending = f"{outbox.pending}"
    if outbox.oldest_pending_at is not None:
        pending += f", the oldest since {when(outbox.oldest_pending_at)} UTC; `raie mlflow sync` publishes them"
    lines = [
        f"{faint('mlflow   ')}  {uri}  {there}",
        f"{faint('published')}  {outbox.published}",
        f"{faint('pending  ')}  {pending}",
    ]
    if outbox.last_error is not None:
        lines.append(f"{faint('failing  ')}  {outbox.failing}: {one_line(outbox.last_error)}")
        lines += [_failure_line(failure) for failure in outbox.failures if not failure.is_outage]
    moved = {(gap.model, gap.alias) for gap in outbox.aliases}
    lines += [_shown_line(alias) for alias in outbox.shown_aliases if (alias.model, alias.alias) not in moved]
    return lines + [_gap_line(gap) for gap in outbox.aliases]


@click.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="N",
    default=_PORT,
    show_default=True,
    help="Port, on this machine only.",
)
@click.option(
    "--open/--no-open", "opens", default=True, show_default=True, help="Open the model's page in the browser."
)
@in_workspace
def ui(workspace: Workspace, port: int, opens: bool) -> None:
    """Serve MLflow's pages over this workspace's records, until interrupted.

    Shows what the last `raie mlflow sync` published. The model's page opens in the browser once the server answers. On
    a machine without a desktop, the address is printed alone.

    \b
    Examples:
      raie mlflow ui
      raie mlflow ui --port 5001 --no-open
    """
    from raie.publishing import tracking

    server = tracking.pages_server(workspace, port)
    say(f"serving at {server.url} (Ctrl+C stops it)")
    if opens and has_browser():
        open_once_served(server.url)
    # The server takes this process's place, so that a signal reaches it and nothing is left behind.
    os.execve(server.arguments[0], server.arguments, server.environment)
