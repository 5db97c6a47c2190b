"""Ranking metrics over all items, from the rank of each target; intervals by user bootstrap.

MRR is that of the full ranking: the mean of 1 / rank over every window, without a cutoff.

Legend: n windows, L positions, v item rows (row 0 is padding).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from raie.engine.data.windows import Windows

__all__ = [
    "COMPARED_METRICS",
    "LIST_LENGTH",
    "METRICS",
    "Difference",
    "highest",
    "leaving_out_context",
    "mean_metrics",
    "paired_difference",
    "paired_differences",
    "per_window",
    "ranks",
    "ranks_and_lists",
    "target_ranks",
    "without_context",
]

CUTOFFS = (5, 10, 20)
METRICS = tuple(f"{name}@{k}" for name in ("Recall", "NDCG") for k in CUTOFFS)
COMPARED_METRICS = (*METRICS, "MRR")
"""What a comparison of strategies measures; reports and policies know METRICS."""
LIST_LENGTH = 10
DRAWN_COUNTS = 4_000_000  # bootstrap counts in memory at a time


def target_ranks(scores: Tensor, targets: Tensor) -> Tensor:
    """Rank (1 is best) of each target among all items.

    The rank is counted, not sorted: items that score higher, plus items of equal score with a lower row. NaN never helps:
    an item that scores NaN counts as better than the target, and a target that scores NaN or minus infinity cannot be
    recommended, so its rank is v, worse than that of any other.

    Args:
        scores: [n, v]; minus infinity for what is never recommended.
        targets: int64 [n], item rows.

    Returns:
        int64 [n].
    """
    own = scores.gather(1, targets.unsqueeze(1))
    above, equal = _true(scores > own), scores == own
    if bool(scores.sum().isnan()):  # as a sum that is a number has no NaN in it, which is quicker to see
        above += _true(scores.isnan())
    ties = _true(equal)
    if bool((ties != 1).any()):
        ties = 1 + _true(equal & (torch.arange(scores.shape[1]) < targets.unsqueeze(1)))
    never = (own.isnan() | own.isneginf()).squeeze(1)
    return torch.where(never, scores.shape[1], above + ties)


def _true(mask: Tensor) -> Tensor:
    """How many of each row are true: numpy counts booleans three times as fast as torch."""
    return torch.from_numpy(np.count_nonzero(mask.numpy(), axis=1))


def leaving_out_context(score: Callable[[Windows], Tensor]) -> Callable[[Windows], Tensor]:
    """The scores of a model that knows nothing of repeats: items of a context are never recommended after it.

    Args:
        score: function of windows to scores [n, v].

    Returns:
        The function whose scores are minus infinity there.
    """
    return lambda windows: without_context(score(windows), windows)


def without_context(scores: Tensor, windows: Windows, where: np.ndarray | None = None) -> Tensor:
    """The scores with minus infinity for the items of each context.

    Args:
        scores: [n, v].
        windows: n of them.
        where: mask [n] of the windows whose contexts are left out; None for all.

    Returns:
        [n, v].
    """
    items = windows.items if where is None else windows.items * where[:, None]
    return scores.scatter(1, torch.from_numpy(items).long(), float("-inf"))


def ranks(score: Callable[[Windows], Tensor], windows: Windows, batch: int = 256) -> np.ndarray:
    """Ranks of the windows' targets.

    Args:
        score: function of windows to scores.
        windows: n of them.
        batch: windows that are scored at a time.

    Returns:
        int64 [n].
    """
    parts = [target_ranks(scores, targets).numpy() for scores, targets in _scored(score, windows, batch)]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def ranks_and_lists(
    score: Callable[[Windows], Tensor], windows: Windows, batch: int = 256
) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of the windows' targets, as `ranks`, and what would be recommended: one pass over the scores.

    Args:
        score: function of windows to scores.
        windows: n of them.
        batch: windows that are scored at a time.

    Returns:
        Ranks int64 [n], and the LIST_LENGTH best items of each window, int32 [n, LIST_LENGTH], best first, 0 where there
        are no more that can be recommended.
    """
    target_parts, lists = [np.zeros(0, np.int64)], [np.zeros((0, LIST_LENGTH), np.int32)]
    for scores, targets in _scored(score, windows, batch):
        target_parts.append(target_ranks(scores, targets).numpy())
        lists.append(_best(scores))
    return np.concatenate(target_parts), np.concatenate(lists)


