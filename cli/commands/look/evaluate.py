"""`raie evaluate` and `recommend`: evaluate a snapshot, and use it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from raie.cli.commands.look.recommend_batch import Batch, batch_options, recommend_batch
from raie.cli.ui.log_options import later_log_options, log_argument, say_notes, until_option
from raie.cli.ui.output import Output, accent, json_option, one_line, short, table
from raie.cli.ui.progress import patient_bars
from raie.cli.ui.workspace_option import in_workspace
from raie.errors import UsageError
from raie.lines import SETUP_PART, known_line
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.engine.evaluation.coverage import Coverage
    from raie.evaluate import Measured
    from raie.snapshots.recommend import Recommendation

__all__ = ["evaluate", "recommend"]

_ref_option = click.option(
    "--ref", metavar="REF", default="head", show_default=True, help="Snapshot: head, an alias, edit:N or an id."
)


@click.command()
@log_argument
@_ref_option
@click.option("--against", metavar="REF", help="Another snapshot, evaluated on the same windows.")
@click.option("--strategies", is_flag=True, help="Train one global LoRA on the same edits, and evaluate it too.")
@click.option("--record", is_flag=True, help="Record the comparison with --against, for an alias's policy.")
@click.option("--reason", metavar="TEXT", default="", help="Why. Recorded with the evaluation.")
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
    """Evaluate a snapshot on a log.

    "new" windows are those of LOG after the snapshot's watermark, which it has never seen. "setup" windows are those
    held out at setup. Every item is ranked, and what a user had before counts as each region has learned of repeats. The
    setup's own snapshot, "never edited", is evaluated too, and so is how many of the new interactions are left out, and
    why.

    \b
    Examples:
      raie evaluate ratings.dat
      raie evaluate ratings.dat --ref production --against head --json
      raie evaluate ratings.dat --ref edit:2 --strategies
      raie evaluate ratings.dat --ref head --against production --record
    """
    if record and against is None:
        raise UsageError(
            "expected --against REF with --record, found none: name what the alias serves, as production"
        )
    with patient_bars() as progress:
        measured = workspace.evaluate(
            log,
            ref=ref,
            against=against,
            until=until,
            strategies=strategies,
            reading=reading,
            progress=progress,
        )
    say_notes(measured.notes)
    number = workspace.record_evaluation(measured, reason=reason) if record else None
    recorded = [] if number is None else [f"recorded as evaluation {number}, against {short(measured.against)}"]
    value = measured.to_mapping() | {"evaluation": number}
    output.show(value, lambda: [*_measured_lines(measured), *recorded])


def _measured_lines(measured: Measured) -> list[str]:
    """One row per model, new and setup windows side by side."""
    rows = [
        (
            name,
            *(
                "-" if math.isnan(part[metric]) else f"{part[metric]:.4f}"
                for part in (parts["new"], parts[SETUP_PART])
                for metric in ("Recall@10", "NDCG@10")
            ),
        )
        for name, parts in measured.models.items()
    ]
    snapshot = short(measured.snapshot)
    lines = [_change_line("new", snapshot, "never edited", asdict(measured.change))]
    if measured.comparison is not None:
        against = short(measured.against)
        lines += [
            _change_line(part, snapshot, against, measured.comparison[name].get("Recall@10 change"))
            for part, name in (
                ("new", "adaptation"),
                ("known items' new", "adaptation_known"),
                ("setup", "retention"),
            )
        ]
    known = [] if measured.known is None else [known_line(measured.known)]
    headers = ("model", "Recall@10, new", "NDCG@10, new", "Recall@10, setup", "NDCG@10, setup")
    return [
        f"{measured.new_windows:,} new windows, {measured.setup_windows:,} held-out setup windows",
        *([] if measured.coverage is None else [_coverage_line(measured.coverage, measured.cold)]),
        *table(headers, rows, (1, 2, 3, 4)),
        *lines,
        *known,
    ]


def _coverage_line(coverage: Coverage, cold: int) -> str:
    """How many of the new interactions are evaluated, and why not all; cold: those after nothing that is known."""
    outside = f", {coverage.outside_windows:,} left out by the window options" if coverage.outside_windows else ""
    return (
        f"{coverage.evaluated:,} of {coverage.interactions:,} new interactions evaluated; {coverage.first:,} are the "
        f"first of their user{outside}; {coverage.new_items:,} of those evaluated are of items unknown to the snapshot, "
        f"{cold:,} come after no known item"
    )


def _change_line(part: str, snapshot: str, against: str, change: Mapping[str, float] | None) -> str:
    """What changed from another model to the snapshot; no change where no window was there to measure."""
    words = f"Recall@10 on {part} windows, {snapshot} against {against}"
    if change is None:
        return f"{words}: none"
    return f"{words}: {change['mean']:+.4f} (95 % {change['low']:+.4f} to {change['high']:+.4f}, by user)"


@click.command()
@click.argument("log", required=False, metavar="[LOG]")
@click.option("--user", "users", multiple=True, metavar="ID", help="A user of LOG. May be repeated.")
@click.option("--items", metavar="ID,ID,...", help="A history, oldest item first, instead of LOG and --user.")
@batch_options
@click.option(
    "--top",
    "count",
    metavar="K",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Items per user.",
)
@click.option(
    "--exclude-seen/--keep-seen",
    "exclude_seen",
    default=None,
    help="Leave out all that a user had before, or make no difference of it.  [as each region has learned of repeats]",
)
@_ref_option
@later_log_options
@json_option
@in_workspace
def recommend(
    workspace: Workspace,
    log: str | None,
    users: tuple[str, ...],
    items: str | None,
    batch: Batch,
    count: int,
    exclude_seen: bool | None,
    ref: str,
    reading: Mapping[str, Any],
    output: Output,
) -> None:
    """Recommend items to users of a log, or after a history.

    Items that the snapshot does not know are ignored, and their number is shown. A user without a known item gets what is
    popular lately. If a user has no row in LOG, the command is refused before anything is printed.

    With --output the answers of any number of users go to a file: a row per user and rank, with item, score, region (none
    for a cold user), how many items were ignored, cold, and title. FILE of --input has a row per user: user_id or user,
    items with the oldest first (a list, in CSV ids with commas between them), and times if it has them. The same command
    goes on where it was stopped. Snapshot and options stand in the metadata of Parquet, for others in OUT.meta.json.

    \b
    Examples:
      raie recommend ratings.dat --user 42 --user 99
      raie recommend ratings.dat --user 42 --exclude-seen
      raie recommend --items 1193,661,914 --ref production --top 5 --json
      raie recommend --input histories.parquet --output out.parquet --ref production
      raie recommend --all-users ratings.dat --output out.csv
    """
    if batch.asked:
        recommend_batch(workspace[ref], batch, log, (users, items), count, exclude_seen, reading, output)
        return
    if (items is None) == (log is None) or (log is None) != (not users):
        raise UsageError("give either LOG with --user, or --items")
    snapshot = workspace[ref]
    if items is None:
        answers = snapshot.recommendations(
            str(log), count, users=users, exclude_seen=exclude_seen, reading=reading
        )
    else:
        history = [item.strip() for item in items.split(",")]
        answers = (snapshot.recommend_after(history, count, exclude_seen=exclude_seen),)
    value = {"recommendations": [_answer_json(answer) for answer in answers]}
    output.show(value, lambda: [line for answer in answers for line in _answer_lines(answer)])


def _answer_json(answer: Recommendation) -> dict[str, Any]:
    return {
        "user": answer.user,
        "region": answer.region,
        "ignored": answer.ignored,
        "context": list(answer.context),
        "items": [{"item": best.item, "score": best.score} for best in answer.items],
    }


def _answer_lines(answer: Recommendation) -> list[str]:
    unknown = f"; {answer.ignored} item{'s' * (answer.ignored > 1)} unknown, left out" if answer.ignored else ""
    after = f"region {answer.region}, after {', '.join(map(one_line, answer.context))}"
    return [
        f"{accent(one_line(answer.user) or 'history')}  {'cold: what is popular' if answer.region is None else after}"
        f"{unknown}",
        *(
            f"  {rank:>2}  {one_line(best.item)}  {best.score:.3f}"
            for rank, best in enumerate(answer.items, start=1)
        ),
    ]
