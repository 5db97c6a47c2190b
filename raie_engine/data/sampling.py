"""Which windows train and which validate, at setup and in an edit, and samples of windows.

Legend: n windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from raie.engine.config import EditConfig, WindowConfig
from raie.engine.data.interactions import Interactions, between, watermark
from raie.engine.data.watermark import Watermark
from raie.engine.data.window_length import earlier_items
from raie.engine.data.windows import (
    UncutWindows,
    Windows,
    concatenate,
    cut_windows,
    uncut_evaluation_windows,
)

__all__ = [
    "EditWindows",
    "SplitWindows",
    "edit_windows",
    "keep_sample",
    "newest",
    "next_watermark",
    "setup_windows",
    "split_setup",
]

_Kind = TypeVar("_Kind", Windows, UncutWindows)


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


def setup_windows(past: Interactions, windows: WindowConfig, edit: EditConfig, seed: int) -> SplitWindows:
    """The windows of the setup slice, the newest of them held out.

    With windows.context "history" no window reaches over the cut: older interactions are targets of training windows, and
    each newer one is asked for once.

    Args:
        past: the slice, in time order.
        windows: how windows are cut.
        edit: how much is held out, and how many windows of it are kept at most.
        seed: of the samples.

    Returns:
        What trains, validates and is held out.
    """
    if windows.context == "history":
        new = past.timestamp[earlier_items(past) >= windows.min_length]
        cut = int(np.quantile(new, 1 - edit.holdout)) if len(new) else None
        asked = uncut_evaluation_windows(past, windows, after=cut)
        even = asked.user % 2 == 0
        validation, holdout = (
            _sample(asked.take(rows), edit.max_validation, [seed, number])
            for number, rows in enumerate((even, ~even))
        )
        del asked, even  # as large as the log, while the training windows are cut
        return SplitWindows(cut_windows(between(past, None, cut), windows), validation, holdout)
    split = split_setup(cut_windows(past, windows), edit.holdout)
    validation, holdout = (
        keep_sample(part, edit.max_validation or len(part), [seed, number]).compacted()
        for number, part in enumerate((split.validation, split.holdout))
    )
    return SplitWindows(split.train, validation, holdout)


def _sample(windows: UncutWindows, most: int, seed: Sequence[int]) -> Windows:
    """A sample of windows; contexts are laid out for those alone that are kept."""
    return keep_sample(windows, most or len(windows), seed).cut().compacted()


@dataclass(frozen=True, eq=False)
class EditWindows:
    """The windows of an edit: those up to `train_until` (epoch seconds) train, later ones validate."""

    windows: Windows
    train_until: int

    @property
    def train(self) -> Windows:
        return self.windows.take(self.windows.timestamp <= self.train_until)

    @property
    def validation(self) -> Windows:
        return self.windows.take(self.windows.timestamp > self.train_until)


def edit_windows(
    rows: Interactions, windows: WindowConfig, edit: EditConfig, mark: Watermark, seed: int
) -> EditWindows | None:
    """The windows of the rows after a watermark.

    With windows.context "history" training begins where the last edit's ended, so over a chain of edits each interaction
    is trained on once, and no window reaches over `train_until`.

    Args:
        rows: the log up to the end of the edit, in time order.
        windows: how windows are cut.
        edit: how much validates, and in how many windows at most.
        mark: of the snapshot.
        seed: of the sample.

    Returns:
        The windows; None where nothing after the watermark can be learned.
    """
    if windows.context == "history":
        new = rows.timestamp[(earlier_items(rows) >= windows.min_length) & (rows.timestamp > mark.timestamp)]
        if not len(new):
            return None
        train_until = int(np.quantile(new, 1 - edit.holdout))
        train = cut_windows(between(rows, None, train_until), windows, after=mark.trained)
        asked = uncut_evaluation_windows(rows, windows, after=train_until)
        validation = _sample(asked, edit.max_validation, [seed, len(rows)])
        return EditWindows(concatenate([train, validation]), train_until)
    cut = cut_windows(rows, windows, after=mark.timestamp)
    if not len(cut):
        return None
    train_until = int(np.quantile(cut.timestamp, 1 - edit.holdout))
    new_rows = cut.timestamp <= train_until
    validation = keep_sample(cut.take(~new_rows), edit.max_validation or len(cut), [seed, len(rows)])
    whole = len(validation) == int((~new_rows).sum())
    return EditWindows(cut if whole else concatenate([cut.take(new_rows), validation]), train_until)


def next_watermark(
    interactions: Interactions, until: int | None, cut: EditWindows, windows: WindowConfig
) -> Watermark:
    """The watermark after an edit with these windows.

    Args:
        interactions: the log, in time order.
        until: end of the edit, epoch seconds; None for the whole log.
        cut: the edit's windows.
        windows: how they are cut.

    Returns:
        The watermark, with what validated left for the next edit to train on.
    """
    reached = watermark(interactions, until)
    return replace(reached, train_until=cut.train_until) if windows.context == "history" else reached


def keep_sample(windows: _Kind, most: int, seed: Sequence[int]) -> _Kind:
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
