"""Never edit: the backbone as it was set up. It can read items that came later, and recommends none of them."""

from __future__ import annotations

from raie_engine.region_training import adapter_scores
from raie_engine.strategies.lesson import Learnt, Lesson, Score, State, Strategy

__all__ = ["NEVER"]


def _learn(state: State, lesson: Lesson) -> Learnt:
    return Learnt(state)


def _score(state: State, lesson: Lesson) -> Score:
    return adapter_scores(lesson.backbone, None)


NEVER = Strategy("never edit", "the first thing to beat", _learn, _score, differs="trains nothing")
