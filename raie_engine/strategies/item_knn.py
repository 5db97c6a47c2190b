"""Item-kNN: each item of a context speaks for the items whose users it shares, the last one loudest.

    sim(x, i) = |U_x and U_i| / (sqrt(|U_x| |U_i|) + SHRINK),  score(i) = sum over d of FADE^(d - 1) sim(x_d, i)

U_x: the users that have x; x_d: the item d places before the end of the context; of each x the NEIGHBOURS most similar
items count. Source: Sarwar et al., "Item-based collaborative filtering recommendation algorithms" (WWW 2001). Departs
from it: recency, and the shrinkage of Bell and Koren (ICDM 2007) put into the cosine.
Legend: m items, v item rows (row 0 is padding).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from raie.engine.edit.named_blobs import Blobs
from raie.engine.strategies.item_pairs import PairSums, co_occurrences, symmetric
from raie.engine.strategies.item_weights import ItemWeights, largest_weights, most_frequent
from raie.engine.strategies.task_data import LearnedState, Score, State, Strategy, TaskData

__all__ = ["ITEM_KNN", "WEIGHTS", "cosines", "grown_co_occurrences"]

SHRINK = 20.0
NEIGHBOURS = 100
FADE = 0.5
_SUMS, WEIGHTS = "co-occurrences", "item weights"


def grown_co_occurrences(state: State, task_data: TaskData) -> tuple[PairSums, Blobs]:
    """The co-occurrences of all rows so far: those of the state, and what the rows after it add.

    Args:
        state: with co-occurrences, or empty.
        task_data: of the edit.

    Returns:
        The sums, and their bytes by name.
    """
    rows = task_data.rows
    until = int(rows.timestamp.max(initial=0))
    if _SUMS not in state:
        sums = co_occurrences(rows)
        return sums, {_SUMS: sums.to_bytes(until)}
    before, since = PairSums.from_bytes(state[_SUMS])
    sums = before.plus(co_occurrences(rows, since))
    return sums, {_SUMS: sums.to_bytes(until)}


def cosines(
    sums: PairSums, count: NDArray[np.int64], *, shrink: float = SHRINK, neighbours: int = NEIGHBOURS
) -> ItemWeights:
    """The cosines of each item with the items most similar to it.

    Args:
        sums: co-occurrences.
        count: int64 [v], how often each item came.
        shrink: added to the denominator.
        neighbours: of one item.

    Returns:
        The weights.
    """
    users = sums.diagonal(len(count))
    items = most_frequent(users)
    similar = symmetric(sums, items)
    root = torch.from_numpy(np.sqrt(users[items]).astype(np.float32))
    for row, size in enumerate(root):  # in place, row by row
        similar[row] /= size * root + shrink
    return largest_weights(similar.fill_diagonal_(0), items, count, neighbours)


def _learn(state: State, task_data: TaskData) -> LearnedState:
    sums, stored = grown_co_occurrences(state, task_data)
    count = np.bincount(task_data.rows.item, minlength=task_data.items + 1)
    weights = cosines(sums, count)
    return LearnedState({**stored, WEIGHTS: weights.to_bytes()}, parameters=len(weights.second))


def _score(state: State, task_data: TaskData) -> Score:
    return ItemWeights.from_bytes(state[WEIGHTS]).score(FADE)


ITEM_KNN = Strategy(
    "item-kNN",
    "Sarwar et al., WWW 2001",
    _learn,
    _score,
    differs="counts rows instead of training on windows",
    replays=True,
    begin=_learn,
    counting=True,
)
