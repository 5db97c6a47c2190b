"""Counting instead of training: item popularity and a decayed Markov chain, the floor for all other methods.

Legend: n windows, L positions, v item rows (row 0 is padding), p pairs of items.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from raie.engine.arrays import stable_order
from raie.engine.bytes.arrays import pack, unpack
from raie.engine.data.interactions import Interactions
from raie.engine.data.windows import Windows
from raie.engine.strategies.task_data import LearnedState, Score, State, Strategy, TaskData
from raie.engine.training.transition_counts import FADE, faded_sums, sums_by_pair

__all__ = ["MARKOV", "POPULARITY", "pair_counts"]

REACH = 5
"""An item counts as followed by the next so many of its user: one more than beside a model."""


def _count(state: State, task_data: TaskData) -> LearnedState:
    rows = task_data.rows
    return LearnedState(
        {"counts": pack({"kind": "counts"}, {"items": np.bincount(rows.item, minlength=task_data.items + 1)})}
    )


def _popular(state: State, task_data: TaskData) -> Score:
    _, arrays = unpack(state["counts"], "counts", {"items": np.int64})
    counts = torch.from_numpy(arrays["items"]).float().log()
    counts[0] = float("-inf")
    return lambda windows: counts.expand(len(windows), -1).clone()


def pair_counts(interactions: Interactions, v: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts of the pairs of items of one user: FADE^(d - 1) for two items d steps apart, up to REACH steps.

    Args:
        interactions: in time order.
        v: item rows.

    Returns:
        The pairs as `first x v + second`, ascending int64 [p], and their counts, float32 [p].
    """
    order = stable_order(interactions.user)
    user, item = interactions.user[order], interactions.item[order].astype(np.int64)
    keys, weights = [], []
    for step in range(1, min(REACH, len(item) - 1) + 1):
        same = user[step:] == user[:-step]
        keys.append(item[:-step][same] * v + item[step:][same])
        weights.append(np.full(int(same.sum()), FADE ** (step - 1)))
    pairs, counts = sums_by_pair(keys, weights)
    return pairs, counts.astype(np.float32)


def _follow(state: State, task_data: TaskData) -> LearnedState:
    rows = task_data.rows
    v = task_data.items + 1
    pairs, weight = pair_counts(rows, v)
    first, second = pairs // v, (pairs % v).astype(np.int32)
    start = np.searchsorted(first, np.arange(v + 1))
    weight = weight / np.maximum(np.bincount(first, weight, minlength=v), 1e-12)[first].astype(np.float32)
    arrays = {"start": start, "second": second, "weight": weight}
    popular = np.bincount(rows.item, minlength=v)
    return LearnedState({"transitions": pack({"kind": "transitions"}, {**arrays, "items": popular})})


def _following(state: State, task_data: TaskData) -> Score:
    dtypes = {"start": np.int64, "second": np.int32, "weight": np.float32, "items": np.int64}
    _, arrays = unpack(state["transitions"], "transitions", dtypes)
    start, second, weight = arrays["start"], arrays["second"], arrays["weight"]
    backing = 1e-6 * arrays["items"] / max(1, int(arrays["items"].max()))  # popularity decides between equals

    def score(windows: Windows) -> Tensor:
        total = faded_sums(windows.items, start, second, weight, windows.items.shape[1])
        scores = torch.from_numpy((total + backing).astype(np.float32)).log()
        scores[:, 0] = float("-inf")
        return scores

    return score


_DIFFERS = "counts rows instead of training on windows"
POPULARITY = Strategy(
    "popularity", "the floor", _count, _popular, differs=_DIFFERS, replays=True, begin=_count, counting=True
)
MARKOV = Strategy(
    "decayed Markov",
    "the floor",
    _follow,
    _following,
    differs=_DIFFERS,
    replays=True,
    begin=_follow,
    counting=True,
)
