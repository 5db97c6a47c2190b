"""Ranking metrics over all items, from the rank of each target; intervals by user bootstrap.

Legend: n windows, L positions, v item rows (row 0 is padding).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from raie.engine.data.windows import Windows

__all__ = ["METRICS", "Difference", "mean_metrics", "paired_difference", "per_window", "ranks", "target_ranks"]

CUTOFFS = (5, 10, 20)
METRICS = tuple(f"{name}@{k}" for name in ("Recall", "NDCG") for k in CUTOFFS)
DRAWN_COUNTS = 4_000_000  # bootstrap counts in memory at a time


def target_ranks(scores: Tensor, targets: Tensor, context: Tensor) -> Tensor:
    """Rank (1 is best) of each target among all items but those of its context: [n, v] -> [n].

    The rank is counted, not sorted: items that score higher, plus items of equal score with a lower row. The target
    itself is never excluded. NaN never helps: an item that scores NaN counts as better than the target, and a target
    that scores NaN or minus infinity cannot be recommended, so its rank is v, worse than that of any other.
    """
    rows = torch.arange(len(targets))
    own = scores[rows, targets].unsqueeze(1)
    masked = scores.scatter(1, context, float("-inf"))
    masked[rows, targets] = own.squeeze(1)
    above = (masked > own).sum(dim=1) + masked.isnan().sum(dim=1)
    ties = (masked == own) & (torch.arange(scores.shape[1]) < targets.unsqueeze(1))
    never = (own.isnan() | own.isneginf()).squeeze(1)
    return torch.where(never, scores.shape[1], 1 + above + ties.sum(dim=1))


def ranks(score: Callable[[Windows], Tensor], windows: Windows, batch: int = 256) -> np.ndarray:
    """Ranks int64 [n] of the windows' targets under `score`: Windows -> scores [rows, v]."""
    parts = []
    for start in range(0, len(windows.target), batch):
        part = windows.take(np.arange(start, min(start + batch, len(windows.target))))
        items, targets = torch.from_numpy(part.items).long(), torch.from_numpy(part.target).long()
        parts.append(target_ranks(score(part), targets, items).numpy())
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def per_window(rank: np.ndarray) -> dict[str, np.ndarray]:
    """Recall@K and NDCG@K of each window, float64 [n], from its rank; with one target NDCG is 1 / log2(1 + rank)."""
    gain = 1 / np.log2(1.0 + rank)
    return {
        **{f"Recall@{k}": (rank <= k).astype(np.float64) for k in CUTOFFS},
        **{f"NDCG@{k}": np.where(rank <= k, gain, 0.0) for k in CUTOFFS},
    }


def mean_metrics(rank: np.ndarray) -> dict[str, float]:
    """Mean Recall@K and NDCG@K over windows; empty input gives NaN for each."""
    return {
        name: float(values.mean()) if len(values) else float("nan") for name, values in per_window(rank).items()
    }


@dataclass(frozen=True)
class Difference:
    """A mean difference between two models on the same windows, with its 95 % interval."""

    mean: float
    low: float
    high: float


def paired_difference(
    before: np.ndarray,
    after: np.ndarray,
    users: np.ndarray,
    *,
    metric: str = "Recall@10",
    seed: int = 0,
    draws: int = 1000,
) -> Difference:
    """Mean of after - before in `metric`, with a 95 % interval from a paired bootstrap by user, not by window.

    before, after: ranks [n] of the same windows. users: [n], whose they are. Without windows everything is NaN.
    """
    change = per_window(after)[metric] - per_window(before)[metric]
    if not len(change):
        return Difference(float("nan"), float("nan"), float("nan"))
    _, owner = np.unique(users, return_inverse=True)
    total, count = np.bincount(owner, change), np.bincount(owner)
    generator = np.random.default_rng(seed)
    share, means, step = np.full(len(count), 1 / len(count)), [], max(1, DRAWN_COUNTS // len(count))
    for start in range(0, draws, step):
        weight = generator.multinomial(len(count), share, size=min(step, draws - start))  # [., users]
        means.append((weight @ total) / (weight @ count))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return Difference(float(change.mean()), float(low), float(high))
