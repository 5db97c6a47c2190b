"""One adapter for all windows, which every edit trains on: alone, with replay, or as wide as all regions together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from raie.engine.config import AdapterConfig
from raie.engine.data.windows import Windows
from raie.engine.strategies.task_data import LearnedState, Score, State, Strategy, TaskData
from raie.engine.strategies.tuning import adapter_of, count, seen, tune
from raie.engine.training.adapter import Adapter, fresh_adapter
from raie.engine.training.loop import Loss
from raie.engine.training.train_adapter import adapter_scores, next_item_loss, touched_items, trainable

__all__ = ["GLOBAL_LORA", "REPLAY", "WIDE_LORA", "evolved", "score", "train_one"]


def evolved(
    state: State, task_data: TaskData, *, loss: Callable[[Adapter], Loss] | None = None, replays: bool = False
) -> LearnedState:
    """The state's adapter, or a fresh one, after training on the task data.

    Args:
        state: what the strategy has learned so far.
        task_data: the edit's.
        loss: of the live adapter, where it is not the loss that all share.
        replays: whether past windows are trained on too.

    Returns:
        The adapter and its cost.
    """
    start = adapter_of(state, task_data.backbone)
    adapter, samples_seen = train_one(
        task_data, start, seen(task_data, replays=replays), loss=loss, retained=replays
    )
    return LearnedState(adapter.to_blobs(), samples_seen, count(adapter.parameters()))


def train_one(
    task_data: TaskData,
    start: Adapter | None,
    windows: Windows,
    *,
    rows: Windows | None = None,
    loss: Callable[[Adapter], Loss] | None = None,
    retained: bool = False,
    share: float = 1.0,
    config: AdapterConfig | None = None,
) -> tuple[Adapter, int]:
    """One adapter, fresh or continuing another, trained on the windows.

    Args:
        task_data: the edit's.
        start: the adapter to continue; None for a fresh one.
        windows: to train on.
        rows: windows whose items get rows of their own; the new ones unless others are given.
        loss: of the live adapter, where it is not the loss that all share.
        retained: whether past windows validate too.
        share: of the training samples that an edit may see.
        config: size of the adapter, where it is not the one that all share.

    Returns:
        The adapter, and training samples seen.
    """
    backbone, item_ids = task_data.backbone, touched_items(task_data.new if rows is None else rows)
    live = trainable(fresh_adapter(backbone, config or task_data.config.adapter, item_ids, task_data.seed, start))
    made = (
        loss(live)
        if loss
        else next_item_loss(backbone, live, task_data.config.windows.stride, negatives=task_data.negatives)
    )
    score = adapter_scores(backbone, live)
    samples_seen = tune(live.parameters(), made, score, task_data, windows, retained=retained, share=share)
    return live.with_parameters({name: value.detach() for name, value in live.parameters().items()}), samples_seen


def score(state: State, task_data: TaskData) -> Score:
    """Scores under the state's adapter, or under the frozen backbone before the first edit.

    Args:
        state: what the strategy has learned so far.
        task_data: the edit's.

    Returns:
        Function of windows to scores.
    """
    return adapter_scores(task_data.backbone, adapter_of(state, task_data.backbone))


def _wide(state: State, task_data: TaskData) -> LearnedState:
    """An adapter with as much rank as all regions of the setup have together."""
    regions, size = len(task_data.base.content.regions), task_data.config.adapter
    config = replace(
        size, rank=size.rank * regions, alpha=size.alpha * regions, item_rank=size.item_rank * regions
    )
    start = adapter_of(state, task_data.backbone)
    adapter, samples_seen = train_one(task_data, start, task_data.new, config=config)
    return LearnedState(adapter.to_blobs(), samples_seen, count(adapter.parameters()))


GLOBAL_LORA = Strategy("global LoRA", "arXiv 2106.09685", evolved, score)
WIDE_LORA = Strategy("global LoRA, total rank", "a LoRA as large as all regions together", _wide, score)
REPLAY = Strategy(
    "Replay",
    "global LoRA and a sample of the past",
    lambda state, task_data: evolved(state, task_data, replays=True),
    score,
    replays=True,
)
