"""Never edit: the backbone as it was set up. It can read items that came later, and recommends none of them."""

from __future__ import annotations

from raie.engine.strategies.task_data import Learnt, Lesson, Score, State, Strategy
from raie.engine.training.train_adapter import adapter_scores

__all__ = ["NEVER"]


def _learn(state: State, lesson: Lesson) -> Learnt:
    return Learnt(state)


def _score(state: State, lesson: Lesson) -> Score:
    return adapter_scores(lesson.backbone, None)


NEVER = Strategy("never edit", "the first thing to beat", _learn, _score, differs="trains nothing")
