"""From ranks to scores and their intervals: every measure of a method, resampled by user.

All methods are resampled with the same users, so a difference between two of them is paired. Seeds are averaged
window by window before users are resampled: the interval is about users.
Legend: n windows, u users, q metrics, T edits, D draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from raie.engine.comparison.protocol import ComparisonProtocol
from raie.engine.comparison.step_results import StepResult
from raie.engine.evaluation.continual import (
    average_forgetting,
    backward_transfer,
    final,
    forward_transfer,
    intransigence,
    plasticity,
    prequential,
    retention,
)
from raie.engine.evaluation.metrics import COMPARED_METRICS, DRAWN_COUNTS, Difference, per_window

__all__ = ["DRAWS", "MEASURES", "Measured", "Totals", "measured", "prequential_differences", "totals"]

DRAWS = 1000
MEASURES = (
    "prequential",
    "final",
    "plasticity",
    "retention",
    "BWT",
    "forgetting",
    "FWT",
    "intransigence",
)


@dataclass(frozen=True, eq=False)
class Totals:
    """Sums over the windows of each user.

    held [u, q, T + 1, T + 2]: by edit and slice. prequential [u, q, T + 1]: by slice, from slice 1 on.
    held_count [u, T + 2], prequential_count [u, T + 1]: how many windows those were.
    """

    held: np.ndarray
    prequential: np.ndarray
    held_count: np.ndarray
    prequential_count: np.ndarray


def totals(protocol: ComparisonProtocol, step_results: Sequence[Sequence[StepResult]]) -> Totals:
    """The sums of one method's metrics, the mean over its seeds.

    Args:
        protocol: of the comparison.
        step_results: by seed and edit.

    Returns:
        The sums by user.
    """
    _, user = np.unique(protocol.windows.user, return_inverse=True)
    users, slices = int(user.max()) + 1, protocol.edits + 2
    slot = user * slices + protocol.slice

    def by_user(rows: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(slot[rows], values, minlength=users * slices).reshape(users, slices)

    held = np.zeros((users, len(COMPARED_METRICS), protocol.edits + 1, slices))
    prequential_sums = np.zeros((users, len(COMPARED_METRICS), protocol.edits + 1))
    for edit in range(protocol.edits + 1):
        rows = protocol.scored_rows(edit)
        held_out, next_slice = protocol.held_out[rows], protocol.slice[rows] == edit + 1
        gains = [per_window(of_seed[edit].ranks) for of_seed in step_results]
        for number, metric in enumerate(COMPARED_METRICS):
            gain = np.mean([gains_of_seed[metric] for gains_of_seed in gains], axis=0)
            held[:, number, edit] = by_user(rows[held_out], gain[held_out])
            prequential_sums[:, number, edit] = by_user(rows[next_slice], gain[next_slice])[:, edit + 1]
    return Totals(
        held, prequential_sums, by_user(np.flatnonzero(protocol.held_out)), by_user(np.arange(len(user)))[:, 1:]
    )


@dataclass(frozen=True, eq=False)
class Measured:
    """One method: matrix a [q, T + 1, T + 2] and prequential [q, T + 1]; by metric and measure the value and its
    difference to the reference, each with a 95 % interval.
    """

    matrix: np.ndarray
    prequential: np.ndarray
    value: Mapping[str, Mapping[str, Difference]]
    change: Mapping[str, Mapping[str, Difference]]


def measured(
    by_name: Mapping[str, Totals], *, never: str, joint: str | None, reference: str, draws: int
) -> dict[str, Measured]:
    """Every measure of every method.

    Args:
        by_name: the sums of each method.
        never: name of the method that is never edited.
        joint: name of joint retraining; without it intransigence is NaN.
        reference: name of the method that others are compared with.
        draws: of the bootstrap; 0 leaves the intervals out.

    Returns:
        The measures by name.
    """
    drawn: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in by_name}
    for weight in _weights(len(by_name[never].held), draws):
        scores = {name: _resampled(sums, weight) for name, sums in by_name.items()}
        joint_a = None if joint is None else scores[joint][0]
        for name, (a, next_slice) in scores.items():
            drawn[name].append(_measures(a, next_slice, scores[never][1], joint_a))
    values = {
        name: {measure: np.concatenate([part[measure] for part in parts]) for measure in MEASURES}
        for name, parts in drawn.items()
    }
    measures = {}
    for name, sums in by_name.items():
        a, next_slice = _resampled(sums, np.ones((1, len(sums.held))))
        change = {measure: values[name][measure] - values[reference][measure] for measure in MEASURES}
        measures[name] = Measured(a[0], next_slice[0], _intervals(values[name]), _intervals(change))
    return measures


def prequential_differences(
    by_name: Mapping[str, Totals], best: str, metric: str, draws: int
) -> dict[str, Difference]:
    """How far each method's prequential score lies from that of one of them.

    Args:
        by_name: the sums of each method.
        best: name of the one that all are compared with.
        metric: one of COMPARED_METRICS.
        draws: of the bootstrap.

    Returns:
        The difference with its 95 % interval, by name.
    """
    number = COMPARED_METRICS.index(metric)
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in by_name}
    for weight in _weights(len(by_name[best].held), draws):
        scores = {name: prequential(_next_slices(sums, weight)[:, number]) for name, sums in by_name.items()}
        for name, score in scores.items():
            drawn[name].append(score - scores[best])
    return {name: _interval(np.concatenate(parts)) for name, parts in drawn.items()}


def _weights(users: int, draws: int) -> Iterator[np.ndarray]:
    """How often each user counts, [draws, u], a part at a time; first every user once, which gives the value itself."""
    yield np.ones((1, users))
    generator, share = np.random.default_rng(0), np.full(users, 1 / users)
    step = max(1, DRAWN_COUNTS // users)
    for start in range(0, draws, step):
        yield generator.multinomial(users, share, size=min(step, draws - start)).astype(np.float64)


def _resampled(sums: Totals, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(a [D, q, T + 1, T + 2], next_slice [D, q, T + 1]); NaN where none of a slice's users was drawn."""
    with np.errstate(invalid="ignore"):
        a = np.tensordot(weight, sums.held, axes=1) / (weight @ sums.held_count)[:, None, None]
        return a, _next_slices(sums, weight)


