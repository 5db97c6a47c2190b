"""The batches of an epoch: windows of like length together, so that hardly any padding is computed.

On a log whose users mostly have six interactions, windows of 50 positions are padding to nine tenths.
Legend: n windows, L positions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from raie.engine.data.windows import Windows
from raie.engine.evaluation.metrics import ranks

__all__ = ["epoch_batches", "trimmed_ranks"]

SORTED_BATCHES = 16
"""So many batches' windows are sorted by length: enough that their lengths are alike, too few that all short windows
of an epoch follow one another."""


def epoch_batches(
    lengths: NDArray[np.integer],
    batch: int,
    seed: int,
    epoch: int,
    *,
    targets: NDArray[np.integer] | None = None,
) -> list[NDArray[np.int64]]:
    """The windows of one epoch in batches of as many targets each, which depend on the seed and the epoch alone.

    Windows are shuffled, sorted by length within the windows of a few batches, and cut where the targets are as many;
    the batches are shuffled again. Windows that are all alike are shuffled and cut, no more. A batch is a step on the
    mean over its targets, so with as many targets each, every target of an epoch weighs the same.

    Args:
        lengths: int [n], items of each window.
        batch: windows of a batch, on average.
        seed: of the training.
        epoch: its number.
        targets: int [n], of each window; None for as many as its items.

    Returns:
        Window rows of each batch; every window is in one of them.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    counts = lengths if targets is None else targets
    if not len(order) or ((lengths == lengths[0]) & (counts == counts[0])).all():
        return _every(order, batch)
    budget = batch * float(counts.mean())
    groups = (rows[np.argsort(lengths[rows], kind="stable")] for rows in _every(order, batch * SORTED_BATCHES))
    batches = [part for rows in groups for part in _cut(rows, counts, budget)]
    return [batches[row] for row in generator.permutation(len(batches))]


def _every(rows: NDArray[np.int64], count: int) -> list[NDArray[np.int64]]:
    return [rows[start : start + count] for start in range(0, len(rows), count)]


def _cut(rows: NDArray[np.int64], counts: NDArray[np.integer], budget: float) -> list[NDArray[np.int64]]:
    """The rows in parts whose counts sum to about the budget."""
    sums = counts[rows].cumsum()
    parts = max(1, round(float(sums[-1]) / budget))
    edges = np.searchsorted(sums, sums[-1] * np.arange(1, parts) / parts)
    return [part for part in np.split(rows, edges) if len(part)]


def trimmed_ranks(score: Callable[[Windows], Tensor], windows: Windows, batch: int = 256) -> NDArray[np.int64]:
    """Ranks of the windows' targets for validation: as `ranks`, but the padding of short windows is not computed.

    Scores differ from those of whole windows in their last bits, so what is evaluated or served never comes from here.

    Args:
        score: function of windows to scores.
        windows: n of them.
        batch: windows that are scored at a time.

    Returns:
        int64 [n].
    """
    target_ranks = np.zeros(len(windows), np.int64)
    for rows in _every(np.argsort(windows.length, kind="stable"), batch):
        target_ranks[rows] = ranks(score, windows.take(rows).trimmed(), batch)
    return target_ranks
