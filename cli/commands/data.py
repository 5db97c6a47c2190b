"""`raie data`: describe an interaction log before anything is trained on it, or generate one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from raie.cli.ui.log_options import log_argument, log_options
from raie.cli.ui.output import Output, accent, faint, iso, json_option, one_line, say, table, times
from raie.errors import UsageError
from raie.output_files import require_free, whole_file

if TYPE_CHECKING:
    from raie.engine.data.describe import Description
    from raie.engine.data.readers.settings import LogSettings

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
    default=10,
    show_default=True,
    help="Context items per window.",
)
@log_options
@json_option
def describe(log: str, cuts: tuple[str, ...], length: int, reading: LogSettings, output: Output) -> None:
    """Describe a log, and warn of what will go wrong with it.

    LOG is a CSV, TSV, Parquet or JSONL file, RecBole's .inter, or MovieLens' ratings.dat or u.data. It may be compressed.

    \b
    Examples:
      raie data describe ratings.dat --min-rating 4
      raie data describe purchases.csv --cut 2010-06-01 --cut 2010-09-01 --json
      raie data describe games.csv --no-header --user-column 1 --item-column 2 --time-column 4
    """
    from raie.engine.config import WindowConfig
    from raie.engine.data.describe import describe as description
    from raie.engine.data.interactions import cut_time, read_log
    from raie.later_log import told

    interactions = read_log(Path(log), **vars(reading))
    ends = [cut_time(interactions, cut) for cut in cuts or ("0.5", "0.8")]
    found = description(interactions, WindowConfig(length=length, min_length=length), ends)
    found_as = interactions.reading
    read_as = {"read_as": found_as.line, "notes": list(found_as.notes)} if found_as else {}
    value = found.to_mapping() | times(first_at=found.first, last_at=found.last) | read_as
    output.show(value, lambda: _drawn(log, found, told(interactions)))


def _drawn(log: str, found: Description, notes: Sequence[str]) -> list[str]:
    span = "no rows" if found.first is None or found.last is None else f"{iso(found.first)} to {iso(found.last)}"
    history = ", ".join(f"{float(name):.0%} {value:.0f}" for name, value in found.history.items())
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
            part.windows,
        )
        for number, part in enumerate(found.slices, start=1)
    ]
    return [
        f"{accent(log)}  {faint(found.digest[:12])}",
        *map(one_line, notes),
        f"{found.rows:,} interactions of {found.users:,} users with {found.items:,} items, {span}",
        f"interactions per user: {history}",
        f"{found.ties:.0%} of adjacent interactions share a second; {found.short_users:.0%} of users fill no window",
        "",
        *table(
            ("slice", "time", "rows", "users", "new", "items", "new", "rows with new items", "windows"),
            rows,
            right=(2, 3, 4, 5, 6, 7, 8),
        ),
        *([""] if found.warnings else []),
        *(f"{accent('warning')} {warning}" for warning in found.warnings),
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
    from raie.engine.data.synthetic import SyntheticConfig, csv_bytes, drifting_log, one_topic_in_five

    _require_free_csv(path, force)
    made = drifting_log(one_topic_in_five(seed) if one_in_five else SyntheticConfig(seed=seed))
    with whole_file(path, replace=force) as stream:
        stream.write(csv_bytes(made))
    say(f"{accent(str(path))}  {len(made.users):,} interactions")
    for name, end in made.truth.cuts.items():
        say(f"  {name:8} until {end}")


def _require_free_csv(path: Path, force: bool) -> None:
    """Refuses a name under which no command would read the log, and to write over a log that may be the only one."""
    if path.suffix.lower() != ".csv":
        raise UsageError(
            f"expected a name that ends in .csv, found {path}: a log is read by its ending, so name another"
        )
    require_free(path, replace=force)
