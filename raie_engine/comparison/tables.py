"""A comparison as tables: what a terminal shows, the same as Markdown, and every number as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict

from raie.engine.bytes.stored_names import to_stored
from raie.engine.comparison.results import ComparisonResult, MethodResult
from raie.engine.comparison.scoring import MEASURES, Measured
from raie.engine.data.readers.timestamps import iso
from raie.engine.evaluation.metrics import COMPARED_METRICS, Difference

__all__ = [
    "Table",
    "coverage_line",
    "csv_text",
    "differences_table",
    "headed_tables",
    "keeping_table",
    "legend",
    "markdown",
    "results_table",
    "slices_table",
    "untouched_lines",
]

Table = tuple[Sequence[str], list[list[str]]]
"""Headers and rows."""

_Numbers = tuple[str, str, Sequence[float]]
"""Metric, measure, and up to six numbers: value, low and high, then the same of its difference to the reference."""

_SHOWN = ("Recall@10", "NDCG@10", "MRR")
_LEGEND = (
    "next: the prequential score, each slice before any edit has learned from it, the mean; final: the last slice, "
    "which nobody learns from; MRR: of the full ranking, 1 / rank without a cutoff; change: the difference to "
    "{reference} in {metric}, with its 95 % interval by user; evaluated: share of the interactions after the setup "
    "that are evaluated; catalogue: share of the items that had come which stand in anybody's top 10, the mean over "
    "slices. Costs are means per edit: seconds of one core, for learning alone; samples seen, windows that went "
    "through training; trainable parameters. Retention: earlier slices after the last edit; BWT: what later edits did "
    "to them; forgetting: how far they ended below their best; FWT: what earlier edits gave to slices still ahead; "
    "plasticity: each slice right after its edit; intransigence: how far that is below joint retraining. Next, final "
    "and FWT are measured on all windows of a slice, the others on windows that nobody ever learns from. Old windows: "
    "whether some are replayed."
)


def legend(outcome: ComparisonResult, metric: str = "Recall@10") -> str:
    """What the columns of all tables mean, in one paragraph.

    Args:
        outcome: the finished comparison.
        metric: one of COMPARED_METRICS, of the changes.

    Returns:
        One paragraph.
    """
    return _LEGEND.format(reference=outcome.reference, metric=metric)


def headed_tables(outcome: ComparisonResult, metric: str) -> tuple[tuple[str, Table], ...]:
    """The tables that everybody sees, each with its heading.

    Args:
        outcome: the finished comparison.
        metric: one of COMPARED_METRICS.

    Returns:
        Pairs of heading and table.
    """
    return (
        ("What comes next, and the cost of an edit", results_table(outcome, metric)),
        (
            f"Keeping: how well slices were learned, and what became of them, {metric}",
            keeping_table(outcome, metric),
        ),
        ("Where strategies differ", differences_table(outcome, metric)),
    )


def results_table(outcome: ComparisonResult, metric: str) -> Table:
    """One row per method, best prequential first: scores, intervals of the difference to the reference, coverage, cost.

    Args:
        outcome: the finished comparison.
        metric: one of COMPARED_METRICS, by which rows are ordered and intervals given.

    Returns:
        The table.
    """
    metrics = dict.fromkeys((metric, *_SHOWN))
    headers = ["strategy", *_measure_headers("next", metrics), *_measure_headers("final", metrics)]
    headers += ["evaluated", "catalogue", "seconds", "samples seen", "parameters"]
    evaluated, rows = outcome.evaluated, []
    for result in _ordered(outcome, metric):
        cells, cost = [result.method.name], result.cost
        for measure in ("prequential", "final"):
            scores = [_number(result.measured.value[name][measure].mean) for name in metrics]
            is_reference = result.method.name == outcome.reference
            change = "" if is_reference else _interval(result.measured.change[metric][measure])
            cells += [scores[0], change, *scores[1:]]
        cells += ["-" if evaluated is None else f"{evaluated[0] / max(1, evaluated[1]):.0%}"]
        cells += [f"{result.catalogue_coverage:.0%}", f"{cost.seconds:.1f}"]
        rows.append([*cells, f"{cost.samples_seen:,.0f}", f"{cost.parameters:,.0f}"])
    return headers, rows


def _measure_headers(measure: str, metrics: Iterable[str]) -> list[str]:
    first, *others = metrics
    return [f"{measure} {first}", "change", *(f"{measure} {name}" for name in others)]


def coverage_line(outcome: ComparisonResult) -> str | None:
    """How many interactions are evaluated and why the others are not, in one line; None where nobody counted them.

    Args:
        outcome: the finished comparison.

    Returns:
        The line.
    """
    if outcome.evaluated is None:
        return None
    evaluated, interactions = outcome.evaluated
    return (
        f"{evaluated:,} of {interactions:,} interactions after the setup are evaluated; the others have no item of their "
        "user before them."
    )


def keeping_table(outcome: ComparisonResult, metric: str) -> Table:
    """Retention and forgetting of earlier slices, and how well each was learned.

    Args:
        outcome: the finished comparison.
        metric: one of COMPARED_METRICS.

    Returns:
        The table.
    """
    measures = MEASURES[2:]
    return ("strategy", *measures), [
        [
            result.method.name,
            *(
                _number(result.measured.value[metric][name].mean, signed=name in ("BWT", "FWT"))
                for name in measures
            ),
        ]
        for result in _ordered(outcome, metric)
    ]


def differences_table(outcome: ComparisonResult, metric: str) -> Table:
    """Whether a method replays, and where by its nature it does not get what all others get.

    Args:
        outcome: the finished comparison.
        metric: one of COMPARED_METRICS, by which rows are ordered.

    Returns:
        The table.
    """
    return ("strategy", "old windows", "where it differs"), [
        [result.method.name, "yes" if result.method.replays else "no", result.method.implementation.differs]
        for result in _ordered(outcome, metric)
    ]


def slices_table(outcome: ComparisonResult, metric: str) -> Table:
    """Each slice before any edit has learned from it.

    Args:
        outcome: the finished comparison.
        metric: one of COMPARED_METRICS.

    Returns:
        The table.
    """
    numbers = range(1, outcome.protocol.edits + 2)
    headers = ("strategy", *(f"slice {slice_number}" for slice_number in numbers))
    row = COMPARED_METRICS.index(metric)
    return headers, [
        [result.method.name, *(_number(float(score)) for score in result.measured.prequential[row])]
        for result in _ordered(outcome, metric)
    ]


def markdown(outcome: ComparisonResult, metric: str) -> str:
    """All tables as one page.

    Args:
        outcome: the finished comparison.
        metric: one of COMPARED_METRICS.

    Returns:
        The text.
    """
    ends = [iso(end) for end in outcome.protocol.ends]
    seeds, tables = ", ".join(map(str, outcome.seeds)), headed_tables(outcome, metric)
    return "\n".join(
        [
            f"# Strategies compared on {outcome.origin.log}",
            "",
            f"{metric}, ranking all items. Setup until {ends[0]}, edits until {ends[-2]}, "
            f"last slice until {ends[-1]}; seeds {seeds}.",
            "",
            *(line for heading, shown in tables for line in (f"## {heading}", "", *_markdown_lines(shown), "")),
            legend(outcome, metric),
            "",
            *([line, ""] if (line := coverage_line(outcome)) else []),
            "## Each slice before any edit has learned from it",
            "",
            *_markdown_lines(slices_table(outcome, metric)),
            *(["", *untouched] if (untouched := untouched_lines(outcome)) else []),
            "",
            outcome.choice.line,
            "",
        ]
    )


def untouched_lines(outcome: ComparisonResult) -> list[str]:
    """For methods with regions: whether windows of regions that an edit left alone kept their ranks.

    Args:
        outcome: the finished comparison.

    Returns:
        One line per method with regions.
    """
    return [
        f"{result.method.name}: {result.untouched[1]:,} of {result.untouched[0]:,} held-out windows in untouched regions "
        "changed their rank."
        for result in outcome.method_results
        if result.untouched is not None
    ]


def csv_text(outcome: ComparisonResult) -> str:
    """One row per method, metric and measure.

    a[i][j]: the matrix. A measure with [seed s] is of that seed alone; gain[seed s][region r], of the first seed, is
    over the backbone that is never edited. Costs and counts of windows have no metric.

    Args:
        outcome: the finished comparison.

    Returns:
        The text, with a header.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ("strategy", "metric", "measure", "value", "low", "high", "change", "change_low", "change_high")
    )
    for result in outcome.method_results:
        for metric, measure, numbers in _numbers(outcome, result):
            cells = [_exact(number) for number in numbers]
            writer.writerow([result.method.name, metric, measure, *cells, *[""] * (6 - len(cells))])
    return file.getvalue()


