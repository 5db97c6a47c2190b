"""The strategies that are compared, each a few lines over the one training loop."""

from __future__ import annotations

from collections.abc import Mapping

from raie.engine.strategies.counting import MARKOV, POPULARITY
from raie.engine.strategies.e_bpr import E_BPR
from raie.engine.strategies.ease import EASE
from raie.engine.strategies.full import FULL, JOINT
from raie.engine.strategies.global_adapter import GLOBAL_LORA, REPLAY, WIDE_LORA
from raie.engine.strategies.item_knn import ITEM_KNN
from raie.engine.strategies.lsat import LSAT
from raie.engine.strategies.lwf import LWF
from raie.engine.strategies.mole import MOLE
from raie.engine.strategies.never import NEVER
from raie.engine.strategies.peso import PESO
from raie.engine.strategies.random_regions import RANDOM_REGIONS
from raie.engine.strategies.region_edits import RAIE
from raie.engine.strategies.tale import TALE
from raie.engine.strategies.task_data import LearnedState, Score, State, Strategy, TaskData, task_data_of
from raie.engine.strategies.with_counts import with_counts

__all__ = [
    "STRATEGIES",
    "LearnedState",
    "Score",
    "State",
    "Strategy",
    "TaskData",
    "strategy_named",
    "task_data_of",
]

_COUNTED = "+counts"

STRATEGIES: Mapping[str, Strategy] = {
    "raie": RAIE,
    "never": NEVER,
    "popularity": POPULARITY,
    "markov": MARKOV,
    "item-knn": ITEM_KNN,
    "ease": EASE,
    "tale": TALE,
    "full": FULL,
    "global-lora": GLOBAL_LORA,
    "wide-lora": WIDE_LORA,
    "replay": REPLAY,
    "lwf": LWF,
    "lsat": LSAT,
    "mole": MOLE,
    "e-bpr": E_BPR,
    "peso": PESO,
    "random-regions": RANDOM_REGIONS,
    "joint": JOINT,
}
"""Every strategy by the name it is asked for with."""


_COUNT_ALREADY = (RAIE, RANDOM_REGIONS, MARKOV, POPULARITY, ITEM_KNN, EASE, TALE)


def strategy_named(name: str) -> Strategy | None:
    """A strategy by its key, or one that trains with item transition counts beside it: "replay+counts".

    Args:
        name: the key.

    Returns:
        The strategy; None for an unknown key.
    """
    plain = STRATEGIES.get(name.removesuffix(_COUNTED))
    if plain is None or not name.endswith(_COUNTED):
        return plain
    return None if plain in _COUNT_ALREADY else with_counts(plain)
