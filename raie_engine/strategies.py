"""The strategies that region edits are compared with, each a few lines over the one training loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from raie_engine.adapters import fresh_adapter
from raie_engine.editing import PreparedEdit, edited_backbone, shared_task
from raie_engine.errors import NothingToEdit
from raie_engine.model_view import ModelView
from raie_engine.region_training import adapter_scores, fit_adapter, touched_items
from raie_engine.windows import Windows

__all__ = ["Score", "global_lora", "never_edit"]

Score = Callable[[Windows], Tensor]
"""Windows to scores [n, v]."""


def never_edit(view: ModelView) -> Score:
    """The backbone as it was set up; it can read items that edits appended, and recommends none of them."""
    return adapter_scores(view.backbone, None)


def global_lora(view: ModelView, prepared: PreparedEdit, passes: int, *, replay: bool = False) -> Score:
    """One adapter of the same rank for all windows, fine-tuned for as many sample passes as the edit took.

    It gets the windows, the loss, the item rows and the validation windows of the edit, keeps its best epoch, and
    replays the past only with `replay`, as the strategy Replay does.

    Raises: NothingToEdit for an edit that touched no region, so that there is nothing to fine-tune on.
    """
    if not prepared.plan.touched:
        raise NothingToEdit("expected an edit that touches a region to compare with, found one that touches none")
    task = shared_task(view, prepared)
    if not replay:
        task = replace(task, replay=task.replay.take(slice(0, 0)), retained=task.retained.take(slice(0, 0)))
    epochs = max(1, round(passes / max(1, len(task.new) + len(task.replay))))
    task = replace(task, schedule=replace(task.schedule, epochs=epochs, patience=0))
    backbone = edited_backbone(view, prepared)
    begun = fresh_adapter(backbone, task.adapter, touched_items(task.new), task.schedule.seed)
    return adapter_scores(backbone, fit_adapter(backbone, begun, task)[0])
