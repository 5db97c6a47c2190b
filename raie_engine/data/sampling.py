"""Samples of windows: the setup's held-out tail, and the windows that a region keeps.

Legend: n windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raie.engine.data.windows import Windows

__all__ = ["SplitWindows", "keep_sample", "newest", "split_setup"]


@dataclass(frozen=True)
class SplitWindows:
    """The windows of the setup slice: `train`, and of its newest ones `validation` and `holdout`, by user.

    validation stops training and chooses adapters; by holdout nothing is trained or chosen: retention is measured there.
    Drift is measured against both.
    """

    train: Windows
    validation: Windows
    holdout: Windows


def newest(windows: Windows, share: float) -> np.ndarray:
    """Which windows are the newest.

    Args:
        windows: n of them.
        share: of time, in (0, 1).

    Returns:
        Mask [n] of the windows whose target lies in the newest `share` of time; ties at the cut are older.
    """
    if not len(windows):
        return np.zeros(0, bool)
    return np.asarray(windows.timestamp > np.quantile(windows.timestamp, 1 - share))


def split_setup(windows: Windows, share: float) -> SplitWindows:
    """Hold out the newest windows of the setup slice.

    Args:
        windows: of the slice.
        share: of time that is held out, in (0, 1).

    Returns:
        The older windows to train on; of the newest ones, those of users of even rows validate and those of users of odd
        rows are the holdout.
    """
    tail = newest(windows, share)
    even = windows.user % 2 == 0
    return SplitWindows(windows.take(~tail), windows.take(tail & even), windows.take(tail & ~even))


def keep_sample(windows: Windows, most: int, seed: Sequence[int]) -> Windows:
    """A random sample of windows.

    Args:
        windows: n of them.
        most: the largest size of the sample.
        seed: of the sample, as numpy's generators take it.

    Returns:
        At most `most` of the windows, in their old order; all of them where they are no more.
    """
    if len(windows) <= most:
        return windows
    chosen = np.random.default_rng(list(seed)).permutation(len(windows))[:most]
    return windows.take(np.sort(chosen))
