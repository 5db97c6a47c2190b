"""Any strategy with item transition counts beside it, as RAIE has them.

What RAIE gains over this is what it gains by more than counting.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from raie.engine.bytes.stored_names import STORED
from raie.engine.data.windows import Windows
from raie.engine.strategies.task_data import LearnedState, Score, State, Strategy, TaskData
from raie.engine.training.transition_counts import TransitionCounts, transitions_of

__all__ = ["with_counts"]

COUNTS = STORED["strategy state"]["item transition counts"]


def with_counts(strategy: Strategy) -> Strategy:
    """The strategy, whose scores are multiplied by counts over all new and past windows (`transitions.py`).

    RAIE counts in the past windows that its regions keep; this counts in every one, which costs it nothing.

    Args:
        strategy: any.

    Returns:
        The strategy, named with "+ counts".
    """

    def learn(state: State, task_data: TaskData) -> LearnedState:
        learned = strategy.learn(_without(state), task_data)
        counted = transitions_of([task_data.new, task_data.past], task_data.config, task_data.items + 1)
        return learned if counted is None else learned._replace(state={**learned.state, COUNTS: counted})

    def score(state: State, task_data: TaskData) -> Score:
        plain = strategy.score(_without(state), task_data)
        if COUNTS not in state:
            return plain
        counted = TransitionCounts.from_bytes(state[COUNTS])

        def joined(windows: Windows) -> Tensor:
            return counted.joined(plain(windows), windows.items)

        return joined

    differs = "; ".join(filter(None, [strategy.differs, "item transition counts"]))
    return replace(strategy, name=f"{strategy.name} + counts", learn=learn, score=score, differs=differs)


def _without(state: State) -> State:
    return {name: data for name, data in state.items() if name != COUNTS}
