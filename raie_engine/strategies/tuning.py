"""The training that all strategies share: same loss, same stages, same stopping rule, over the one training loop.

Legend: n windows, v item rows (row 0 is padding).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from raie.engine.backbones import Backbone, Contexts
from raie.engine.data.sampling import keep_sample
from raie.engine.data.windows import Windows, concatenate
from raie.engine.evaluation.metrics import leaving_out_context, mean_metrics
from raie.engine.strategies.task_data import Score, State, TaskData
from raie.engine.training.adapter import Adapter, fresh_adapter
from raie.engine.training.batches import trimmed_ranks
from raie.engine.training.loop import Schedule, fit
from raie.engine.training.train_adapter import (
    EPOCH_WINDOWS,
    TrainTask,
    quality,
    scoring_parts,
    task_backbone,
    touched_items,
    trained_parameters,
)

__all__ = ["adapter_of", "count", "item_scores", "seen", "task_size", "tune"]


def tune(
    parameters: Mapping[str, Tensor],
    loss: Callable[[Contexts, Tensor], Tensor],
    score: Score,
    task_data: TaskData,
    windows: Windows,
    *,
    retained: bool,
    share: float = 1.0,
) -> int:
    """Train `parameters` in place on the windows and leave the best epoch's values.

    Two stages, as an edit has them: of all regions together, then of each alone. An epoch is validated as an edit
    validates an adapter, and the values before training stay unless another epoch is better. Without replay the new
    windows are seen more often instead, with as many windows' patience.

    Args:
        parameters: by name; they require gradients.
        loss: the mean loss of contexts and the items [n] after them.
        score: of windows, under the parameters as they are.
        task_data: the edit's.
        windows: to train on.
        retained: whether past windows validate too.
        share: of the training samples that an edit may see.

    Returns:
        Training samples seen.
    """
    if not len(windows):
        return 0
    edit, samples_seen = task_data.config.edit, 0
    # So many epochs see as many samples as one epoch of an edit.
    rounds = (len(task_data.new) + len(task_data.replay)) / len(windows)

    judged, seed = leaving_out_context(score), [task_data.seed]
    asked = keep_sample(task_data.validation, EPOCH_WINDOWS, seed)
    past = keep_sample(task_data.retained, EPOCH_WINDOWS if retained else 0, seed)

    def validate() -> float:
        metrics, old = (mean_metrics(trimmed_ranks(judged, windows)) for windows in (asked, past))
        return quality(metrics | {f"retained {name}": value for name, value in old.items()})

    stages = (edit.shared_epochs, edit.shared_learning_rate), (edit.epochs, edit.learning_rate)
    for stage, (epochs, learning_rate) in enumerate(stages):
        schedule = Schedule(
            epochs=round(share * epochs * rounds),
            batch=edit.batch,
            learning_rate=learning_rate,
            patience=round(edit.patience * rounds),
            seed=2 * task_data.seed + stage,
        )
        validation = validate if len(task_data.validation) else None
        samples_seen += fit(parameters, loss, windows, schedule, validate=validation).samples_seen
    return samples_seen


def seen(task_data: TaskData, *, replays: bool) -> Windows:
    """The windows a strategy trains on: the new ones, and its share of the past where it replays.

    Args:
        task_data: the edit's.
        replays: whether the strategy replays.

    Returns:
        The windows.
    """
    return concatenate([task_data.new, task_data.replay]) if replays else task_data.new


def adapter_of(state: State, backbone: Backbone) -> Adapter | None:
    """The adapter that a state holds; None for the state before the first edit.

    Args:
        state: what the strategy has learned so far.
        backbone: the frozen backbone.

    Returns:
        The adapter.
    """
    if not state:
        return None
    adapter = Adapter.from_blobs(state)
    adapter.require(backbone)
    return adapter


def count(parameters: Mapping[str, Tensor]) -> int:
    """How many numbers the parameters hold.

    Args:
        parameters: by name.

    Returns:
        The number.
    """
    return sum(value.numel() for value in parameters.values())


def item_scores(backbone: Backbone, adapter: Adapter | None, contexts: Contexts) -> Tensor:
    """Scores of items 1..v-1 after each context, with gradients.

    Args:
        backbone: the frozen backbone.
        adapter: None for the frozen backbone.
        contexts: left-padded or left-justified, n of them.

    Returns:
        [n, v - 1].
    """
    if adapter is None:
        return backbone.encode(contexts) @ backbone.item_table()[1:].T
    delta, table, bias = scoring_parts(backbone, adapter, merged=True)
    return torch.addmm(bias[1:], backbone.encode(contexts, delta), table[1:].T)


def task_size(task: TrainTask) -> int:
    """Trainable parameters of a region's task, begun from what serves its windows now.

    Args:
        task: the training of one adapter.

    Returns:
        The number.
    """
    backbone = task_backbone(task)
    start = adapter_of(task.current or {}, backbone)
    adapter = fresh_adapter(backbone, task.adapter, touched_items(task.new), 0, start)
    return count(trained_parameters(adapter, task))
