"""RAIE itself: the edits that `raie edit apply` makes, on a snapshot that lives in memory."""

from __future__ import annotations

import numpy as np

from raie.engine.data.windows import Windows
from raie.engine.edit.named_blobs import named_blobs, view_of, with_parts
from raie.engine.edit.pipeline import PreparedEdit, finish_edit, prepare_edit
from raie.engine.edit.training_tasks import region_tasks, shared_task
from raie.engine.model import ModelView
from raie.engine.strategies.task_data import LearnedState, Score, State, Strategy, TaskData
from raie.engine.strategies.tuning import task_size
from raie.engine.training.train_adapter import TrainedRegion, train_regions

__all__ = ["RAIE"]

_NO_PARENT = "0" * 64


def _view(state: State, task_data: TaskData) -> ModelView:
    return view_of(state, task_data.base.backbone_file) if state else task_data.base


def _learn(state: State, task_data: TaskData) -> LearnedState:
    view = _view(state, task_data)
    prepared = prepare_edit(
        view,
        _NO_PARENT,
        task_data.interactions,
        task_data.until,
        seed=task_data.config.seed,
        next_region_id=max(view.content.regions) + 1,
    )
    results, parameters = _trained(view, prepared)
    finished = finish_edit(view, prepared, results)
    after = with_parts(state or named_blobs(view), finished.parts)
    touched = tuple(fact.region for fact in finished.facts)
    return LearnedState(after, sum(result.samples_seen for result in results), parameters, touched)


def _trained(view: ModelView, prepared: PreparedEdit) -> tuple[list[TrainedRegion], int]:
    """All trainings of the edit, the shared one first, and how many numbers they trained."""
    if not prepared.plan.touched:
        return [], 0
    together = [shared_task(view, prepared)] if view.settings.engine.edit.shared_epochs else []
    results = list(train_regions(together, 1))
    tasks = region_tasks(view, prepared, results[0].blobs if results else None)
    return results + list(train_regions(tasks, 1)), sum(map(task_size, together + tasks))


def _score(state: State, task_data: TaskData) -> Score:
    return _view(state, task_data).router.scores


def _regions(state: State, task_data: TaskData, windows: Windows) -> np.ndarray:
    return _view(state, task_data).router.assign(windows)


RAIE = Strategy(
    "RAIE",
    "arXiv 2603.00638",
    _learn,
    _score,
    replays=True,
    differs="trains what its plan touches; pending windows; counts of the log",
    regions=_regions,
    complete=True,
)
