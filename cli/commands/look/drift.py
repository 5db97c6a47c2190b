"""`raie drift`: which regions predict worse than they did, before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.log_options import given_options, later_log_options, say_notes, until_option
from raie.cli.ui.output import Output, accent, faint, json_option, short, table
from raie.cli.ui.progress import patient_bars
from raie.cli.ui.records import degrees
from raie.cli.ui.workspace_option import in_workspace
from raie.errors import UsageError
from raie.lines import known_line
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.serving.request_drift import RequestDrift
    from raie.snapshots.region_drift import Drift

__all__ = ["drift"]


@click.command()
@click.argument("log", required=False, type=click.Path(readable=False, path_type=str), metavar="[LOG]")
@click.option(
    "--from",
    "requests",
    type=click.Path(readable=False, path_type=str),
    metavar="PATH",
    help="Instead of LOG: a log of requests that `raie serve --log-requests` wrote.",
)
@until_option
@click.option(
    "--ref", metavar="REF", default="head", show_default=True, help="Snapshot: head, an alias, edit:N or an id."
)
@later_log_options
@json_option
@in_workspace
def drift(
    workspace: Workspace,
    log: str | None,
    requests: str | None,
    until: str | None,
    ref: str,
    reading: Mapping[str, Any],
    output: Output,
) -> None:
    """Show which regions drift, and whether an edit is worth it.

    The loss on windows after the snapshot's watermark is compared with the loss on the held-out windows of setup. A
    region has drifted if the mean loss of its users rose by more than three standard errors. The false positive rate is
    measured on the same windows with old and new shuffled. A region without a new window is listed too, with a dash for
    each unknown value.

    With --from the shares of regions that were served are compared with those of the held-out windows of setup. Without
    --ref the snapshot that answered most of the requests is meant. A region has drifted if its share differs by more than
    three standard errors; every history that was served counts, also several of one user.

    \b
    Examples:
      raie drift today.csv
      raie drift --from requests/
      raie drift log.csv --until 2024-05-30 --ref production --json
    """
    if (log is None) == (requests is None):
        raise UsageError("give either LOG or --from PATH")
    if log is None:
        _of_requests(workspace, str(requests), ref if given_options(["ref"]) else None, output)
    else:
        _of_log(workspace, log, until, ref, reading, output)


def _of_log(
    workspace: Workspace, log: str, until: str | None, ref: str, reading: Mapping[str, Any], output: Output
) -> None:
    from raie.edits.workflow import plain

    with patient_bars() as progress:
        result = workspace.drift(log, ref=ref, until=until, reading=reading, progress=progress)
    say_notes(result.notes)
    value = {"snapshot": result.snapshot, **plain(result.report.to_mapping()), "drifted": list(result.drifted)}
    value["known"] = result.known
    output.show(value, lambda: [*_drift_lines(result), known_line(result.known)])


def _of_requests(workspace: Workspace, requests: str, ref: str | None, output: Output) -> None:
    if unused := given_options(["until", "user_column", "item_column", "time_column", "duplicates", "separator"]):
        raise UsageError(f"{unused[0]} is for a LOG, and not for --from")
    from raie.edits.workflow import plain
    from raie.serving.request_drift import drift_of_requests

    result = drift_of_requests(workspace, requests, ref=ref)
    output.show(plain(result.to_mapping()), lambda: _request_lines(result))


def _request_lines(result: RequestDrift) -> Iterator[str]:
    yield (
        f"{accent(short(result.snapshot))}  {result.requests:,} histories served, {result.cold:,} of them cold; "
        f"{result.unknown_items:,} unknown items; {result.other_snapshots:,} served by other snapshots"
    )
    yield ""
    rows = [
        (
            region.region,
            f"{region.requests:,}",
            f"{_known(region.share_before, '.1%')} → {_known(region.share_now, '.1%')}",
            _known(region.errors, "+.2f"),
            accent("drifted") if region.drifted else "",
        )
        for region in result.regions
    ]
    yield from table(("region", "served", "share", "standard errors", ""), rows, right=(0, 1, 3))
    yield ""
    yield f"population stability index {result.stability_index:.3f}; above 0.2 is a shift"


def _drift_lines(result: Drift) -> Iterator[str]:
    report = result.report
    yield (
        f"{accent(short(result.snapshot))}  {report.now:,} new windows, {report.before:,} held-out windows of the setup"
    )
    yield ""
    rows = [
        (
            region.region,
            f"{region.windows:,}",
            f"{_known(region.share_before, '.1%')} → {_known(region.share_now, '.1%')}",
            f"{_known(region.loss.before, '.3f')} → {_known(region.loss.now, '.3f')}",
            _known(region.loss.errors, "+.2f"),
            "-" if math.isnan(region.centre_shift) else degrees(region.centre_shift),
            accent("edit") if region.edit else faint("leave"),
        )
        for region in report.regions
    ]
    headers = ("region", "windows", "share", "loss", "standard errors", "direction moved", "")
    yield from table(headers, rows, right=(0, 1, 4))
    yield ""
    by_chance = _known(report.false_positive_rate, ".1%")
    yield (
        f"{report.nowhere:,} new windows lie in no region; false positive rate with old and new shuffled: "
        f"{by_chance} of regions"
    )


def _known(value: float, form: str) -> str:
    """The number in this format, or a dash where it is not known."""
    return format(value, form) if math.isfinite(value) else "-"
