"""`raie data`: describe an interaction log before anything is trained on it, or generate one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.log_options import log_argument, log_options
from raie.cli.ui.output import Output, accent, faint, iso, json_option, one_line, say, table, times
from raie.cli.ui.reports import length_line
from raie.errors import WorkspaceError
from raie.workspace_file import find

if TYPE_CHECKING:
    from raie.engine.data.describe import Description, Learned

__all__ = ["describe", "synth"]


@click.command()
@log_argument
@click.option(
    "--cut", "cuts", multiple=True, metavar="WHEN", help="Where a slice ends. May be repeated.  [0.5 0.8]"
)
@click.option(
    "--length",
    type=click.IntRange(min=1),
    metavar="N",
    help="Context items per window.  [as setup chooses]",
)
@log_options
@json_option
@click.pass_obj
def describe(
    named: Path | None,
    log: str,
    cuts: tuple[str, ...],
    length: int | None,
    reading: Mapping[str, Any],
    output: Output,
) -> None:
    """Describe a log: what a model learns from it, what will go wrong.

    Windows are cut by the options of the workspace, where there is one. With the built-in ones every interaction is
    learned but the first of each user.

    LOG is a CSV, TSV, Parquet or JSONL file, RecBole's .inter, or MovieLens' ratings.dat or u.data. It may be compressed.
    A folder of Parquet files, or a pattern in quotes that several files match, is one log.

    \b
    Examples:
      raie data describe ratings.dat --min-rating 4
      raie data describe purchases.csv --cut 2010-06-01 --cut 2010-09-01 --json
      raie data describe 'logs/2026-*.parquet'
      raie data describe games.csv --no-header --user-column 1 --item-column 2 --time-column 4
    """
    from raie.logs.describe import describe_log

    windows = _engine_options(named).get("windows")
    result = describe_log(log, cuts or ("0.5", "0.8"), length=length, reading=reading, windows=windows)
    description, read_as = result.description, result.reading
    value = description.to_mapping() | times(first_at=description.first, last_at=description.last)
    value |= {"read_as": read_as.line, "notes": list(read_as.notes)} if read_as else {}
    output.show(value, lambda: _description_lines(log, description, result.notes))


def _engine_options(named: Path | None) -> Mapping[str, Any]:
    """Those of the workspace; none where there is no workspace and nobody named one."""
    try:
        return find(named).engine
    except WorkspaceError:
        if named is not None:
            raise
        return {}


def _description_lines(log: str, facts: Description, notes: Sequence[str]) -> list[str]:
    span = "no rows" if facts.first is None or facts.last is None else f"{iso(facts.first)} to {iso(facts.last)}"
    history = ", ".join(f"{float(name):.0%} {value:.0f}" for name, value in facts.history.items())
    rows = [
        (
            f"{number}",
            span_of(part.first, part.last),
            part.rows,
            part.users,
            part.new_users,
            part.items,
            part.new_items,
            f"{part.new_item_share:.1%}",
            part.targets,
            part.windows,
        )
        for number, part in enumerate(facts.slices, start=1)
    ]
    return [
        f"{accent(log)}  {faint(facts.digest[:12])}",
        *map(one_line, notes),
        f"{facts.rows:,} interactions of {facts.users:,} users with {facts.items:,} items, {span}",
        f"interactions per user: {history}",
        f"{facts.ties:.0%} of adjacent interactions share a second",
        *_learned_lines(facts.learned),
        "",
        *table(
            ("slice", "time", "rows", "users", "new", "items", "new", "rows with new items", "targets", "windows"),
            rows,
            right=(2, 3, 4, 5, 6, 7, 8, 9),
        ),
        *([""] if facts.warnings else []),
        *(f"{accent('warning')} {warning}" for warning in facts.warnings),
    ]


def _learned_lines(learned: Learned) -> list[str]:
    """What a model learns under the options, and what not."""
    left_out = (
        f"not the first of each of {learned.first_of_user:,} users, {learned.single_users:,} of whom have no other"
    )
    outside = (
        f"; {learned.outside_windows:,} more are left out by the window options"
        if learned.outside_windows > 0
        else ""
    )
    return [
        length_line(asdict(learned.length)),
        f"learned: {learned.targets:,} interactions, {left_out}{outside}",
        f"{learned.whole_history / max(1, learned.targets):.0%} of them have their user's whole history as context",
    ]


def span_of(first: int | None, last: int | None) -> str:
    """Two dates, or a dash where a slice is empty."""
    return "-" if first is None or last is None else f"{iso(first)[:10]} to {iso(last)[:10]}"


@click.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.csv")
@click.option("--seed", type=int, metavar="N", default=42, show_default=True, help="Random seed of the log.")
@click.option("--one-in-five", is_flag=True, help="Change exactly one topic in five before the first edit.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def synth(path: Path, seed: int, one_in_five: bool, force: bool) -> None:
    """Generate a drifting log whose ground truth is known, and print the times to cut it at.

    An existing file is overwritten only with --force.

    \b
    Examples:
      raie data synth log.csv
      raie data synth log.csv --seed 7 --one-in-five
    """
    from raie.logs.describe import require_csv_name, synthetic_log, write_synthetic_log

    require_csv_name(path, replace=force)
    made = synthetic_log(seed=seed, one_in_five=one_in_five)
    write_synthetic_log(path, made, replace=force)
    say(f"{accent(str(path))}  {len(made.users):,} interactions")
    for name, end in made.truth.cuts.items():
        say(f"  {name:8} until {end}")
