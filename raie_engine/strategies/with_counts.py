"""Any strategy, with what followed what counted beside what it learnt, as RAIE counts it.

What RAIE gains over this is what it gains by more than counting.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from raie.engine.data.windows import Windows
from raie.engine.strategies.task_data import Learnt, Lesson, Score, State, Strategy
from raie.engine.training.transition_counts import Transitions, transitions_of

__all__ = ["with_counts"]

COUNTS = "what followed what"


def with_counts(strategy: Strategy) -> Strategy:
    """The strategy, whose scores are multiplied by counts over all new and past windows (`transitions.py`).

    RAIE counts in the past windows that its regions keep; this counts in every one, which costs it nothing.
    """

    def learn(state: State, lesson: Lesson) -> Learnt:
        learnt = strategy.learn(_without(state), lesson)
        counted = transitions_of([lesson.new, lesson.past], lesson.config, lesson.items + 1)
        return learnt if counted is None else learnt._replace(state={**learnt.state, COUNTS: counted})

    def score(state: State, lesson: Lesson) -> Score:
        plain = strategy.score(_without(state), lesson)
        if COUNTS not in state:
            return plain
        counted = Transitions.from_bytes(state[COUNTS])

        def joined(windows: Windows) -> Tensor:
            return counted.joined(plain(windows), windows.items)

        return joined

    differs = "; ".join(filter(None, [strategy.differs, "counts what followed what"]))
    return replace(strategy, name=f"{strategy.name} + counts", learn=learn, score=score, differs=differs)


def _without(state: State) -> State:
    return {name: data for name, data in state.items() if name != COUNTS}
