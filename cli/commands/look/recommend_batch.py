"""`raie recommend --output`: the answers of any number of users, into a file."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.executor_option import executor_option
from raie.cli.ui.option_groups import with_options
from raie.cli.ui.output import Output, short
from raie.cli.ui.progress import progress_bars
from raie.errors import UsageError

if TYPE_CHECKING:
    from raie.batch.run import BatchResult
    from raie.snapshots.snapshot_view import SnapshotView

__all__ = ["Batch", "batch_options", "recommend_batch"]


@dataclass(frozen=True)
class Batch:
    """The options of a batch. histories: the file of --input.  force: whether the output may be written over.

    executor: where it runs.
    """

    histories: Path | None
    all_users: bool
    into: Path | None
    force: bool
    executor: str | None = None

    @property
    def asked(self) -> bool:
        """Whether any of them was given."""
        return bool(self.histories or self.all_users or self.into or self.force or self.executor)


_OPTIONS = (
    click.option(
        "--input",
        "histories",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Histories, a row per user: .parquet, .csv or .jsonl, instead of LOG. Needs --output.",
    ),
    click.option("--all-users", is_flag=True, help="Every user of LOG. Needs --output."),
    click.option(
        "--output",
        "into",
        type=click.Path(path_type=Path),
        metavar="OUT",
        help="File for the answers: .parquet, .csv or .jsonl.",
    ),
    click.option("--force", is_flag=True, help="Write over OUT."),
    executor_option,
)


def batch_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a batch to a command, which receives them as `batch`."""

    @functools.wraps(command)
    def run(
        *arguments: Any,
        histories: Path | None,
        all_users: bool,
        into: Path | None,
        force: bool,
        executor: str | None,
        **options: Any,
    ) -> Any:
        return command(*arguments, batch=Batch(histories, all_users, into, force, executor), **options)

    return with_options(run, _OPTIONS)


def recommend_batch(
    snapshot: SnapshotView,
    batch: Batch,
    log: str | None,
    others: tuple[Any, ...],
    count: int,
    exclude_seen: bool | None,
    reading: Mapping[str, Any],
    output: Output,
) -> None:
    """Write the answers, and say how many there are.

    Args:
        snapshot: That answers.
        batch: The options.
        log: The log whose users are answered.
        others: Options of one user's answers, which do not go with these.
        count: Items per user.
        exclude_seen: As of `SnapshotView.recommend`.
        reading: How the log is read, where that differs from the setup.
        output: Of the command.
    """
    if batch.into is None or any(others) or not _one_source(batch, log):
        raise UsageError(
            "give --output with either --input, or LOG and --all-users, and neither --user nor --items"
        )
    column = reading.get("user")
    if batch.histories and (differing := sorted(set(reading) - {"user"})):
        raise UsageError(f"a file of histories is no log: leave out the option of {differing[0]}")
    try:
        with progress_bars() as progress:
            result = snapshot.recommend_batch(
                batch.into,
                count,
                histories=batch.histories,
                all_users=log,
                exclude_seen=exclude_seen,
                user_column=column if batch.histories else None,
                reading={} if batch.histories else reading,
                replace=batch.force,
                executor=batch.executor,
                progress=progress,
            )
    except KeyboardInterrupt as stopped:
        stopped.add_note("the same command goes on from here")
        raise
    value = {**asdict(result), "output": str(result.output)}
    output.show(value, lambda: _lines(result))


def _one_source(batch: Batch, log: str | None) -> bool:
    return batch.all_users and log is not None if batch.histories is None else not batch.all_users and log is None


def _lines(result: BatchResult) -> list[str]:
    cold = f"{result.cold:,} of them cold" if result.cold else "none of them cold"
    ignored = f"; {result.ignored:,} unknown items left out" if result.ignored else ""
    resumed = f"; {result.resumed:,} users were answered before it was stopped" if result.resumed else ""
    return [
        f"{result.rows:,} rows for {result.users:,} users, {cold}, in {result.output} by {short(result.snapshot)}"
        f"{ignored}{resumed}"
    ]
