"""`raie compare`: strategies side by side on a log of the user."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.executor_option import executor_option
from raie.cli.ui.log_options import READING, given_options, log_argument, log_options, say_notes
from raie.cli.ui.output import Output, accent, faint, json_option, table
from raie.cli.ui.progress import progress_bars_or_lines
from raie.cli.ui.workspace_option import in_workspace_if_any
from raie.errors import UsageError
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.engine.comparison.results import ComparisonResult

__all__ = ["compare"]

_METRICS = ("Recall@5", "Recall@10", "Recall@20", "NDCG@5", "NDCG@10", "NDCG@20", "MRR")
_USUAL = "never,popularity,markov,item-knn,ease,full,replay+counts,raie"


@click.command()
@log_argument
@click.option(
    "--strategies",
    default=_USUAL,
    show_default=True,
    metavar="NAME,...",
    help="all, or raie, never, popularity, markov, item-knn, ease, tale, full, global-lora, wide-lora, replay, lwf, "
    "lsat, mole, e-bpr, peso, random-regions, joint. Engine options go in brackets. replay+counts joins the counts of "
    "the log to replay.",
)
@click.option(
    "--ablations", is_flag=True, help="Add RAIE without one of its parts, and with other numbers of regions."
)
@click.option(
    "--against", metavar="NAME", help="Strategy that the others are compared with.  [raie, or the first named]"
)
@click.option(
    "--edits",
    metavar="N",
    type=click.IntRange(min=1),
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
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("comparison"),
    show_default=True,
    help="Folder for tables and figures.",
)
@click.option(
    "--workers", metavar="N", type=click.IntRange(min=1), default=1, show_default=True, help="Parallel processes."
)
@executor_option
@click.option(
    "--work",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that keeps what is finished.  [.raie/work/compare of the workspace, or the user's cache]",
)
@click.option("--fresh", is_flag=True, help="Start again, and ignore what an earlier run finished.")
@log_options
@json_option
@in_workspace_if_any
def compare(
    workspace: Workspace | None,
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
    executor: str | None,
    work: Path | None,
    fresh: bool,
    reading: Mapping[str, Any],
    output: Output,
) -> None:
    """Compare strategies over several edits of a log, and say which one to take.

    Works without a workspace. The log is cut into the setup slice, one slice per edit, and a last one that is only
    evaluated on. Every strategy has the same windows, the same loss and the same number of training samples seen. Where a
    strategy differs by its nature, a table says so. Options of the engine come from raie.toml, if there is one. Nothing
    is committed. If interrupted, the same command continues.

    \b
    Examples:
      raie compare log.csv
      raie compare ratings.dat --min-rating 4 --seeds 1,2,3 --workers 2
      raie compare ratings.dat --seeds 1,2,3 --executor ray
      raie compare log.csv --strategies raie,peso,raie[gate.policy=paper] --against raie
      raie compare log.csv --ref edit:1 --strategies raie,global-lora --ablations
    """
    if ref is not None and (given := given_options(("until", *READING))):
        raise UsageError(
            f"expected neither --until nor options of reading beside --ref, found {', '.join(given)}: "
            "they are pinned at the setup that --ref names, so leave them out"
        )
    from raie.compare import ComparisonOptions, require_outputs, result_json, write_files
    from raie.compare import compare as compared

    options = ComparisonOptions(
        strategies, ablations, against, edits, _seeds(seeds), until, end, ref, metric, reading
    )
    require_outputs(out)
    with progress_bars_or_lines() as progress:
        result = compared(
            workspace,
            log,
            options,
            work=work,
            workers=workers,
            executor=executor,
            fresh=fresh,
            progress=progress,
            on_note=lambda line: say_notes([line]),
        )
    files = write_files(result, metric, out)
    output.show(result_json(result), lambda: _result_lines(result, metric, files))


def _seeds(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) < 2**32 for part in parts):
        raise click.UsageError(f"expected --seeds as whole numbers below 2**32, as 1,2,3, found {text!r}")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _result_lines(result: ComparisonResult, metric: str, files: list[Path]) -> Iterator[str]:
    from raie.compare import coverage_line, headed_tables, legend, untouched_lines

    edits, seeds, log = result.protocol.edits, ", ".join(map(str, result.seeds)), result.origin.log
    yield f"{accent(metric)} on {log}, {edits} edit{'s' * (edits > 1)}, seed{'s' * (len(result.seeds) > 1)} {seeds}"
    for heading, (headers, rows) in headed_tables(result, metric):
        numbers = [
            column for column, header in enumerate(headers) if header not in ("strategy", "where it differs")
        ]
        yield ""
        yield heading
        yield from table(headers, rows, right=numbers)
    yield ""
    yield from map(faint, textwrap.wrap(legend(result, metric), 100))
    yield ""
    yield from filter(None, [coverage_line(result), *untouched_lines(result)])
    yield faint(f"{len(files)} files in {files[0].parent}")
    yield accent(result.choice.line)
