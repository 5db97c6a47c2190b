"""Never edit: the backbone as it was set up. It can read items that came later, and recommends none of them."""

from __future__ import annotations

from raie.engine.strategies.task_data import LearnedState, Score, State, Strategy, TaskData
from raie.engine.training.train_adapter import adapter_scores

__all__ = ["NEVER"]


def _learn(state: State, task_data: TaskData) -> LearnedState:
    return LearnedState(state)


def _score(state: State, task_data: TaskData) -> Score:
    return adapter_scores(task_data.backbone, None)


NEVER = Strategy("never edit", "the first thing to beat", _learn, _score, differs="trains nothing")
