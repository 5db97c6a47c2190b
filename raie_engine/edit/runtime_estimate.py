"""How long an edit will take: the training samples it will see times the time of one, measured here."""

from __future__ import annotations

import time
from dataclasses import replace

from raie.engine.edit.pipeline import PreparedEdit
from raie.engine.edit.training_tasks import own_epochs, trial_task
from raie.engine.model import ModelView
from raie.engine.training.adapter import fresh_adapter
from raie.engine.training.train_adapter import TrainTask, fit_adapter, one_thread, task_backbone, touched_items

__all__ = ["estimated_seconds"]

BATCHES = 4  # the first of an epoch passes its parts one after the other


def estimated_seconds(view: ModelView, prepared: PreparedEdit, workers: int) -> float:
    """Seconds the training will take at most, measured on a few batches; validation and upload come on top.

    Args:
        view: the snapshot.
        prepared: the edit, prepared.
        workers: processes.

    Returns:
        Seconds.
    """
    if not prepared.plan.touched:
        return 0.0
    edit, task = view.settings.engine.edit, trial_task(view, prepared)
    samples_seen = len(task.new) + len(task.replay)
    side_by_side = min(workers, len(prepared.plan.touched))
    # Only whether there is a shared adapter matters here: on top of one, less is trained.
    alone = replace(task, shared={} if edit.shared_epochs else None, schedule=replace(task.schedule, part=0))
    together = _seconds_per_window(task, edit.shared_epochs, workers)
    by_itself = _seconds_per_window(alone, own_epochs(edit, len(prepared.plan.touched)), 1)
    return samples_seen * (together + by_itself / side_by_side)


def _seconds_per_window(task: TrainTask, epochs: int, threads: int) -> float:
    """How long one window of the task takes to pass so many times, measured on its first batches."""
    few, none = slice(0, BATCHES * task.schedule.batch), task.validation.take(slice(0, 0))
    trial = replace(task, new=task.new.take(few), replay=none, validation=none, retained=none)
    trial = replace(trial, schedule=replace(trial.schedule, epochs=2, patience=0))
    if not epochs or not len(trial.new):
        return 0.0
    backbone = task_backbone(task)
    begun = fresh_adapter(backbone, task.adapter, touched_items(trial.new), 0)
    times = []
    with one_thread():
        fit_adapter(backbone, begun, trial, lambda epoch, score: times.append(time.monotonic()), threads)
    return epochs * (times[1] - times[0]) / len(trial.new)  # the first epoch pays for warming up