def _numbers(outcome: ComparisonResult, result: MethodResult) -> Iterator[_Numbers]:
    """Everything of one method."""
    for row_number, metric in enumerate(COMPARED_METRICS):
        yield from _measures(result.measured, metric)
        for i, row in enumerate(result.measured.matrix[row_number]):
            for j, score in enumerate(row):
                yield metric, f"a[{i}][{j}]", [float(score)]
        for seed, alone in zip(outcome.seeds, result.by_seed, strict=True):
            yield from _measures(alone, metric, f"[seed {seed}]")
    for name, cost in to_stored("cost", asdict(result.cost)).items():
        yield "", name, [cost]
    yield "", "catalogue_coverage", [result.catalogue_coverage]
    yield "", "final_catalogue_coverage", [result.final_coverage]
    if outcome.evaluated is not None:
        yield "", "evaluated", [outcome.evaluated[0]]
        yield "", "interactions", [outcome.evaluated[1]]
    yield "", "chosen", [float(result.method.name == outcome.choice.chosen)]
    for gain in result.regions:
        suffix = f"[seed {outcome.seeds[0]}][region {gain.region}]"
        yield "", f"windows{suffix}", [gain.windows]
        yield gain.metric, f"gain{suffix}", [gain.gain.mean, gain.gain.low, gain.gain.high]


def _measures(measured: Measured, metric: str, seed: str = "") -> Iterator[_Numbers]:
    for measure in MEASURES:
        both = measured.value[metric][measure], measured.change[metric][measure]
        yield (
            metric,
            measure + seed,
            [number for difference in both for number in (difference.mean, difference.low, difference.high)],
        )


def _number(value: float, *, signed: bool = False) -> str:
    """Four decimals, or a dash where there is no number."""
    return "-" if math.isnan(value) else f"{value:+.4f}" if signed else f"{value:.4f}"


def _interval(change: Difference) -> str:
    """A difference with its interval."""
    return "-" if math.isnan(change.mean) else f"{change.mean:+.4f} ({change.low:+.4f} to {change.high:+.4f})"


def _exact(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


def _ordered(outcome: ComparisonResult, metric: str) -> list[MethodResult]:
    return sorted(outcome.method_results, key=lambda result: -result.measured.value[metric]["prequential"].mean)


def _markdown_lines(shown: Table) -> list[str]:
    headers, rows = shown
    rule = ["---", *["---:"] * (len(headers) - 1)]
    return ["| " + " | ".join(cells) + " |" for cells in (headers, rule, *rows)]
