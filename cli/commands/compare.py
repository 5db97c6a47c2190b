"""`raie compare`: strategies side by side on a log of the user."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from raie.cli.ui.log_options import READING, given_options, log_argument, log_options, say_told
from raie.cli.ui.output import Output, accent, faint, json_option, table
from raie.cli.ui.progress import progress_bars
from raie.cli.ui.workspace_option import in_workspace
from raie.errors import UsageError
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.engine.comparison.results import Outcome
    from raie.engine.data.readers.settings import LogSettings

__all__ = ["compare"]

_METRICS = ("Recall@5", "Recall@10", "Recall@20", "NDCG@5", "NDCG@10", "NDCG@20")


@click.command()
@log_argument
@click.option(
    "--strategies",
    default="all",
    show_default=True,
    metavar="NAME,...",
    help="raie, never, popularity, markov, full, global-lora, wide-lora, replay, lwf, lsat, mole, e-bpr, peso, "
    "random-regions, joint. Engine options go in brackets. replay+counts adds item transition counts to replay.",
)
@click.option(
    "--ablations", is_flag=True, help="Add RAIE without one of its parts, and with other numbers of regions."
)
@click.option(
    "--against", metavar="NAME", help="Strategy that the others are compared with.  [raie, or the first named]"
)
@click.option(
    "--edits",
    type=click.IntRange(min=1),
    metavar="N",
    default=5,
    show_default=True,
    help="Number of edits in a row.",
)
@click.option(
    "--seeds", default="1", show_default=True, metavar="N,...", help="Seeds. Each trains its own backbone."
)
@click.option(
    "--until", default="0.5", show_default=True, metavar="WHEN", help="Where setup ends, as for `raie setup`."
)
@click.option("--end", metavar="WHEN", help="Use no row after this, for example while you choose options.")
@click.option(
    "--ref",
    metavar="REF",
    help="Use this setup's backbone, options and end instead of training one. --until and how LOG is read are its own.",
)
@click.option(
    "--metric",
    type=click.Choice(_METRICS),
    default="Recall@10",
    show_default=True,
    help="Metric of tables, figures and gains per region. Other outputs hold every metric.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    default=Path("comparison"),
    show_default=True,
    help="Folder for tables and figures.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", default=1, show_default=True, help="Parallel processes."
)
@click.option("--fresh", is_flag=True, help="Start again, and ignore what an earlier run finished.")
@log_options
@json_option
@in_workspace
def compare(
    workspace: Workspace,
    log: str,
    strategies: str,
    ablations: bool,
    against: str | None,
    edits: int,
    seeds: str,
    until: str,
    end: str | None,
    ref: str | None,
    metric: str,
    out: Path,
    workers: int,
    fresh: bool,
    reading: LogSettings,
    output: Output,
) -> None:
    """Compare strategies over several edits of a log.

    The log is cut into the setup slice, one slice per edit, and a last one that is only evaluated on. Every strategy has
    the same windows, the same loss and the same number of training samples seen. Where a strategy differs by its nature,
    the table says so. Options of the engine come from raie.toml. Nothing is committed. If interrupted, the same command
    continues.

    \b
    Examples:
      raie compare ratings.dat --min-rating 4 --seeds 1,2,3 --workers 2
      raie compare log.csv --strategies raie,peso,raie[gate.policy=paper] --against raie
      raie compare log.csv --ref edit:1 --strategies raie,global-lora --ablations
    """
    if ref is not None and (given := given_options(("until", *READING))):
        raise UsageError(
            f"expected neither --until nor options of reading beside --ref, found {', '.join(given)}: "
            "the set-up that --ref names has fixed them, so leave them out"
        )
    from raie.compare import Asked, compared, require_outputs, write_files

    asked = Asked(
        Path(log), reading, strategies, ablations, against, edits, _seeds(seeds), until, end, ref, metric
    )
    require_outputs(out)
    with progress_bars() as progress:
        found = compared(
            workspace, asked, workers=workers, fresh=fresh, progress=progress, tell=lambda line: say_told([line])
        )
    from raie.edits import plain

    files = write_files(found, metric, out)
    output.show(plain(found.to_mapping()), lambda: _drawn(found, metric, files))


def _seeds(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) < 2**32 for part in parts):
        raise click.UsageError(f"expected --seeds as whole numbers below 2**32, as 1,2,3, found {text!r}")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _drawn(found: Outcome, metric: str, files: list[Path]) -> Iterator[str]:
    from raie.engine.comparison.tables import headed_tables, legend, untouched_lines

    edits, seeds, log = found.course.edits, ", ".join(map(str, found.seeds)), found.origin.log
    yield f"{accent(metric)} on {log}, {edits} edit{'s' * (edits > 1)}, seed{'s' * (len(found.seeds) > 1)} {seeds}"
    for heading, (headers, rows) in headed_tables(found, metric):
        numbers = [
            column for column, header in enumerate(headers) if header not in ("strategy", "where it differs")
        ]
        yield ""
        yield heading
        yield from table(headers, rows, right=numbers)
    yield ""
    yield from map(faint, textwrap.wrap(legend(found), 100))
    yield ""
    yield from untouched_lines(found)
    yield faint(f"{len(files)} files in {files[0].parent}")
