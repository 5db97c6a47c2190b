"""How long an edit will take: its sample passes times what one pass takes here and now."""

from __future__ import annotations

import time
from dataclasses import replace

from raie_engine.adapters import fresh_adapter
from raie_engine.edit_tasks import trial_task
from raie_engine.editing import PreparedEdit
from raie_engine.model_view import ModelView
from raie_engine.region_training import fit_adapter, task_backbone, touched_items

__all__ = ["estimated_seconds"]


def estimated_seconds(view: ModelView, prepared: PreparedEdit, workers: int) -> float:
    """Seconds the training will take at most, measured on one batch; validation and upload come on top."""
    if not prepared.plan.touched:
        return 0.0
    task = trial_task(view, prepared)
    edit = view.settings.engine.edit
    count = len(task.new) + len(task.replay)
    if not count:
        return 0.0
    few = slice(0, task.schedule.batch)
    none = task.validation.take(slice(0, 0))
    trial = replace(task, new=task.new.take(few), replay=none, validation=none, retained=none)
    trial = replace(trial, schedule=replace(trial.schedule, epochs=1, patience=0))
    backbone = task_backbone(task)
    begun = fresh_adapter(backbone, task.adapter, touched_items(trial.new), 0)
    fit_adapter(backbone, begun, trial)  # the first batch pays for warming up
    started = time.monotonic()
    fit_adapter(backbone, begun, trial)
    one = (time.monotonic() - started) / max(len(trial.new), 1)
    together = edit.epochs / max(1, min(workers, len(prepared.plan.touched)))
    return one * count * (edit.shared_epochs + together)
