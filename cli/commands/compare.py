"""`raie compare`: strategies side by side on a log of the user's own."""

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
    from raie.engine.comparison.results import ComparisonResult
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
    "random-regions, joint; any with engine options in brackets; one that trains, with counts beside it: replay+counts.",
)
@click.option(
    "--ablations", is_flag=True, help="RAIE with one part taken out, and with other numbers of regions, too."
)
@click.option("--against", metavar="NAME", help="What the others are compared with.  [raie, or the first named]")
@click.option(
    "--edits", type=click.IntRange(min=1), default=5, show_default=True, help="Edits, one after the other."
)
@click.option(
    "--seeds", default="1", show_default=True, metavar="N,...", help="Seeds; each has a backbone of its own."
)
@click.option(
    "--until", default="0.5", show_default=True, metavar="WHEN", help="Where the set-up ends, as for `raie setup`."
)
@click.option("--end", metavar="WHEN", help="Leave later rows alone, for instance while you choose options.")
@click.option(
    "--ref",
    metavar="REF",
    help="Use this set-up's backbone, options and end instead of training one; --until and how LOG is read are its own.",
)
@click.option(
    "--metric",
    type=click.Choice(_METRICS),
    default="Recall@10",
    show_default=True,
    help="Of tables, pictures and regions' gains; all else is written in every metric.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("comparison"),
    show_default=True,
    help="Folder for tables and pictures.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Strategies side by side."
)
@click.option("--fresh", is_flag=True, help="Begin anew, whatever an earlier run has finished.")
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

    Cuts the log into a set-up, EDITS slices and one that nobody learns from. Every strategy gets the same windows, loss
    and sample passes; where one by its nature differs, the table says so. Options of the engine are those of raie.toml.
    Commits nothing. Interrupted, the same command goes on.

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


def _drawn(found: ComparisonResult, metric: str, files: list[Path]) -> Iterator[str]:
    from raie.engine.comparison.tables import headed_tables, legend, untouched_lines

    edits, seeds, log = found.protocol.edits, ", ".join(map(str, found.seeds)), found.origin.log
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
