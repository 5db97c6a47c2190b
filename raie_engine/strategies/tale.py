"""TALE: a linear item-item model in closed form that knows when things happened.

    B = (S^T S + L2 I)^-1 S^T T,  score(i) = sum over d of FADE^(d - 1) B[x_d, i]

One observation per interaction with a history (single-target augmentation): T holds its item, S the REACH items before
it, each with

    max(exp(-dt / DAYS), FLOOR) n(x)^-SOURCE_TREND   (time interval-aware weighting, trend-aware normalization)

dt: between the two; n(x): how often x came in the TREND_DAYS up to its own interaction; T has n(i)^-TARGET_TREND. Later
rows change no earlier observation. So both products add up over edits.
Source: Park et al., "Temporal linear item-item model for sequential recommendation" (arXiv 2412.07382), the three parts
named above and position decay at inference. Departs from it: REACH, one choice of numbers for every log, and of each item
the largest weights are kept.
Legend: n interactions, m items, v item rows (row 0 is padding).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from raie.engine.arrays import stable_order
from raie.engine.data.interactions import Interactions
from raie.engine.strategies.item_pairs import Cells, PairSums, pair_products, symmetric
from raie.engine.strategies.item_weights import MOST_ITEMS, ItemWeights, largest_weights, most_frequent
from raie.engine.strategies.task_data import LearnedState, Score, State, Strategy, TaskData

__all__ = ["TALE", "Augmented", "augmented", "recent_counts", "temporal_weights"]

REACH = 5
DAYS = 1.0
FLOOR = 0.1
TREND_DAYS = 30.0
SOURCE_TREND = 0.0
TARGET_TREND = 0.0
L2 = 300.0
FADE = 0.6
KEPT = 128
_SECONDS = 86_400
_SOURCES, _TARGETS, WEIGHTS = "sources", "sources and targets", "item weights"


@dataclass(frozen=True, eq=False)
class Augmented:
    """sources: S^T S, the upper triangle. targets: S^T T."""

    sources: PairSums
    targets: PairSums

    def plus(self, added: Augmented, sign: int = 1) -> Augmented:
        """The sums of the observations of both.

        Args:
            added: what is added.
            sign: -1 subtracts it instead.

        Returns:
            The sums.
        """
        return Augmented(self.sources.plus(added.sources, sign), self.targets.plus(added.targets, sign))


def recent_counts(rows: Interactions, days: float) -> NDArray[np.int64]:
    """How often each row's item came in the days up to the row, which counts itself.

    Args:
        rows: the log, in time order.
        days: reach back in time.

    Returns:
        int64 [n], at least 1.
    """
    since = rows.timestamp - rows.timestamp.min(initial=0)
    span = int(since.max(initial=0)) + 1
    key = rows.item.astype(np.int64) * (2 * span) + span + since  # an item's times end before the next one's begin
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    first = np.searchsorted(ordered, ordered - min(int(days * _SECONDS), span))
    counts = np.empty(len(key), np.int64)
    counts[order] = np.arange(len(key)) - first + 1
    return counts


def augmented(
    rows: Interactions,
    after: int | None = None,
    *,
    reach: int = REACH,
    days: float = DAYS,
    floor: float = FLOOR,
    trend_days: float = TREND_DAYS,
    trends: tuple[float, float] = (SOURCE_TREND, TARGET_TREND),
) -> Augmented:
    """The products of the observations.

    Args:
        rows: the log, in time order.
        after: epoch seconds. Given, only targets later than it: what they add to the products of the rows before.
        reach: source items of one target.
        days: by which the weight of a source falls to 1 / e.
        floor: the least weight.
        trend_days: over which an item's recent popularity is counted.
        trends: exponents of popularity, of sources and of targets.

    Returns:
        The products.
    """
    order = stable_order(rows.user)
    user, item, time = rows.user[order], rows.item[order].astype(np.int64), rows.timestamp[order]
    popularity = recent_counts(rows, trend_days)[order].astype(np.float64)
    observations, values = [np.zeros(0, np.int64)], [np.zeros(0)]
    sources = [np.zeros(0, np.int64)]
    for step in range(1, min(reach, len(item) - 1) + 1):
        target = np.flatnonzero(user[step:] == user[:-step]) + step
        target = target if after is None else target[time[target] > after]
        source = target - step
        interval = (time[target] - time[source]) / (days * _SECONDS)
        observations.append(target)
        sources.append(item[source])
        values.append(np.maximum(np.exp(-interval), floor) * popularity[source] ** -trends[0])
    observed = np.concatenate(observations)
    seen = np.unique(observed)
    number = np.searchsorted(seen, observed)
    s = Cells(number, np.concatenate(sources), np.concatenate(values).astype(np.float32))
    t = Cells(np.arange(len(seen)), item[seen], (popularity[seen] ** -trends[1]).astype(np.float32))
    return Augmented(pair_products(s, s).upper(), pair_products(s, t))


def temporal_weights(
    products: Augmented,
    count: NDArray[np.int64],
    *,
    l2: float = L2,
    kept: int = KEPT,
    most: int = MOST_ITEMS,
) -> ItemWeights:
    """The weights of TALE.

    Args:
        products: of all observations.
        count: int64 [v], how often each item came.
        l2: above 0.
        kept: weights of one item.
        most: items that are solved for; rarer ones get no weights.

    Returns:
        The weights.
    """
    items = most_frequent(count, most)
    gram = symmetric(products.sources, items)
    gram.diagonal().add_(l2)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram, out=gram))
    # Faster than to solve for each column. The inverse is symmetric, and its transpose lies row by row in memory.
    weights = torch.sparse.mm(products.targets.sparse(items).t(), inverse.T).t()
    return largest_weights(weights, items, count, kept)


def _learn(state: State, task_data: TaskData) -> LearnedState:
    rows = task_data.rows
    until = int(rows.timestamp.max(initial=0))
    if _SOURCES in state:
        (sources, since), (targets, _) = (PairSums.from_bytes(state[name]) for name in (_SOURCES, _TARGETS))
        products = Augmented(sources, targets).plus(augmented(rows, since))
    else:
        products = augmented(rows)
    weights = temporal_weights(products, np.bincount(rows.item, minlength=task_data.items + 1))
    stored = {_SOURCES: products.sources.to_bytes(until), _TARGETS: products.targets.to_bytes(until)}
    return LearnedState({**stored, WEIGHTS: weights.to_bytes()}, parameters=len(weights.second))


def _score(state: State, task_data: TaskData) -> Score:
    return ItemWeights.from_bytes(state[WEIGHTS]).score(FADE)


TALE = Strategy(
    "TALE",
    "Park et al., arXiv 2412.07382",
    _learn,
    _score,
    differs="solves for rows instead of training on windows",
    replays=True,
    begin=_learn,
    counting=True,
)
