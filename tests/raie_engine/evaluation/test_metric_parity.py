"""Recall@K and NDCG@K against scikit-learn's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score, top_k_accuracy_score

from raie.engine.data.windows import Windows
from raie.engine.evaluation.metrics import CUTOFFS, leaving_out_context, mean_metrics, per_window, ranks
from tests.raie_engine.world import random_windows

ITEMS = 60


@pytest.mark.parametrize("without_context", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_recall_and_ndcg_are_those_of_scikit_learn(seed: int, *, without_context: bool) -> None:
    windows = random_windows(200, 8, ITEMS, seed=seed)
    scores = torch.randn(200, ITEMS + 1, generator=torch.Generator().manual_seed(seed))
    scores[:, 0] = float("-inf")

    def score(_: Windows) -> torch.Tensor:
        return scores

    target_ranks = ranks(leaving_out_context(score) if without_context else score, windows, batch=200)

    # scikit-learn is handed the same scores; what is left out is below every other item, and a target there is a miss.
    left = scores.clone()
    if without_context:
        left.scatter_(1, torch.from_numpy(windows.items).long(), float("-inf"))
    missed = left.gather(1, torch.from_numpy(windows.target).long()[:, None]).isneginf().squeeze(1).numpy()
    assert missed.any() == without_context
    left = left.masked_fill(left.isneginf(), -1e9).numpy()
    left[missed, windows.target[missed]] = -2e9
    rows = np.arange(200)
    relevant = np.zeros_like(left)
    relevant[rows, windows.target] = 1
    means, by_window = mean_metrics(target_ranks), per_window(target_ranks)
    for k in CUTOFFS:
        accuracy = top_k_accuracy_score(windows.target, left, k=k, labels=np.arange(ITEMS + 1))
        assert means[f"Recall@{k}"] == pytest.approx(accuracy)
        assert means[f"NDCG@{k}"] == pytest.approx(ndcg_score(relevant, left, k=k))
        assert by_window[f"NDCG@{k}"][7] == pytest.approx(ndcg_score(relevant[7:8], left[7:8], k=k))