def _scored(score: Callable[[Windows], Tensor], windows: Windows, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Scores and targets, a batch of windows at a time."""
    for start in range(0, len(windows.target), batch):
        part = windows.take(np.arange(start, min(start + batch, len(windows.target))))
        yield score(part), torch.from_numpy(part.target).long()


def _best(scores: Tensor) -> np.ndarray:
    """The items of a batch's lists, int32 [n, LIST_LENGTH]; 0 is no item."""
    masked = scores.clone()
    masked[:, 0] = float("-inf")
    masked = masked.nan_to_num(nan=float("-inf"), neginf=float("-inf"))
    values, items = highest(masked, min(LIST_LENGTH, scores.shape[1]))
    items = items.masked_fill(values.isneginf(), 0).int()
    return np.pad(items.numpy(), ((0, 0), (0, LIST_LENGTH - items.shape[1])))


def highest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k highest scores of each row, best first, of equal ones the lower column first: as `target_ranks` counts.

    Args:
        scores: [n, v]; minus infinity for what is never recommended.
        k: how many, at most v.

    Returns:
        Scores [n, k], and their columns int64 [n, k]; where fewer can be recommended, any of the others come last.
    """
    if not k:
        return scores[:, :0], scores[:, :0].long()
    values, columns = scores.topk(min(k + 1, scores.shape[1]), dim=1)
    last, next_one, columns = values[:, k - 1], values[:, k:], columns[:, :k]
    left_out = (next_one == last.unsqueeze(1)).any(dim=1) & ~last.isneginf()
    if bool(left_out.any()):  # topk takes any of those that are as high as the last
        columns[left_out] = scores[left_out].sort(dim=1, descending=True, stable=True).indices[:, :k]
    columns = columns.sort(dim=1).values
    values, order = scores.gather(1, columns).sort(dim=1, descending=True, stable=True)
    return values, columns.gather(1, order)


def per_window(rank: np.ndarray) -> dict[str, np.ndarray]:
    """COMPARED_METRICS of each window; with one target NDCG is 1 / log2(1 + rank), and MRR 1 / rank.

    Args:
        rank: int64 [n], 1 is best.

    Returns:
        float64 [n] by metric.
    """
    gain = 1 / np.log2(1.0 + rank)
    return {
        **{f"Recall@{k}": (rank <= k).astype(np.float64) for k in CUTOFFS},
        **{f"NDCG@{k}": np.where(rank <= k, gain, 0.0) for k in CUTOFFS},
        "MRR": 1.0 / rank,
    }


def mean_metrics(rank: np.ndarray) -> dict[str, float]:
    """Mean Recall@K and NDCG@K over windows; empty input gives NaN for each.

    Args:
        rank: int64 [n], 1 is best.

    Returns:
        By metric.
    """
    by_window = per_window(rank)
    return {name: float(by_window[name].mean()) if len(rank) else float("nan") for name in METRICS}


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
    """The mean change of one metric between two models on the same windows.

    Args:
        before: int64 [n], ranks of the windows' targets under the first model.
        after: int64 [n], under the second.
        users: [n], whose the windows are.
        metric: one of COMPARED_METRICS.
        seed: of the bootstrap.
        draws: bootstrap samples.

    Returns:
        The mean of after - before, with a 95 % interval from a paired bootstrap by user, not by window; NaN without
        windows.
    """
    return paired_differences(before, after, users, metrics=(metric,), seed=seed, draws=draws)[metric]


def paired_differences(
    before: np.ndarray,
    after: np.ndarray,
    users: np.ndarray,
    *,
    metrics: Sequence[str] = METRICS,
    seed: int = 0,
    draws: int = 1000,
) -> dict[str, Difference]:
    """The mean change of each metric; all metrics share the bootstrap samples, so each is as `paired_difference` has it.

    Args:
        before: int64 [n], ranks of the windows' targets under the first model.
        after: int64 [n], under the second.
        users: [n], whose the windows are.
        metrics: some of COMPARED_METRICS.
        seed: of the bootstrap.
        draws: bootstrap samples.

    Returns:
        By metric the mean of after - before with its 95 % interval by user; NaN without windows.
    """
    if not len(before):
        return {metric: Difference(float("nan"), float("nan"), float("nan")) for metric in metrics}
    old, new = per_window(before), per_window(after)
    changes = {metric: new[metric] - old[metric] for metric in metrics}
    _, owner = np.unique(users, return_inverse=True)
    totals, count = {metric: np.bincount(owner, change) for metric, change in changes.items()}, np.bincount(owner)
    means: dict[str, list[np.ndarray]] = {metric: [] for metric in metrics}
    for weight in _user_weights(len(count), draws, seed):
        for metric, total in totals.items():
            means[metric].append((weight @ total) / (weight @ count))
    return {metric: _difference(changes[metric], np.concatenate(means[metric])) for metric in metrics}


def _user_weights(users: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """How often each user counts in each bootstrap sample, int64 [., users], a part of the samples at a time."""
    generator, share = np.random.default_rng(seed), np.full(users, 1 / users)
    step = max(1, DRAWN_COUNTS // users)
    for start in range(0, draws, step):
        yield generator.multinomial(users, share, size=min(step, draws - start))


def _difference(change: np.ndarray, means: np.ndarray) -> Difference:
    low, high = np.quantile(means, [0.025, 0.975])
    return Difference(float(change.mean()), float(low), float(high))
