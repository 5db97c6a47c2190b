"""Pictures of a comparison, as bytes of files: plain axes, one colour that means something, names where they belong."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from raie.engine.comparison.results import ComparisonResult, MethodResult
from raie.engine.evaluation.metrics import COMPARED_METRICS, Difference

__all__ = ["pictures"]

_CHOSEN, _PLAIN, _LIMIT, _TEXT = "#d1495b", "#7d8597", "#00798c", "#33415c"
_STYLE: Any = {
    "font.size": 9.0,
    "font.family": "DejaVu Sans",
    "text.color": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.edgecolor": "#c9ced6",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11.0,
    "axes.titlelocation": "left",
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "figure.dpi": 144.0,
    "svg.hashsalt": "raie",  # the same picture gives the same file
    "svg.fonttype": "none",
}
_FLOOR = ("popularity",)  # so far below that it would flatten everything else


def pictures(outcome: ComparisonResult, metric: str) -> Iterator[tuple[str, bytes]]:
    """Every picture as PNG and SVG: the name of a file, and its bytes.

    Args:
        outcome: the finished comparison.
        metric: one of COMPARED_METRICS.

    Yields:
        Pairs of a file name and its bytes.
    """
    with mpl.rc_context(_STYLE):
        for name, figure in _figures(outcome, metric):
            for kind in ("png", "svg"):
                drawn = io.BytesIO()
                metadata = {"Date": None} if kind == "svg" else None
                figure.savefig(drawn, format=kind, bbox_inches="tight", metadata=metadata)
                yield f"{name}.{kind}", drawn.getvalue()


def _figures(outcome: ComparisonResult, metric: str) -> Iterator[tuple[str, Figure]]:
    shown = [result for result in outcome.method_results if result.method.strategy not in _FLOOR]
    yield "retention-adaptation", _retention(outcome, shown, metric)
    yield "slices", _slices(outcome, shown, metric)
    yield "cost", _cost(outcome, shown)
    for result in outcome.method_results:
        if result.regions and result.method.name == outcome.reference:
            yield "regions", _regions(result, outcome.seeds[0])


def _colour(outcome: ComparisonResult, result: MethodResult) -> str:
    if result.method.name == outcome.reference:
        return _CHOSEN
    return _LIMIT if result.method.strategy in ("joint", "never", "markov") else _PLAIN


def _retention(outcome: ComparisonResult, shown: Sequence[MethodResult], metric: str) -> Figure:
    """Adaptation to the right, retention upwards; crosses are 95 % intervals."""
    figure = Figure(figsize=(7.2, 5.0))
    axes = figure.subplots()
    x, y = ([result.measured.value[metric][name] for result in shown] for name in ("prequential", "retention"))
    heights = np.array([difference.mean for difference in y])
    named = _apart(heights, 0.05 * (float(np.ptp(heights)) or 0.01))
    for result, across, up, height in zip(shown, x, y, named, strict=True):
        colour, point = _colour(outcome, result), (across.mean, up.mean)
        axes.errorbar(
            *point, xerr=_arms(across), yerr=_arms(up), fmt="none", color=colour, elinewidth=0.8, alpha=0.3
        )
        axes.plot(*point, "o", ms=5, color=colour)
        axes.annotate(
            result.method.name,
            (across.mean, height),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=colour,
        )
    axes.set_xlabel(f"{metric} on what comes next (prequential)")
    axes.set_ylabel(f"{metric} on earlier slices, after the last edit")
    axes.set_title("Adapting and keeping: further right and higher is better")
    return figure


def _slices(outcome: ComparisonResult, shown: Sequence[MethodResult], metric: str) -> Figure:
    """Each slice before any edit has learned from it, one line per method."""
    figure = Figure(figsize=(7.2, 4.6))
    axes = figure.subplots()
    row, numbers = COMPARED_METRICS.index(metric), np.arange(1, outcome.protocol.edits + 2)
    ends = np.array([result.measured.prequential[row][-1] for result in shown])
    for result in shown:
        chosen = result.method.name == outcome.reference
        axes.plot(
            numbers,
            result.measured.prequential[row],
            color=_colour(outcome, result),
            lw=2.2 if chosen else 0.9,
            marker="o",
            ms=4 if chosen else 2.5,
            zorder=3 if chosen else 2,
        )
    low, high = axes.get_ylim()
    for result, end, height in zip(shown, ends, _apart(ends, 0.04 * (high - low)), strict=True):
        axes.annotate(
            result.method.name,
            (numbers[-1], end),
            xytext=(numbers[-1] + 0.12, height),
            va="center",
            fontsize=8,
            color=_colour(outcome, result),
        )
    axes.set_xticks(numbers)
    axes.set_xlabel("slice, before any edit has learned from it")
    axes.set_ylabel(metric)
    axes.set_title("What production feels, slice after slice")
    return figure


def _cost(outcome: ComparisonResult, shown: Sequence[MethodResult]) -> Figure:
    """Seconds and trainable parameters of one edit, side by side."""
    trained = sorted(
        (result for result in shown if result.cost.parameters), key=lambda result: result.cost.seconds
    )
    figure = Figure(figsize=(8.4, 0.32 * len(trained) + 1.2))
    left, right = figure.subplots(1, 2, sharey=True)
    places, colours = np.arange(len(trained)), [_colour(outcome, result) for result in trained]
    for axes, values, title in (
        (left, [result.cost.seconds for result in trained], "seconds of one core per edit"),
        (right, [result.cost.parameters for result in trained], "numbers trained per edit"),
    ):
        axes.barh(places, values, color=colours, height=0.62)
        for height, value in zip(places, values, strict=True):
            axes.text(
                value, height, f" {value:,.1f}" if value < 100 else f" {value:,.0f}", va="center", fontsize=8
            )
        axes.set_title(title)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(bottom=False, labelbottom=False, left=False)
        axes.margins(x=0.2)
    left.set_yticks(places, [result.method.name for result in trained])
    return figure


def _regions(result: MethodResult, seed: int) -> Figure:
    """What each region gained over the backbone that is never edited, on slices still ahead; seed: the first."""
    rows = sorted(result.regions, key=lambda region: region.gain.mean)
    figure = Figure(figsize=(6.4, 0.34 * len(rows) + 1.3))
    axes = figure.subplots()
    for height, region in enumerate(rows):
        axes.errorbar(
            region.gain.mean, height, xerr=_arms(region.gain), fmt="o", ms=5, color=_CHOSEN, elinewidth=1
        )
    axes.axvline(0, color="#c9ced6", lw=1, zorder=0)
    axes.set_yticks(range(len(rows)), [f"region {region.region}  ({region.windows:,} windows)" for region in rows])
    axes.set_xlabel(f"{rows[0].metric}, gain over the backbone that is never edited")
    axes.set_title(f"{result.method.name}, region by region, first seed ({seed})")
    axes.tick_params(left=False)
    return figure


def _arms(value: Difference) -> np.ndarray:
    """Lengths of an interval's arms, as matplotlib wants them: [2, 1]."""
    arms = np.nan_to_num([value.mean - value.low, value.high - value.mean])
    return np.maximum(arms, 0.0).reshape(2, 1)


def _apart(heights: np.ndarray, least: float) -> np.ndarray:
    """The heights, moved as little as it takes to leave `least` between two names."""
    order = np.argsort(heights, kind="stable")
    placed = heights[order].astype(float)
    for _ in range(200):
        overlap = np.maximum(0.0, least - np.diff(placed)) / 2
        if not overlap.any():
            break
        placed[:-1] -= overlap
        placed[1:] += overlap
    moved = np.empty_like(placed)
    moved[order] = placed
    return moved
