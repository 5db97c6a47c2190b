"""What a strategy is: a pure function from a state and what is new to the next state, and one from a state to scores.

Every strategy gets the same task data. So whatever differs between two of them differs in their functions.
Legend: n windows, d hidden size, v item rows (row 0 is padding).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from raie.engine.backbones import Backbone
from raie.engine.config import EngineConfig
from raie.engine.data.interactions import Interactions, between
from raie.engine.data.sampling import keep_sample
from raie.engine.data.windows import Windows
from raie.engine.edit.named_blobs import Blobs
from raie.engine.edit.pipeline import PreparedEdit
from raie.engine.edit.training_tasks import touched_windows
from raie.engine.model import ModelView
from raie.engine.training.train_adapter import sampled_negatives

__all__ = ["LearnedState", "Score", "State", "Strategy", "TaskData", "task_data_of"]

State = Blobs
"""Bytes by name: what a strategy has learned so far. Empty: the frozen backbone as it was set up."""

Score = Callable[[Windows], Tensor]
"""Windows to scores [n, v]."""


@dataclass(frozen=True, eq=False)
class TaskData:
    """One edit, as every strategy gets it.

    base: the setup, the same for all. number: of the edit, from 1. interactions: what an edit cuts its windows from, up
    to `until` (epoch seconds). new: windows to train on. validation: later ones, by which an epoch is chosen. past: new
    windows of earlier edits and of the setup. rows: the interactions that new and past windows are made of; all_rows:
    with those that validate. item_rows: [new items, d], of all items that have come since the setup. previous: the task
    data of what the edit goes on from; None where there is none.
    """

    base: ModelView
    number: int
    interactions: Interactions
    until: int
    new: Windows
    validation: Windows
    past: Windows
    rows: Interactions
    item_rows: Tensor
    all_rows: Interactions
    previous: TaskData | None = None

    @property
    def config(self) -> EngineConfig:
        return self.base.settings.engine

    @property
    def seed(self) -> int:
        """Of everything random in this edit."""
        return self.config.seed * 10_007 + self.number

    @cached_property
    def backbone(self) -> Backbone:
        """The frozen backbone, with a row for every item that has come."""
        return self.base.backbone.with_item_rows(self.item_rows, self.titles)

    @property
    def titles(self) -> tuple[str, ...]:
        """Of the items that have come since the setup, for a backbone that reads them."""
        frozen = self.base.backbone
        last = frozen.known_items + len(self.item_rows)
        return self.interactions.catalogue.titles[frozen.known_items : last] if frozen.reads_titles else ()

    @property
    def items(self) -> int:
        """Items that have come; the last item row."""
        return len(self.backbone.item_table()) - 1

    @property
    def negatives(self) -> int:
        """Items that a loss draws beside the targets of a batch; 0 for a loss over all items."""
        return sampled_negatives(self.config.backbone, self.items)

    @cached_property
    def replay(self) -> Windows:
        """The past windows that a strategy which replays may train on: as many per new one for all of them."""
        return keep_sample(self.past, int(self.config.edit.replay_ratio * len(self.new)), [self.seed])

    @property
    def validating(self) -> Windows:
        """The windows by which what joins scores is fitted: this edit's, and at the setup those of the setup."""
        return self.validation if self.number else self.base.validation

    @property
    def retained(self) -> Windows:
        """Past windows that nobody trains on, by which a strategy that replays chooses its epoch too."""
        return self.base.validation


def task_data_of(base: ModelView, prepared: PreparedEdit, interactions: Interactions, number: int = 1) -> TaskData:
    """The task data of one edit that a registry holds, for strategies to be compared with it.

    Args:
        base: what it was made from.
        prepared: the edit, prepared.
        interactions: the log, in time order.
        number: of the edit since the setup.

    Returns:
        The task data.

    Raises:
        InputError: for an edit that trained none.
    """
    windows = touched_windows(base, prepared)
    return TaskData(
        base=base,
        number=number,
        interactions=interactions,
        until=prepared.watermark.timestamp,
        new=windows.new,
        validation=windows.validation,
        past=windows.past,
        rows=between(interactions, None, prepared.train_until),
        item_rows=torch.cat([*base.item_chunks, prepared.item_rows]),
        all_rows=between(interactions, None, prepared.watermark.timestamp),
    )


class LearnedState(NamedTuple):
    """The state after an edit and its cost.

    samples_seen: training samples seen. parameters: trainable parameters. touched: regions that changed, for a
    strategy that has regions.
    """

    state: State
    samples_seen: int = 0
    parameters: int = 0
    touched: tuple[int, ...] = ()


def _nothing(state: State, task_data: TaskData) -> LearnedState:
    return LearnedState(state)


@dataclass(frozen=True)
class Strategy:
    """A way to follow a log, in edits.

    name: as tables show it. source: who proposed it. learn, score: what it does; both pure. replays: trains on past
    windows too. differs: where, by its nature, it does not get what all others get. begin: what it takes from the
    setup besides the backbone. regions: the region [n] of each window, for a strategy that has regions. counting: learns
    from rows at once, so it can learn again when those that validate have had their say. complete: its scores say what
    repeats and counts are worth, and nothing joins them.
    """

    name: str
    source: str
    learn: Callable[[State, TaskData], LearnedState]
    score: Callable[[State, TaskData], Score]
    replays: bool = False
    differs: str = ""
    begin: Callable[[State, TaskData], LearnedState] = _nothing
    regions: Callable[[State, TaskData, Windows], np.ndarray] | None = None
    counting: bool = False
    complete: bool = False
