"""How a model that is edited again and again adapts and forgets, from its scores alone.

a[i][j] is the score on slice j after edit i; edit 0 is the setup. Slice 0 is the setup's, edit j trains on slice j, and
no edit trains on slice T + 1. next_slice[j - 1] = a[j - 1][j]: the score on slice j before any edit trains on it. Every
function takes arrays with any axes in front, so that a bootstrap hands in all its samples at once. Higher is better in
all but forgetting and intransigence. Where nothing can be averaged the result is NaN.
Legend: T edits; a [.., T + 1, T + 2], next_slice [.., T + 1].
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = [
    "average_forgetting",
    "backward_transfer",
    "final",
    "forward_transfer",
    "intransigence",
    "plasticity",
    "prequential",
    "retention",
]

Scores = npt.NDArray[np.float64]


def backward_transfer(a: Scores) -> Scores:
    """BWT = mean over j < T of (a[T][j] - a[j][j]): what the later edits did to the earlier slices.

    Args:
        a: [.., T + 1, T + 2], score by edit and slice.

    Returns:
        [..].

    Source: Lopez-Paz and Ranzato, arXiv 1706.08840.

    Departs from it: the setup's slice counts as one of the earlier.
    """
    edits = a.shape[-2] - 1
    return _mean(a[..., edits, :edits] - _right_after(a)[..., :edits])


def average_forgetting(a: Scores) -> Scores:
    """Mean over j < T of (max over l < T of a[l][j] - a[T][j]): how far below its best each earlier slice ended.

    Args:
        a: [.., T + 1, T + 2], score by edit and slice.

    Returns:
        [..].

    Source: Chaudhry et al., arXiv 1801.10112.
    """
    edits = a.shape[-2] - 1
    if not edits:
        return _mean(a[..., 0, :0])
    return _mean(a[..., :edits, :edits].max(axis=-2) - a[..., edits, :edits])


def retention(a: Scores) -> Scores:
    """Mean over j < T of a[T][j]: the score on earlier slices after the last edit.

    Args:
        a: [.., T + 1, T + 2], score by edit and slice.

    Returns:
        [..].
    """
    edits = a.shape[-2] - 1
    return _mean(a[..., edits, :edits])


def forward_transfer(next_slice: Scores, never: Scores) -> Scores:
    """FWT = mean over j > 1 of (a[j - 1][j] - b[j]): what earlier edits gave to slices that no edit has seen.

    Args:
        next_slice: [.., T + 1], a[j - 1][j] for each slice j.
        never: b [.., T + 1], of the backbone that was never edited.

    Returns:
        [..].
    """
    return _mean((next_slice - never)[..., 1:])


def plasticity(a: Scores) -> Scores:
    """Mean over j >= 1 of a[j][j]: how well each slice was learned.

    Args:
        a: [.., T + 1, T + 2], score by edit and slice.

    Returns:
        [..].
    """
    return _mean(_right_after(a)[..., 1:])


def intransigence(a: Scores, joint: Scores) -> Scores:
    """Mean over j >= 1 of (joint[j][j] - a[j][j]): what was not learned that retraining on everything learns.

    Args:
        a: [.., T + 1, T + 2], score by edit and slice.
        joint: the same of joint retraining.

    Returns:
        [..].
    """
    return plasticity(joint) - plasticity(a)


def prequential(next_slice: Scores) -> Scores:
    """Mean over all slices of a[j - 1][j]: what production feels.

    Args:
        next_slice: [.., T + 1], a[j - 1][j] for each slice j.

    Returns:
        [..].
    """
    return _mean(next_slice)


def final(next_slice: Scores) -> Scores:
    """a[T][T + 1]: the last slice, which no strategy ever learned from.

    Args:
        next_slice: [.., T + 1], a[j - 1][j] for each slice j.

    Returns:
        [..].
    """
    return next_slice[..., -1]


def _right_after(a: Scores) -> Scores:
    """a[j][j]: [.., T + 1]."""
    return np.diagonal(a, axis1=-2, axis2=-1)


def _mean(values: Scores) -> Scores:
    if not values.shape[-1]:
        return np.full(values.shape[:-1], np.nan)
    return np.asarray(values.mean(axis=-1))
