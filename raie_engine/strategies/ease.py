"""EASE: a linear item-item model in closed form, of which no item speaks for itself.

    B = I - P / diag(P),  P = (X^T X + L2 I)^-1,  score(i) = sum over d of FADE^(d - 1) B[x_d, i]

X: which users have which items; x_d: the item d places before the end of the context. Source: Steck, "Embarrassingly
shallow autoencoders for sparse data" (arXiv 1905.03375, equations 8 and 9); X^T X grows with edits as in Jeunen et al.,
Dynamic EASE (UMUAI 2022). Departs from it: a context counts by recency, and of each item the largest weights are kept.
Legend: m items, v item rows (row 0 is padding).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raie.engine.strategies.item_knn import WEIGHTS, grown_co_occurrences
from raie.engine.strategies.item_pairs import PairSums, symmetric
from raie.engine.strategies.item_weights import MOST_ITEMS, ItemWeights, largest_weights, most_frequent
from raie.engine.strategies.task_data import LearnedState, Score, State, Strategy, TaskData

__all__ = ["EASE", "linear_weights", "solved"]

L2 = 500.0
FADE = 0.6
KEPT = 128
"""Weights of one item that are stored: more change no score that matters."""


def solved(gram: Tensor, l2: float) -> Tensor:
    """B of X^T X, with a diagonal of 0.

    Args:
        gram: float32 [m, m], written over.
        l2: above 0.

    Returns:
        float32 [m, m].
    """
    gram.diagonal().add_(l2)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram, out=gram))
    inverse /= -inverse.diagonal().clone()
    return inverse.fill_diagonal_(0)


def linear_weights(
    sums: PairSums, count: NDArray[np.int64], *, l2: float = L2, kept: int = KEPT, most: int = MOST_ITEMS
) -> ItemWeights:
    """The weights of EASE.

    Args:
        sums: co-occurrences.
        count: int64 [v], how often each item came.
        l2: above 0.
        kept: weights of one item.
        most: items that are solved for; rarer ones get no weights.

    Returns:
        The weights.
    """
    items = most_frequent(sums.diagonal(len(count)), most)
    return largest_weights(solved(symmetric(sums, items), l2), items, count, kept)


def _learn(state: State, task_data: TaskData) -> LearnedState:
    sums, stored = grown_co_occurrences(state, task_data)
    count = np.bincount(task_data.rows.item, minlength=task_data.items + 1)
    weights = linear_weights(sums, count)
    return LearnedState({**stored, WEIGHTS: weights.to_bytes()}, parameters=len(weights.second))


def _score(state: State, task_data: TaskData) -> Score:
    return ItemWeights.from_bytes(state[WEIGHTS]).score(FADE)


EASE = Strategy(
    "EASE",
    "Steck, arXiv 1905.03375",
    _learn,
    _score,
    differs="solves for rows instead of training on windows",
    replays=True,
    begin=_learn,
    counting=True,
)
