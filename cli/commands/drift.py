"""`raie drift`: which regions predict worse than they did, before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.log_options import later_log_options, log_argument, say_told, until_option
from raie.cli.ui.output import Output, accent, faint, json_option, short, table
from raie.cli.ui.records import degrees
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.engine.edit.drift_report import DriftReport

__all__ = ["drift"]


@click.command()
@log_argument
@until_option
@click.option(
    "--ref", metavar="REF", default="head", show_default=True, help="Snapshot: head, an alias, edit:N or an id."
)
@later_log_options
@json_option
@in_workspace
def drift(
    workspace: Workspace, log: str, until: str | None, ref: str, reading: Mapping[str, Any], output: Output
) -> None:
    """Say which regions drift, and whether an edit is worth it.

    Compares the loss on windows after the snapshot's watermark with the loss on held-out windows of its set-up. A region
    has drifted where the mean loss of its users rose by more than three standard errors. How often that happens by chance
    is measured on the same windows with old and new shuffled. A region that no new window reached is listed too; a dash
    stands for what cannot be told of it.

    \b
    Examples:
      raie drift today.csv
      raie drift log.csv --until 2024-05-30 --ref production --json
    """
    from raie.edits import open_view, plain
    from raie.engine.data.interactions import end_time
    from raie.engine.edit.drift_report import drift_report
    from raie.engine.edit.pipeline import new_windows
    from raie.known_ids import doubt_line, known_ids
    from raie.later_log import read_new, told
    from raie.lines import known_line

    registry = workspace.registry()
    snapshot = registry.resolve(workspace.model, ref)
    view = open_view(registry, snapshot, workspace.backbone_file)
    interactions = read_new(view, Path(log), reading)
    end = end_time(interactions, until)
    known = known_ids(registry, workspace.model, snapshot, view, interactions, end)
    found = drift_report(view, new_windows(view, interactions, end))
    say_told([*told(interactions), *doubt_line(known)])
    value = {"snapshot": snapshot.id, **plain(found.to_mapping()), "drifted": list(found.drifted)}
    value["known"] = known.to_mapping()
    output.show(value, lambda: [*_drawn(snapshot.id, found), known_line(value["known"])])


def _drawn(snapshot: str, found: DriftReport) -> Iterator[str]:
    yield f"{accent(short(snapshot))}  {found.now:,} new windows, {found.before:,} held-out windows of the set-up"
    yield ""
    rows = [
        (
            each.region,
            f"{each.windows:,}",
            f"{_known(each.share_before, '.1%')} → {_known(each.share_now, '.1%')}",
            f"{_known(each.loss.before, '.3f')} → {_known(each.loss.now, '.3f')}",
            _known(each.loss.errors, "+.2f"),
            "-" if math.isnan(each.centre_shift) else degrees(each.centre_shift),
            accent("edit") if each.edit else faint("leave"),
        )
        for each in found.regions
    ]
    headers = ("region", "windows", "share", "loss", "standard errors", "direction moved", "")
    yield from table(headers, rows, right=(0, 1, 4))
    yield ""
    by_chance = _known(found.false_positive_rate, ".1%")
    yield (
        f"{found.nowhere:,} new windows lie in no region; false alarms with old and new shuffled: {by_chance} of regions"
    )


def _known(value: float, form: str) -> str:
    """The number in this format, or a dash where it is not known."""
    return format(value, form) if math.isfinite(value) else "-"