def _next_slices(sums: Totals, weight: np.ndarray) -> np.ndarray:
    """[D, q, T + 1]; NaN where none of a slice's users was drawn."""
    with np.errstate(invalid="ignore"):
        return np.tensordot(weight, sums.prequential, axes=1) / (weight @ sums.prequential_count)[:, None]


def _measures(
    a: np.ndarray, next_slice: np.ndarray, never: np.ndarray, joint: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Every one of MEASURES, [D, q]. never: next_slice of the never edited backbone; joint: a of joint retraining."""
    return {
        "prequential": prequential(next_slice),
        "final": final(next_slice),
        "plasticity": plasticity(a),
        "retention": retention(a),
        "BWT": backward_transfer(a),
        "forgetting": average_forgetting(a),
        "FWT": forward_transfer(next_slice, never),
        "intransigence": np.full(a.shape[:2], np.nan) if joint is None else intransigence(a, joint),
    }


def _intervals(values: Mapping[str, np.ndarray]) -> dict[str, dict[str, Difference]]:
    """By metric and measure, from [1 + draws, q] of each measure, whose first row is the value itself."""
    return {
        metric: {measure: _interval(drawn[:, number]) for measure, drawn in values.items()}
        for number, metric in enumerate(COMPARED_METRICS)
    }


def _interval(values: np.ndarray) -> Difference:
    drawn = values[1:][np.isfinite(values[1:])]
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (np.nan, np.nan)
    return Difference(float(values[0]), float(low), float(high))
