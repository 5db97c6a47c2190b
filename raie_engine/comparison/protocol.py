"""The protocol of a comparison: a log cut into a setup slice, one slice per edit, and a last slice for evaluation only.

Some users are for evaluation only: after the setup no strategy trains on their rows. So every slice can be evaluated
again after later edits, which is how forgetting is measured.
Legend: n windows, T edits. Slice 0 is the setup's, slices 1 to T are trained on, slice T + 1 only evaluates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch

from raie.engine.config import EngineConfig, WindowConfig
from raie.engine.data.interactions import Interactions, between
from raie.engine.data.sampling import edit_windows, next_watermark, setup_windows
from raie.engine.data.windows import Windows, concatenate, cut_windows, evaluation_windows
from raie.engine.errors import InputError
from raie.engine.evaluation.coverage import Coverage, coverage_of
from raie.engine.model import ModelView
from raie.engine.strategies import TaskData
from raie.engine.training.train_backbone import cold_item_rows

__all__ = ["EVALUATION_USERS", "ComparisonProtocol", "cut_protocol", "task_data_of_edits"]

EVALUATION_USERS = 0.2
"""Share of the users who are for evaluation only after the setup."""


@dataclass(frozen=True, eq=False)
class ComparisonProtocol:
    """What all strategies and seeds of a comparison share.

    interactions: rows that may be trained on. ends: epoch seconds, the last of the setup and of each later slice:
    T + 2 of them. windows: n evaluation windows. slice: int64 [n]. held_out: bool [n], windows of users for evaluation
    only, and the setup's held-out windows; the others evaluate only until the edit that trains on their slice. coverage:
    of slices 1 to T + 1, each as it is evaluated before it is learned.
    """

    interactions: Interactions
    ends: tuple[int, ...]
    windows: Windows
    slice: np.ndarray
    held_out: np.ndarray
    coverage: tuple[Coverage, ...] = ()

    @property
    def edits(self) -> int:
        """T."""
        return len(self.ends) - 2

    def items_by(self, edit: int) -> int:
        """The last item row that training may have seen by the end of this edit, 0 to T.

        Args:
            edit: number of the edit, 0 is the setup.

        Returns:
            An item row.
        """
        return int(between(self.interactions, None, self.ends[edit]).item.max())

    def scored_rows(self, edit: int) -> np.ndarray:
        """Rows of the windows that evaluate the state after this edit, 0 to T: all that it was not trained on.

        Args:
            edit: number of the edit, 0 is the setup.

        Returns:
            Row numbers, int64.
        """
        return np.flatnonzero(self.held_out | (self.slice == edit + 1))


def cut_protocol(
    interactions: Interactions, until: int, end: int | None, edits: int, config: EngineConfig
) -> ComparisonProtocol:
    """Cut the rows after the setup into edits + 1 slices of as many rows each.

    Args:
        interactions: the log, in time order.
        until: end of the setup, epoch seconds.
        end: last time that is used, epoch seconds; None for the whole log.
        edits: T.
        config: the options.

    Returns:
        The protocol.

    Raises:
        InputError: where a slice has no training window or no evaluation window.
    """
    rows = between(interactions, None, end)
    later = between(rows, until, None).timestamp
    if not len(later):
        raise InputError(
            f"expected interactions after the setup's end {until}, found none; choose an earlier --until"
        )
    quantiles = np.quantile(later, np.arange(1, edits + 2) / (edits + 1), method="higher")
    ends = (until, *(int(end) for end in quantiles))
    held_out_users = np.random.default_rng(0).random(len(interactions.catalogue.users)) < EVALUATION_USERS
    holdout = setup_windows(between(rows, None, until), config.windows, config.edit, config.seed).holdout
    parts = [holdout, *_evaluated(rows, ends, config.windows)]
    slices = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    windows = concatenate(parts)
    held_out = held_out_users[windows.user] | (slices == 0)
    for number in range(1, edits + 2):
        _require_windows(number, edits, slices == number, held_out, config.windows)
    kept = (rows.timestamp <= until) | ~held_out_users[rows.user]
    protocol = ComparisonProtocol(_rows(rows, kept), ends, windows, slices, held_out)
    return replace(protocol, coverage=tuple(_coverage(protocol, rows)))


def _evaluated(rows: Interactions, ends: Sequence[int], config: WindowConfig) -> list[Windows]:
    """The windows that evaluate on each slice after the setup; with "history" they share the histories."""
    if config.context != "history":
        return [
            evaluation_windows(between(rows, None, stop), config, after=start) for start, stop in pairwise(ends)
        ]
    asked = evaluation_windows(rows, config, after=ends[0])
    return [asked.take((asked.timestamp > start) & (asked.timestamp <= stop)) for start, stop in pairwise(ends)]


def _coverage(protocol: ComparisonProtocol, rows: Interactions) -> Iterator[Coverage]:
    for number, (start, stop) in enumerate(pairwise(protocol.ends), start=1):
        windows = protocol.windows.take(protocol.slice == number)
        yield coverage_of(between(rows, None, stop), start, windows, protocol.items_by(number - 1))


def _require_windows(
    number: int, edits: int, here: np.ndarray, held_out: np.ndarray, config: WindowConfig
) -> None:
    training, scored = int((here & ~held_out).sum()), int((here & held_out).sum())
    if not scored or (number <= edits and not training):
        raise InputError(
            f"expected training and evaluation windows in slice {number} of {edits + 1}, found {training} and "
            f"{scored}; choose fewer --edits, an earlier --until"
            + (" or a smaller windows.min_length" if config.min_length > 1 else " or give a longer log")
        )


def task_data_of_edits(protocol: ComparisonProtocol, base: ModelView) -> Iterator[TaskData]:
    """The task data of the setup, number 0, in which nothing is new, and then of each edit.

    Args:
        protocol: of the comparison.
        base: the setup's snapshot.

    Yields:
        T + 1 values.
    """
    config, everything = base.settings.engine, protocol.interactions
    slice_0 = between(everything, None, protocol.ends[0])
    past, mark = setup_windows(slice_0, config.windows, config.edit, config.seed).train, base.watermark
    learned = everything.timestamp <= past.timestamp.max()  # the newest rows of the setup are held out
    frozen = base.backbone
    titles = everything.catalogue.titles[frozen.known_items :] if frozen.reads_titles else ()
    none, added = past.take(slice(0, 0)), torch.zeros(0, base.backbone.dim)
    seen = _countable(everything, protocol.ends[0], past)
    rows = _rows(everything, learned), _rows(everything, seen)
    last = TaskData(base, 0, everything, protocol.ends[0], none, none, past, rows[0], added, rows[1])
    yield last
    for number, (start, stop) in enumerate(pairwise(protocol.ends[:-1]), start=1):
        until = between(everything, None, stop)
        cut = edit_windows(until, config.windows, config.edit, mark, config.seed)
        if cut is None:
            raise InputError(f"expected windows to train on in slice {number}, found none; choose fewer --edits")
        windows = cut_windows(until, config.windows, after=start)
        backbone = base.backbone.with_item_rows(added, titles[: len(added)]) if len(added) else base.backbone
        added = torch.cat([added, cold_item_rows(backbone, windows, protocol.items_by(number), config.seed)])
        learned |= (everything.timestamp > mark.trained) & (everything.timestamp <= cut.train_until)
        seen |= (everything.timestamp > start) & (everything.timestamp <= stop)
        rows = _rows(everything, learned), _rows(everything, seen)
        last = TaskData(
            base, number, everything, stop, cut.train, cut.validation, past, rows[0], added, rows[1], last
        )
        yield last
        past, mark = concatenate([past, cut.train]), next_watermark(everything, stop, cut, config.windows)


def _countable(everything: Interactions, until: int, train: Windows) -> np.ndarray:
    """Which rows of the setup slice may be counted: all but those of the held-out windows, as a setup has it."""
    in_train = everything.timestamp <= train.timestamp.max()
    return np.asarray((everything.timestamp <= until) & (in_train | (everything.user % 2 == 0)))


def _rows(everything: Interactions, kept: np.ndarray) -> Interactions:
    return everything.of(kept)
