"""Counting instead of training: what everybody takes, and what tends to follow what. The floor for all the others.

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

__all__ = ["MARKOV", "POPULARITY", "transitions"]

REACH = 5
"""An item counts as followed by the next so many of its user."""
FADE = 0.6
"""What one step more between two items, or back in the context, leaves of a count."""


def _count(state: State, task_data: TaskData) -> LearnedState:
    rows = task_data.rows
    return LearnedState(
        {"counts": pack({"kind": "counts"}, {"items": np.bincount(rows.item, minlength=task_data.items + 1)})}
    )


def _popular(state: State, task_data: TaskData) -> Score:
    _, arrays = unpack(state["counts"], "counts", {"items": np.int64})
    counts = torch.from_numpy(arrays["items"]).float()
    counts[0] = float("-inf")
    return lambda windows: counts.expand(len(windows), -1).clone()


def transitions(interactions: Interactions, v: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of items as `first x v + second`, ascending int64 [p], and their counts, float32 [p].

    A pair of one user's items d steps apart counts FADE^(d - 1), up to REACH steps.
    """
    order = stable_order(interactions.user)
    user, item = interactions.user[order], interactions.item[order].astype(np.int64)
    keys, weights = [], []
    for step in range(1, min(REACH, len(item) - 1) + 1):
        same = user[step:] == user[:-step]
        keys.append(item[:-step][same] * v + item[step:][same])
        weights.append(np.full(int(same.sum()), FADE ** (step - 1)))
    pairs, slot = np.unique(np.concatenate(keys), return_inverse=True)
    return pairs, np.bincount(slot, np.concatenate(weights)).astype(np.float32)


def _follow(state: State, task_data: TaskData) -> LearnedState:
    rows = task_data.rows
    v = task_data.items + 1
    pairs, weight = transitions(rows, v)
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
    v = len(start) - 1
    backing = 1e-6 * arrays["items"] / max(1, int(arrays["items"].max()))  # popularity decides between equals

    def score(windows: Windows) -> Tensor:
        back = windows.length[:, None] - 1 - np.arange(windows.items.shape[1])  # steps to the end of the context
        row, slot = np.nonzero(windows.items)
        item, fade = windows.items[row, slot], FADE ** back[row, slot]
        size = start[item + 1] - start[item]
        entry = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size) + np.repeat(start[item], size)
        entry_index = np.repeat(row.astype(np.int64), size) * v + second[entry]
        total = np.bincount(entry_index, np.repeat(fade, size) * weight[entry], minlength=len(windows) * v)
        scores = torch.from_numpy((total.reshape(-1, v) + backing).astype(np.float32))
        scores[:, 0] = float("-inf")
        return scores

    return score


_DIFFERS = "counts rows instead of training on windows"
POPULARITY = Strategy("popularity", "the floor", _count, _popular, differs=_DIFFERS, replays=True, begin=_count)
MARKOV = Strategy(
    "decayed Markov", "the floor", _follow, _following, differs=_DIFFERS, replays=True, begin=_follow
)
