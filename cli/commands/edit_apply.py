"""`raie edit plan`, `apply` and `resume`: see what an edit will do, do it, finish it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.chain_head import publishes_end
from raie.cli.ui.log_options import accept_new_ids_option, later_log_options, log_argument, say_told, until_option
from raie.cli.ui.output import Output, accent, faint, iso, json_option, say, short, table
from raie.cli.ui.progress import progress_bars
from raie.cli.ui.records import degrees, snapshot_json
from raie.cli.ui.reports import draw_report
from raie.cli.ui.workspace_option import in_workspace
from raie.lines import known_line
from raie.workspace import Workspace, actor

if TYPE_CHECKING:
    from raie.edits import Planned
    from raie.registry import Registry, Snapshot

__all__ = ["apply", "draw_plan", "plan", "resume"]

_workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=lambda: os.cpu_count() or 1,
    show_default="one per core",
    help="Cores that train side by side; the result does not depend on it.",
)
_seed_option = click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), metavar="N", help="Another seed than the set-up's."
)
_drifted_option = click.option(
    "--only-drifted",
    is_flag=True,
    help="Leave regions alone that predict as well as before, as `raie drift` says.",
)
_force_option = click.option("--force", is_flag=True, help="Take it from a process that may still work on it.")


@click.command()
@log_argument
@until_option
@_drifted_option
@_seed_option
@_workers_option
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
    output: Output,
    **options: Any,
) -> None:
    """Show what an edit would do, region by region; nothing changes.

    Takes the rows of LOG after the head's watermark, so the same growing log can be given every time. Refused where the
    ids of LOG look like known ones spelt otherwise. LOG is read as at the set-up, unless an option says otherwise.

    \b
    Examples:
      raie edit plan ratings.dat --until 0.8
      raie edit plan today.csv --only-drifted --json
      raie edit plan today.csv --duplicates drop
    """
    _show_plan(workspace, log, until, seed, workers, output, options)


def _show_plan(
    workspace: Workspace,
    log: str,
    until: str | None,
    seed: int | None,
    workers: int,
    output: Output,
    options: Mapping[str, Any],
) -> None:
    from raie.engine.edit.runtime_estimate import estimated_seconds

    found = _planned(workspace, log, until, seed, options)
    seconds = estimated_seconds(found.view, found.prepared, workers)
    value = _plan_json(found) | {"estimated_seconds": round(seconds, 1)}
    output.show(value, lambda: draw_plan(value))


def _planned(
    workspace: Workspace, log: str, until: str | None, seed: int | None, options: Mapping[str, Any]
) -> Planned:
    """The plan; and on stderr how the log was read, and which options of raie.toml this model does not have."""
    from raie.cli.ui.pinned_options import contradictions
    from raie.edits import planned
    from raie.later_log import told

    registry, backbone_file = workspace.registry(), workspace.backbone_file
    found = planned(registry, workspace.model, Path(log), until, seed, backbone_file=backbone_file, **options)
    say_told(told(found.interactions))
    for line in contradictions(workspace.engine, found.view.settings.engine):
        say(f"note: {line}", err=True)
    return found


def _plan_json(found: Planned) -> dict[str, Any]:
    from raie.engine.data.interactions import between
    from raie.engine.edit.plan import region_summary
    from raie.engine.regions.gate import Action

    prepared = found.prepared
    decided = prepared.plan.decided_action
    return {
        "base": found.base.id,
        "plan": prepared.plan.digest,
        "gate": prepared.plan.gate,
        "seed": prepared.plan.seed,
        "windows": len(prepared.windows),
        "judged": int((prepared.windows.timestamp > prepared.train_until).sum()),
        "decided": {action.name.lower(): int((decided == action).sum()) for action in Action},
        "new_items": len(prepared.item_rows),
        "known": found.known.to_mapping(),
        "late": prepared.late,
        "waiting_before": len(found.view.buffer),
        "waiting_after": prepared.plan.pending,
        "drifted": None if found.drift is None else list(found.drift.drifted),
        "left_out": len(prepared.plan.left),
        "rows": len(between(found.interactions, found.view.watermark.timestamp, prepared.watermark.timestamp)),
        "after": iso(found.view.watermark.timestamp),
        "until": iso(prepared.watermark.timestamp),
        "idle": found.idle,
        "regions": region_summary(found.view.region_map, prepared.plan),
    }


_COLOURS = {"update": "cyan", "expand": "yellow", "add": "green"}


def draw_plan(value: Mapping[str, Any]) -> list[str]:
    """A plan as a person reads it: what will be touched, how far it moves, what stays."""
    rows = []
    for each in value["regions"]:
        touched = each["action"] != "untouched"
        grown = "-" if each["radius_before"] is None else degrees(each["radius_before"])
        rows.append(
            (
                each["region"],
                accent(each["action"], _COLOURS[each["action"]]) if touched else faint("untouched"),
                f"{each['update']:,}",
                f"{each['expand']:,}",
                f"{each['add']:,}",
                degrees(each["centre_shift"]) if touched and each["radius_before"] is not None else "-",
                f"{grown} → {degrees(each['radius_after'])}" if touched else grown,
                f"region {each['starts_from']}" if each["action"] == "add" else "",
            )
        )
    decided = value["decided"]
    lines = [
        f"edit of {accent(short(value['base']))} by the {value['gate']} gate: {value['windows']:,} new windows, "
        f"{decided['update']:,} Update, {decided['expand']:,} Expand, {decided['add']:,} Add "
        f"({value['judged']:,} of them kept to judge by)",
        f"{value['rows']:,} new rows, after {value['after']} until {value['until']}",
        known_line(value["known"]),
        "",
        *table(
            (
                "region",
                "operation",
                "update",
                "expand",
                "add",
                "centre moves",
                "radius",
                "starts from",
            ),
            rows,
            right=(0, 2, 3, 4, 5),
        ),
        "",
        f"waiting windows {value['waiting_before']:,} → {value['waiting_after']:,}; "
        f"new items {value['new_items']:,}; plan {short(value['plan'])}",
    ]
    if value["drifted"] is not None:
        drifted = ", ".join(map(str, value["drifted"])) or "none"
        lines.append(
            f"drifted regions: {drifted}; {value['left_out']:,} windows of untouched regions are left out"
        )
    elif value["left_out"]:
        lines.append(f"{value['left_out']:,} windows reach regions that too few windows touch: left out")
    if value["late"]:
        lines.append(f"{accent('warning')} {value['late']:,} rows are older than the watermark and came too late")
    if value["idle"]:
        return [*lines, f"{_nothing_to_edit(value['drifted'])}, and `raie edit apply` would change nothing"]
    return [*lines, f"training takes about {_duration(value['estimated_seconds'])}"]


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
@click.option("--reason", metavar="TEXT", default="", help="Why; it stays in the history.")
@_seed_option
@_workers_option
@accept_new_ids_option
@later_log_options
@json_option
@in_workspace
@publishes_end
def apply(
    workspace: Workspace,
    log: str,
    until: str | None,
    dry_run: bool,
    reason: str,
    seed: int | None,
    workers: int,
    output: Output,
    **options: Any,
) -> None:
    """Train the touched regions and commit a new snapshot.

    Regions that the plan leaves alone keep their bytes. Interrupted, it goes on with `raie edit resume`. Where no region
    has gate.min_windows new windows nothing is committed, and their rows wait for a later edit; else the windows of
    untouched regions are left out for good. With --only-drifted nothing is committed where nothing drifted, either.
    Refused where the ids of LOG look like known ones spelt otherwise, unless --accept-new-ids takes them for new.

    \b
    Examples:
      raie edit apply ratings.dat --until 0.8 --reason "October"
      raie edit apply today.csv --dry-run
      raie edit apply today.csv --only-drifted --reason "nightly"
    """
    if dry_run:
        _show_plan(workspace, log, until, seed, workers, output, options)
        return
    from raie.edits import apply_edit

    registry, found = workspace.registry(), _planned(workspace, log, until, seed, options)
    if found.idle:
        drifted = None if found.drift is None else list(found.drift.drifted)
        nothing = f"{_nothing_to_edit(drifted)}, and nothing was changed"
        output.show({"snapshot": None, "drifted": drifted}, lambda: [nothing])
        return
    with progress_bars() as progress:
        _, snapshot = apply_edit(
            registry,
            workspace.model,
            found,
            Path(log),
            until,
            actor=actor(),
            reason=reason,
            work=workspace.work,
            workers=workers,
            progress=progress,
        )
    _show_result(registry, workspace.model, snapshot, output)


@click.command()
@click.argument("edit", type=click.IntRange(min=1), metavar="EDIT")
@_force_option
@_workers_option
@json_option
@in_workspace
@publishes_end
def resume(workspace: Workspace, edit: int, force: bool, workers: int, output: Output) -> None:
    """Finish an edit or a set-up that was interrupted.

    What it had finished is read, not trained again, and the snapshot is the one it would have made.

    \b
    Examples:
      raie edit list
      raie edit resume 3
    """
    from raie.edits import resume_edit

    registry = workspace.registry()
    with progress_bars() as progress:
        snapshot = resume_edit(
            registry,
            workspace.model,
            edit,
            actor=actor(),
            force=force,
            work=workspace.work,
            workers=workers,
            progress=progress,
            backbone_file=workspace.backbone_file,
        )
    _show_result(registry, workspace.model, snapshot, output)


def _show_result(registry: Registry, model: str, snapshot: Snapshot, output: Output) -> None:
    edit = registry.edit(model, snapshot.edit)
    made = f"edit {edit.number} committed {accent(short(snapshot.id))} on {short(edit.base)}"
    output.show(snapshot_json(snapshot) | {"report": dict(edit.report)}, lambda: [made, "", *draw_report(edit)])
