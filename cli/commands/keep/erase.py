"""`raie erase`: make again what a user's rows reached, without the user, and prove what is left."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raie.cli import errors
from raie.cli.ui.confirm import ask, yes_option
from raie.cli.ui.output import Output, accent, json_option, short, table
from raie.cli.ui.progress import progress_bars
from raie.cli.ui.records import snapshot_json
from raie.cli.ui.workspace_option import in_workspace
from raie.lines import numbers_line
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.edits.edit_result import EditResult
    from raie.erasing.reach import Reach, RegionReach
    from raie.erasing.remains import LeftText, Remains

__all__ = ["erase"]

_LISTED = 20
_FROZEN = (
    "The frozen backbone, the routing space and the first regions were made from the user's rows at setup, and no edit "
    "changes them. To have them without the user, set up anew in another workspace: raie init, then "
    "raie setup LOG --without-user ID"
)


@click.command()
@click.option("--user", metavar="ID", help="The user to erase; - reads the id from standard input.")
@click.option("--reason", metavar="TEXT", default="", help="Why. Recorded in the history, so without the id.")
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    envvar="RAIE_ERASE_KEY",
    metavar="FILE",
    help="Key of the hash that the history keeps in place of the id.  [RAIE_ERASE_KEY]",
)
@click.option(
    "--log",
    type=click.Path(path_type=Path),
    metavar="LOG",
    help="Log that setup and edits were made from, if it is not where each of them remains it.",
)
@click.option("--workers", type=click.IntRange(min=1), default=1, metavar="N", help="Processes that train.  [1]")
@click.option("--dry-run", is_flag=True, help="Only show what the user's rows reached.")
@click.option(
    "--prove", metavar="ID", help="Show what is left of a user, and where; - reads the id from standard input."
)
@click.option(
    "--requests",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PATH",
    help="With --prove: a log of raie serve --log-requests to look at too. May be given several times.",
)
@yes_option
@json_option
@in_workspace
def erase(
    workspace: Workspace,
    user: str | None,
    reason: str,
    key: Path | None,
    log: Path | None,
    workers: int,
    dry_run: bool,
    prove: str | None,
    requests: Sequence[Path],
    yes: bool,
    output: Output,
) -> None:
    """Erase a user, or prove what is left of one.

    Regions that the user's rows reached are trained again without them, and every other region stays as it is. One edit
    is committed; the history keeps a keyed hash and no id. Snapshots that hold the user can no longer be promoted or
    rolled back to. Their blobs go with `raie expire` and `raie gc`, once no alias points at them. With --prove the exit
    code is 7 while something is left.

    \b
    Examples:
      raie erase --user 4711 --dry-run
      raie erase --user 4711 --reason "request 17" --key erase.key
      raie erase --prove 4711 --requests requests/
    """
    if (user is None) == (prove is None):
        raise click.UsageError("give --user ID to erase a user, or --prove ID to see what is left of one")
    if prove is not None:
        _prove(workspace, _id(prove), key, requests, output)
    elif dry_run:
        _show_reach(workspace, _id(str(user)), output)
    else:
        _erase(workspace, _id(str(user)), reason, key, log, workers, yes=yes, output=output)


def _id(text: str) -> str:
    """The id: what was typed, or the first line of standard input, which no list of processes shows."""
    return sys.stdin.readline().rstrip("\r\n") if text == "-" else text


def _show_reach(workspace: Workspace, user: str, output: Output) -> None:
    from raie.erasing.erase import plan_erasure

    reach = plan_erasure(workspace, user)
    output.show(_reach_json(reach), lambda: _reach_lines(reach))


def _erase(
    workspace: Workspace,
    user: str,
    reason: str,
    key_file: Path | None,
    log: Path | None,
    workers: int,
    *,
    yes: bool,
    output: Output,
) -> None:
    from raie.erasing import erase as erasing
    from raie.erasing.keyed_hash import read_key

    key = read_key(key_file)
    erasing.require_reason(reason, user)
    reach = erasing.plan_erasure(workspace, user, key=key)
    for line in _reach_lines(reach):
        click.echo(line, err=True)
    ask("Make this again without the user?", yes=yes)
    with progress_bars() as progress:
        done = erasing.erase(workspace, user, key=key, reason=reason, log=log, workers=workers, progress=progress)
    value = snapshot_json(done.snapshot) | {"report": dict(done.report), "reach": _reach_json(reach)}
    output.show(value, lambda: _done_lines(done))


def _prove(
    workspace: Workspace, user: str, key_file: Path | None, requests: Sequence[Path], output: Output
) -> None:
    from raie.erasing.keyed_hash import read_key
    from raie.erasing.remains import remains_of

    key = None if key_file is None else read_key(key_file)
    with progress_bars() as progress:
        remains = remains_of(workspace, user, key=key, requests=requests, progress=progress)
    output.show(_remains_json(remains), lambda: _remains_lines(remains))
    if remains.anything:
        raise click.exceptions.Exit(errors.ATTENTION)


def _reach_json(reach: Reach) -> dict[str, Any]:
    return {
        **vars(reach),
        "windows": dict(reach.windows),
        "regions": [{**vars(region), "edits": list(region.edits)} for region in reach.regions],
        "untouched": list(reach.untouched),
        "edits": list(reach.edits),
    }


def _reach_lines(reach: Reach) -> list[str]:
    shared = {"add_buffer": "pending", "validation": "validation", "holdout": "held out"}
    windows = ", ".join(f"{count} {shared[name]}" for name, count in reach.windows.items() if count)
    lines = [f"first in snapshot {short(reach.first)}; windows of all regions: {windows or 'none'}", ""]
    lines += table(
        ["region", "replay windows", "counts", "trained by edit"],
        [_region_cells(region) for region in reach.regions],
        right=[1],
    )
    untouched = f"untouched regions: {numbers_line(reach.untouched) if reach.untouched else 'none'}"
    return [*lines, "", untouched, *([_FROZEN] if reach.backbone else [])]


def _region_cells(region: RegionReach) -> list[object]:
    return [
        region.region,
        region.windows,
        "yes" if region.counts else "no",
        numbers_line(region.edits) if region.edits else "-",
    ]


def _done_lines(done: EditResult) -> list[str]:
    changed, untouched = done.report["changed"], done.report["untouched"]
    made = f"{accent('head', 'cyan')} {short(done.id)}  edit {done.number} erased a user"
    regions = f"regions made again: {numbers_line(changed) if changed else 'none'}; untouched, byte for byte: "
    lines = [made, regions + (numbers_line(untouched) if untouched else "none")]
    lines += [
        "Older snapshots still hold the user and cannot be used any more. To let them go:",
        "  raie promote head                              for every alias that serves one of them",
        "  raie expire --keep-last 1 --keep-days DAYS     DAYS: the delay that the law allows",
        "  raie gc",
        "  raie erase --prove ID                          says what is left",
    ]
    return [*lines, *([_FROZEN] if done.report["backbone_saw_user"] else [])]


def _remains_json(remains: Remains) -> dict[str, Any]:
    return {
        "model": remains.model,
        "left": remains.anything,
        "erased_by": list(remains.erased_by),
        "snapshots": [{**vars(left), "aliases": list(left.aliases)} for left in remains.snapshots],
        "blobs": [{**vars(left), "kept_by": list(left.kept_by)} for left in remains.blobs],
        "rows": [vars(left) for left in remains.rows],
        "mlflow": [vars(left) for left in remains.mlflow],
        "requests": [vars(left) for left in remains.requests],
        "frozen_backbone_saw_user": remains.frozen,
    }


def _remains_lines(remains: Remains) -> list[str]:
    lines = [f"erased by edit {numbers_line(remains.erased_by)}"] if remains.erased_by else []
    for left in remains.snapshots[:_LISTED]:
        at = f", which {' and '.join(left.aliases)} point at" if left.aliases else ""
        lines.append(f"snapshot  {short(left.snapshot)} of edit {left.edit}{at}")
    for blob in remains.blobs[:_LISTED]:
        what = "the id" if blob.what == "id" else f"{blob.windows} windows"
        keeps = f"kept by {', '.join(blob.kept_by[:3])}" if blob.kept_by else "kept by nothing: raie gc deletes it"
        lines.append(f"blob      {short(blob.digest)} holds {what}, {keeps}")
    lines += _text_lines("row      ", remains.rows)
    lines += _text_lines("mlflow   ", remains.mlflow)
    lines += _text_lines("requests ", remains.requests)
    hidden = max(0, len(remains.snapshots) - _LISTED) + max(0, len(remains.blobs) - _LISTED)
    lines += [f"and {hidden} more; --json lists all"] if hidden else []
    end = accent("something is left", "red") if remains.anything else accent("nothing is left", "green")
    return [*lines, end, *([_FROZEN] if remains.frozen else [])]


def _text_lines(kind: str, texts: Sequence[LeftText]) -> list[str]:
    return [f"{kind} {left.where}: {left.count}" for left in texts]
