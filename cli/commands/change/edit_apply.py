"""`raie edit plan`, `apply` and `resume`: show what an edit will do, run it, finish it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from raie.cli.errors import BAD_INPUT
from raie.cli.ui.executor_option import executor_option
from raie.cli.ui.log_options import accept_new_ids_option, later_log_options, log_argument, say_notes, until_option
from raie.cli.ui.output import Output, accent, faint, iso, json_option, say, short, table
from raie.cli.ui.progress import progress_bars
from raie.cli.ui.records import degrees, snapshot_json
from raie.cli.ui.reports import impact_lines, report_lines
from raie.cli.ui.workspace_option import in_workspace
from raie.lines import known_line
from raie.registry.states import RegionAction
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.edits.edit_result import EditResult
    from raie.edits.plan_summary import RegionPlan
    from raie.edits.workflow import PlannedEdit
    from raie.engine.edit.gain import Accept

__all__ = ["apply", "plan", "plan_lines", "resume"]

_workers_option = click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(min=1),
    default=lambda: os.cpu_count() or 1,
    show_default="one per core",
    help="Parallel training processes. The result does not depend on it.",
)
_seed_option = click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), metavar="N", help="Random seed.  [that of setup]"
)
_drifted_option = click.option(
    "--only-drifted",
    is_flag=True,
    help="Edit only regions that have drifted, as `raie drift` shows.",
)
_idle_option = click.option(
    "--fail-if-idle", is_flag=True, help="End with exit code 3 if the log holds nothing new to edit."
)
_accept_option = click.option(
    "--accept",
    type=click.Choice(["gain", "anyway"]),
    default="gain",
    show_default=True,
    help="Commit the edit only if NDCG@10 rises beyond chance on held-out windows, or anyway.",
)
_force_option = click.option(
    "--force", is_flag=True, help="Take the lease from a process that may still work on the edit."
)


@click.command()
@log_argument
@until_option
@_drifted_option
@_seed_option
@_workers_option
@_idle_option
@accept_new_ids_option
@later_log_options
@json_option
@in_workspace
def plan(
    workspace: Workspace,
    log: str,
    until: str | None,
    seed: int | None,
    workers: int,
    fail_if_idle: bool,
    output: Output,
    **options: Any,
) -> None:
    """Show what an edit would do, region by region, and change nothing.

    Only rows of LOG after the head's watermark are used, so the same growing log can be given every time. A log whose ids
    look like known ids in another spelling is refused. LOG is read as at setup, unless an option says otherwise. A log
    without a new window is noted, and is no error unless --fail-if-idle is given.

    \b
    Examples:
      raie edit plan ratings.dat --until 0.8
      raie edit plan today.csv --only-drifted --json
      raie edit plan today.csv --duplicates drop
    """
    with _nothing_new({"idle": True}, output, fail=fail_if_idle):
        _show_plan(workspace, log, until, seed, workers, output, options)


@contextmanager
def _nothing_new(value: Mapping[str, Any], output: Output, *, fail: bool) -> Iterator[None]:
    """Note that the log holds no new window, where that is not to be a failure; value: what is shown as JSON then."""
    from raie.engine.errors import GainedNothing, NothingToEdit

    try:
        yield
    except GainedNothing as error:
        closed = {"snapshot": None, "drifted": None, "edit": error.number, "report": error.report}
        lines = [f"edit {error.number} gains nothing beyond chance", "", *impact_lines(error.report)]
        output.show(closed, lambda: lines)
        if fail:
            raise
        say_notes([str(error)])
    except NothingToEdit as error:
        if fail:
            raise
        say_notes([str(error)])
        output.show({**value, "drifted": None}, lambda: ["nothing new to edit"])


def _show_plan(
    workspace: Workspace,
    log: str,
    until: str | None,
    seed: int | None,
    workers: int,
    output: Output,
    options: Mapping[str, Any],
) -> None:
    planned = _planned(workspace, log, until, seed, options)
    seconds = round(planned.estimated_seconds(workers), 1)
    value = _plan_json(planned) | {"estimated_seconds": seconds}
    output.show(value, lambda: plan_lines(planned, seconds))


def _planned(
    workspace: Workspace, log: str, until: str | None, seed: int | None, options: Mapping[str, Any]
) -> PlannedEdit:
    """The plan; and on stderr how the log was read, and which options of raie.toml this model does not have."""
    from raie.edits.pinned_options import contradictions

    planned = workspace.plan(log, until=until, seed=seed, **options)
    say_notes(planned.notes)
    for line in contradictions(workspace.engine, planned.view.settings.engine):
        say(f"note: {line}", err=True)
    return planned


def _plan_json(planned: PlannedEdit) -> dict[str, Any]:
    summary = planned.summary
    return {
        "base": planned.base.id,
        "plan": summary.plan,
        "gate": summary.gate,
        "seed": summary.seed,
        "windows": summary.windows,
        "judged": summary.held_out,
        "decided": summary.decided,
        "new_items": summary.new_items,
        "known": summary.known,
        "late": summary.late,
        "waiting_before": summary.pending_before,
        "waiting_after": summary.pending_after,
        "drifted": None if summary.drifted is None else list(summary.drifted),
        "left_out": summary.left_out,
        "rows": summary.rows,
        "after": iso(summary.after),
        "until": iso(summary.until),
        "idle": planned.idle,
        "regions": [asdict(region) for region in summary.regions],
    }


_COLOURS: Mapping[str, str] = {
    RegionAction.UPDATE: "cyan",
    RegionAction.EXPAND: "yellow",
    RegionAction.ADD: "green",
}


def plan_lines(planned: PlannedEdit, estimated_seconds: float) -> list[str]:
    """A plan as a person reads it: what will be touched, how far it moves, what stays."""
    summary = planned.summary
    decided = summary.decided
    lines = [
        f"edit of {accent(short(planned.base.id))} by the {summary.gate} gate: {summary.windows:,} new windows, "
        f"{decided['update']:,} Update, {decided['expand']:,} Expand, {decided['add']:,} Add "
        f"({summary.held_out:,} of them held out for validation)",
        f"{summary.rows:,} new rows, after {iso(summary.after)} until {iso(summary.until)}",
        known_line(summary.known),
        "",
        *_region_lines(summary.regions),
        "",
        f"pending windows {summary.pending_before:,} → {summary.pending_after:,}; "
        f"new items {summary.new_items:,}; plan {short(summary.plan)}",
    ]
    if summary.drifted is not None:
        drifted = ", ".join(map(str, summary.drifted)) or "none"
        lines.append(f"drifted regions: {drifted}; {summary.left_out:,} windows of untouched regions are left out")
    elif summary.left_out:
        lines.append(f"{summary.left_out:,} windows reach regions that too few windows touch: left out")
    if summary.late:
        lines.append(f"{accent('warning')} {summary.late:,} rows are older than the watermark and came too late")
    if planned.idle:
        return [*lines, f"{_nothing_to_edit(summary.drifted)}, and `raie edit apply` would change nothing"]
    return [*lines, f"training takes about {_duration(estimated_seconds)}"]


def _region_lines(regions: Sequence[RegionPlan]) -> list[str]:
    rows = []
    for region in regions:
        before = "-" if region.radius_before is None else degrees(region.radius_before)
        rows.append(
            (
                region.region,
                accent(region.action, _COLOURS[region.action]) if region.touched else faint(region.action),
                f"{region.update:,}",
                f"{region.expand:,}",
                f"{region.add:,}",
                degrees(region.centre_shift) if region.touched and region.radius_before is not None else "-",
                f"{before} → {degrees(region.radius_after)}" if region.touched else before,
                f"region {region.starts_from}" if region.action == RegionAction.ADD else "",
            )
        )
    headers = ("region", "operation", "update", "expand", "add", "centre moves", "radius", "starts from")
    return table(headers, rows, right=(0, 2, 3, 4, 5))


def _nothing_to_edit(drifted: Sequence[int] | None) -> str:
    """Why a plan touches no region; drifted: those that it is confined to, if it is."""
    if drifted is None:
        return "fewer than gate.min_windows new windows reach each region: nothing to edit yet"
    if not drifted:
        return "no region has drifted: nothing to edit"
    return (
        f"drifted regions: {', '.join(map(str, drifted))}; but of each, fewer than gate.min_windows new windows are "
        "Update or Expand: nothing to edit"
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


@click.command()
@log_argument
@until_option
@click.option("--dry-run", is_flag=True, help="Only show the plan, as `raie edit plan` does.")
@_drifted_option
@click.option("--reason", metavar="TEXT", default="", help="Why. Recorded in the history.")
@_seed_option
@_workers_option
@executor_option
@_accept_option
@_idle_option
@accept_new_ids_option
@later_log_options
@json_option
@in_workspace
def apply(
    workspace: Workspace,
    log: str,
    until: str | None,
    dry_run: bool,
    reason: str,
    seed: int | None,
    workers: int,
    executor: str | None,
    accept: Accept,
    fail_if_idle: bool,
    output: Output,
    **options: Any,
) -> None:
    """Train the touched regions and commit a new snapshot.

    Untouched regions keep their bytes. An edit that gains nothing beyond chance is closed without a result, and its
    rows stay for a later edit. --accept anyway commits it. If interrupted, the edit continues with `raie edit
    resume`. If no region has gate.min_windows new windows, nothing is committed and the rows stay for a later edit.
    Otherwise the windows of untouched regions are left out for good. With --only-drifted nothing is committed if no
    region has drifted. A log whose ids look like known ids in another spelling is refused, unless --accept-new-ids is
    given. A log without a new window is noted. --fail-if-idle ends with code 3 where nothing is committed.

    \b
    Examples:
      raie edit apply ratings.dat --until 0.8 --reason "October"
      raie edit apply today.csv --dry-run
      raie edit apply today.csv --only-drifted --reason "nightly"
      raie edit apply today.csv --executor ray
    """
    with _nothing_new({"idle": True} if dry_run else {"snapshot": None}, output, fail=fail_if_idle):
        if dry_run:
            _show_plan(workspace, log, until, seed, workers, output, options)
        else:
            arguments = {"reason": reason, "workers": workers, "accept": accept, "executor": executor}
            planning = options | {"executor": executor}
            _apply(workspace, log, until, seed, output, planning, arguments, fail_if_idle=fail_if_idle)


def _apply(
    workspace: Workspace,
    log: str,
    until: str | None,
    seed: int | None,
    output: Output,
    options: Mapping[str, Any],
    arguments: Mapping[str, Any],
    *,
    fail_if_idle: bool,
) -> None:
    planned = _planned(workspace, log, until, seed, options)
    with progress_bars() as progress:
        result = workspace.apply(planned, progress=progress, **arguments)
    if result is None:
        drifted = None if planned.drift is None else list(planned.drift.drifted)
        nothing = f"{_nothing_to_edit(drifted)}, and nothing was changed"
        output.show({"snapshot": None, "drifted": drifted}, lambda: [nothing])
        if fail_if_idle:
            raise click.exceptions.Exit(BAD_INPUT)
        return
    _show_result(result, output)


@click.command()
@click.argument("edit", type=click.IntRange(min=1), metavar="EDIT")
@_force_option
@_workers_option
@executor_option
@json_option
@in_workspace
def resume(
    workspace: Workspace, edit: int, force: bool, workers: int, executor: str | None, output: Output
) -> None:
    """Finish an edit or a setup that was interrupted.

    Finished parts are read, not trained again. The snapshot is the one that the uninterrupted edit would have made.

    \b
    Examples:
      raie edit list
      raie edit resume 3
    """
    with _nothing_new({"snapshot": None}, output, fail=False):
        with progress_bars() as progress:
            result = workspace.resume(edit, force=force, workers=workers, executor=executor, progress=progress)
        _show_result(result, output)


def _show_result(result: EditResult, output: Output) -> None:
    made = f"edit {result.number} committed {accent(short(result.id))} on {short(result.edit.base)}"
    value = snapshot_json(result.snapshot) | {"report": dict(result.report)}
    output.show(value, lambda: [made, "", *report_lines(result.edit)])
