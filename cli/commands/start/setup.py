"""`raie setup`: from a log to the first snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from raie.cli.ui.executor_option import executor_option
from raie.cli.ui.log_options import log_argument, log_options, say_notes, until_option
from raie.cli.ui.output import Output, accent, json_option, short
from raie.cli.ui.progress import progress_bars
from raie.cli.ui.records import snapshot_json
from raie.cli.ui.reports import report_lines
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

__all__ = ["setup"]


@click.command()
@log_argument
@until_option
@click.option(
    "--regions", type=click.IntRange(min=1), metavar="K", help="Number of regions.  [chosen by a criterion]"
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    metavar="N",
    help="Random seed.  [42, or engine.seed in raie.toml]",
)
@click.option("--reason", metavar="TEXT", default="", help="Why. Recorded in the history.")
@executor_option
@click.option(
    "--without-user",
    "without_users",
    multiple=True,
    metavar="ID",
    help="Leave out the rows of this user. May be given several times; the ids are recorded nowhere.",
)
@log_options
@json_option
@in_workspace
def setup(
    workspace: Workspace,
    log: str,
    until: str | None,
    regions: int | None,
    seed: int | None,
    reason: str,
    executor: str | None,
    without_users: Sequence[str],
    reading: Mapping[str, Any],
    output: Output,
) -> None:
    """Train the backbone, fit the regions, commit the first snapshot.

    The backbone trains until the validation windows, the newest ones of the setup slice, are predicted no better. Then it
    is frozen for good. If interrupted, setup continues with `raie edit resume`. Further options are in raie.toml under
    [engine].

    \b
    Examples:
      raie setup ratings.dat --min-rating 4 --until 0.5
      raie setup purchases.csv --duplicates drop --until 2010-06-01 --regions 6
      raie setup purchases.parquet --executor ray
    """
    engine: dict[str, Any] = {} if seed is None else {"seed": seed}
    # A value that is no table stays, and is refused with the name of the option.
    if regions is not None and isinstance(workspace.engine.get("regions", {}), Mapping):
        engine["regions"] = {"regions": regions}
    with progress_bars() as progress:
        result = workspace.setup(
            log,
            until=until,
            reason=reason,
            engine=engine,
            reading=reading,
            executor=executor,
            progress=progress,
            on_note=lambda line: say_notes([line]),
            without_users=without_users,
        )
    value = snapshot_json(result.snapshot) | {"report": dict(result.report)}
    made = f"set up {accent(short(result.id))}"
    output.show(value, lambda: [made, *report_lines(result.edit)])
