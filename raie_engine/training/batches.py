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


def epoch_batches(sizes: NDArray[np.integer], batch: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """The windows of one epoch in batches of as much work each, which depend on the seed and the epoch alone.

    Windows are shuffled, sorted by size within the windows of a few batches, and cut where the work is alike; the
    batches are shuffled again. Windows of one size are shuffled and cut, no more.

    Args:
        sizes: int [n], work of each window, such as its items.
        batch: windows of a batch, on average.
        seed: of the training.
        epoch: its number.

    Returns:
        Window rows of each batch; every window is in one of them.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(sizes))
    if not len(sizes) or (sizes == sizes[0]).all():
        return _every(order, batch)
    budget = batch * float(sizes.mean())
    batches = [
        part for group in _every(order, batch * SORTED_BATCHES) for part in _like_sized(group, sizes, budget)
    ]
    return [batches[row] for row in generator.permutation(len(batches))]


def _every(rows: NDArray[np.int64], count: int) -> list[NDArray[np.int64]]:
    return [rows[start : start + count] for start in range(0, len(rows), count)]


def _like_sized(rows: NDArray[np.int64], sizes: NDArray[np.integer], budget: float) -> list[NDArray[np.int64]]:
    """The rows by size, in parts whose sizes sum to about the budget."""
    rows = rows[np.argsort(sizes[rows], kind="stable")]
    sums = sizes[rows].cumsum()
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
    found = np.zeros(len(windows), np.int64)
    for rows in _every(np.argsort(windows.length, kind="stable"), batch):
        found[rows] = ranks(score, windows.take(rows).trimmed(), batch)
    return found
