"""A comparison as tables: what a terminal shows, the same as Markdown, and every number as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from raie.engine.bytes.stored_names import to_stored
from raie.engine.comparison.results import ComparisonResult, MethodResult
from raie.engine.comparison.scoring import MEASURES, Measured
from raie.engine.data.readers.timestamps import iso
from raie.engine.evaluation.metrics import METRICS, Difference

__all__ = [
    "Table",
    "adapting_table",
    "cost_table",
    "csv_text",
    "headed_tables",
    "keeping_table",
    "legend",
    "markdown",
    "slices_table",
    "untouched_lines",
]

Table = tuple[Sequence[str], list[list[str]]]
"""Headers and rows."""

_Numbers = tuple[str, str, Sequence[float]]
"""Metric, measure, and up to six numbers: value, low and high, then the same of its difference to the reference."""

_LEGEND = (
    "prequential: each slice before any edit has learned from it, the mean; final: the last slice, which nobody learns "
    "from; change: the difference to {reference}, with its 95 % interval by user; retention: earlier slices after the "
    "last edit; BWT: what later edits did to them; forgetting: how far they ended below their best; FWT: what earlier "
    "edits gave to slices still ahead; plasticity: each slice right after its edit; intransigence: how far that is below "
    "joint retraining. Prequential, final and FWT are measured on all windows of a slice, the others on windows that "
    "nobody ever learns from. Costs are means per edit: seconds of one core, for learning alone; samples seen, windows "
    "that went through training; trainable parameters; old windows, whether some are replayed."
)


def legend(outcome: ComparisonResult) -> str:
    """What the columns of all tables mean, in one paragraph.

    Args:
        outcome: the finished comparison.

    Returns:
        One paragraph.
    """
    return _LEGEND.format(reference=outcome.reference)


def headed_tables(outcome: ComparisonResult, metric: str) -> tuple[tuple[str, Table], ...]:
    """The tables that everybody sees, each with its heading.

    Args:
        outcome: the finished comparison.
        metric: one of METRICS.

    Returns:
        Pairs of heading and table.
    """
    return (
        ("Adapting: slices that no edit has learned from yet", adapting_table(outcome, metric)),
        ("Keeping: how well slices were learned, and what became of them", keeping_table(outcome, metric)),
        ("Cost of an edit, on one core", cost_table(outcome, metric)),
    )


def adapting_table(outcome: ComparisonResult, metric: str) -> Table:
    """One row per method, best prequential first, with intervals of the difference to the reference.

    Args:
        outcome: the finished comparison.
        metric: one of METRICS.

    Returns:
        The table.
    """
    headers, rows = ("strategy", "prequential", "change", "final", "change"), []
    for result in _ordered(outcome, metric):
        value, change = result.measured.value[metric], result.measured.change[metric]
        cells = [result.method.name]
        for measure in ("prequential", "final"):
            compared = result.method.name != outcome.reference
            cells += [_number(value[measure].mean), _interval(change[measure]) if compared else ""]
        rows.append(cells)
    return headers, rows


def keeping_table(outcome: ComparisonResult, metric: str) -> Table:
    """Retention and forgetting of earlier slices, and how well each was learned.

    Args:
        outcome: the finished comparison.
        metric: one of METRICS.

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


def cost_table(outcome: ComparisonResult, metric: str) -> Table:
    """The cost of an edit, and where a method by its nature does not get what all others get.

    Args:
        outcome: the finished comparison.
        metric: one of METRICS.

    Returns:
        The table.
    """
    headers = ("strategy", "seconds", "samples seen", "trainable parameters", "old windows", "where it differs")
    rows = []
    for result in _ordered(outcome, metric):
        who, cost = result.method, result.cost
        numbers = [f"{cost.seconds:.1f}", f"{cost.samples_seen:,.0f}", f"{cost.parameters:,.0f}"]
        rows.append([who.name, *numbers, "yes" if who.replays else "no", who.implementation.differs])
    return headers, rows


def slices_table(outcome: ComparisonResult, metric: str) -> Table:
    """Each slice before any edit has learned from it.

    Args:
        outcome: the finished comparison.
        metric: one of METRICS.

    Returns:
        The table.
    """
    numbers = range(1, outcome.protocol.edits + 2)
    headers = ("strategy", *(f"slice {slice_number}" for slice_number in numbers))
    row = METRICS.index(metric)
    return headers, [
        [result.method.name, *(_number(float(score)) for score in result.measured.prequential[row])]
        for result in _ordered(outcome, metric)
    ]


def markdown(outcome: ComparisonResult, metric: str) -> str:
    """All tables as one page.

    Args:
        outcome: the finished comparison.
        metric: one of METRICS.

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
            legend(outcome),
            "",
            "## Each slice before any edit has learned from it",
            "",
            *_markdown_lines(slices_table(outcome, metric)),
            *(["", *untouched] if (untouched := untouched_lines(outcome)) else []),
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
    for row_number, metric in enumerate(METRICS):
        yield from _measures(result.measured, metric)
        for i, row in enumerate(result.measured.matrix[row_number]):
            for j, score in enumerate(row):
                yield metric, f"a[{i}][{j}]", [float(score)]
        for seed, alone in zip(outcome.seeds, result.by_seed, strict=True):
            yield from _measures(alone, metric, f"[seed {seed}]")
    for name, cost in to_stored("cost", asdict(result.cost)).items():
        yield "", name, [cost]
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
