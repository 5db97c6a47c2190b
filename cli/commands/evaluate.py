"""`raie evaluate` and `recommend`: measure a snapshot, and use it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.chain_head import publish_end
from raie.cli.ui.log_options import later_log_options, log_argument, say_told, until_option
from raie.cli.ui.output import Output, accent, json_option, one_line, short, table
from raie.cli.ui.workspace_option import in_workspace
from raie.errors import UsageError
from raie.lines import known_line
from raie.workspace import Workspace, actor

if TYPE_CHECKING:
    from raie.evaluate import Measured

__all__ = ["draw_measured", "evaluate", "recommend"]

_ref_option = click.option(
    "--ref", metavar="REF", default="head", show_default=True, help="Snapshot: head, an alias, edit:N or an id."
)


@click.command()
@log_argument
@_ref_option
@click.option("--against", metavar="REF", help="Another snapshot, measured on the same windows.")
@click.option("--strategies", is_flag=True, help="Train one global LoRA on the same edits, and measure it too.")
@click.option("--record", is_flag=True, help="Keep the comparison with --against, for the policy of an alias.")
@click.option("--reason", metavar="TEXT", default="", help="Why; it stays with what is recorded.")
@until_option
@later_log_options
@json_option
@in_workspace
def evaluate(
    workspace: Workspace,
    log: str,
    ref: str,
    against: str | None,
    strategies: bool,
    record: bool,
    reason: str,
    until: str | None,
    reading: Mapping[str, Any],
    output: Output,
) -> None:
    """Measure a snapshot on a log.

    "new" are the windows of LOG after the snapshot's watermark, which it has never seen; "set-up" are the windows
    that its set-up held out. All items are ranked, those of the context left out. The backbone that was never edited
    stands beside it.

    \b
    Examples:
      raie evaluate ratings.dat
      raie evaluate ratings.dat --ref production --against head --json
      raie evaluate ratings.dat --ref edit:2 --strategies
      raie evaluate ratings.dat --ref head --against production --record
    """
    from raie.evaluate import measured

    if record and against is None:
        raise UsageError(
            "expected --against REF with --record, found none: name what the alias serves, as production"
        )
    found = measured(
        workspace.registry(),
        workspace.model,
        Path(log),
        ref,
        against,
        until,
        strategies=strategies,
        backbone_file=workspace.backbone_file,
        reading=reading,
    )
    say_told(found.notes)
    number = _recorded(workspace, found, reason) if record else None
    kept = [] if number is None else [f"recorded as evaluation {number}, against {short(found.against)}"]
    output.show(found.to_mapping() | {"evaluation": number}, lambda: [*draw_measured(found), *kept])


def _recorded(workspace: Workspace, found: Measured, reason: str) -> int:
    """Keep the comparison under the ids that were measured: an alias may have moved meanwhile."""
    from raie.registry import trust

    assert found.against is not None
    report, registry, model = found.comparison or {}, workspace.registry(), workspace.model
    kept = trust.record_evaluation(
        registry, model, found.snapshot, found.against, report, actor=actor(), reason=reason
    )
    publish_end(workspace)
    return kept.id


def draw_measured(found: Measured) -> list[str]:
    """One row per model, new and set-up windows side by side."""
    rows = [
        (
            name,
            *(
                "-" if math.isnan(part[metric]) else f"{part[metric]:.4f}"
                for part in (row["new"], row["set-up"])
                for metric in ("Recall@10", "NDCG@10")
            ),
        )
        for name, row in found.models.items()
    ]
    snapshot = short(found.snapshot)
    lines = [_change_line("new", snapshot, "never edited", asdict(found.change))]
    if found.comparison is not None:
        lines += [
            _change_line(part, snapshot, short(found.against), found.comparison[name].get("Recall@10 change"))
            for part, name in (
                ("new", "adaptation"),
                ("known items' new", "adaptation_known"),
                ("set-up", "retention"),
            )
        ]
    known = [] if found.known is None else [known_line(found.known)]
    return [
        f"{found.new_windows:,} new windows, {found.setup_windows:,} held-out set-up windows",
        *table(
            ("model", "Recall@10, new", "NDCG@10, new", "Recall@10, set-up", "NDCG@10, set-up"), rows, (1, 2, 3, 4)
        ),
        *lines,
        *known,
    ]


def _change_line(part: str, snapshot: str, other: str, change: Mapping[str, float] | None) -> str:
    """What changed from the other model to the snapshot; no change where no window was there to measure."""
    words = f"Recall@10 on {part} windows, {snapshot} against {other}"
    if change is None:
        return f"{words}: none"
    return f"{words}: {change['mean']:+.4f} (95 % {change['low']:+.4f} to {change['high']:+.4f}, by user)"


@click.command()
@click.argument("log", required=False, metavar="[LOG]")
@click.option("--user", "users", multiple=True, metavar="ID", help="A user of LOG; as often as needed.")
@click.option("--items", metavar="ID,ID,...", help="A history, oldest item first, instead of LOG and users.")
@click.option("--top", "count", type=click.IntRange(min=1), default=10, show_default=True, help="Items per user.")
@click.option("--keep-seen", is_flag=True, help="Recommend items of the context again.")
@_ref_option
@later_log_options
@json_option
@in_workspace
def recommend(
    workspace: Workspace,
    log: str | None,
    users: tuple[str, ...],
    items: str | None,
    count: int,
    keep_seen: bool,
    ref: str,
    reading: Mapping[str, Any],
    output: Output,
) -> None:
    """Recommend items to users of a log, or after a history.

    Items of the log that the snapshot does not know are left out, and counted. A user without a row in LOG, or without
    a known item, is refused before anything is printed.

    \b
    Examples:
      raie recommend ratings.dat --user 42 --user 99
      raie recommend --items 1193,661,914 --ref production --top 5 --json
    """
    from raie.evaluate import recommended

    if (items is None) == (log is None) or (log is None) != (not users):
        raise UsageError("give either LOG with --user, or --items")
    found = recommended(
        workspace.registry(),
        workspace.model,
        ref,
        log=None if log is None else Path(log),
        users=users,
        items=None if items is None else [each.strip() for each in items.split(",")],
        count=count,
        exclude_seen=not keep_seen,
        backbone_file=workspace.backbone_file,
        reading=reading,
    )
    output.show({"recommendations": found}, lambda: _drawn(found))


def _drawn(found: list[dict[str, Any]]) -> list[str]:
    lines = []
    for each in found:
        unknown = f"; {each['ignored']} item{'s' * (each['ignored'] > 1)} unknown, left out"
        lines.append(
            f"{accent(one_line(each['user']) or 'history')}  region {each['region']}, after "
            f"{', '.join(map(one_line, each['context']))}{unknown if each['ignored'] else ''}"
        )
        lines += [
            f"  {rank:>2}  {one_line(best['item'])}  {best['score']:.3f}"
            for rank, best in enumerate(each["items"], start=1)
        ]
    return lines
