"""The strategies that are compared, each a few lines over the one training loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from raie.engine.strategies.counting import MARKOV, POPULARITY
from raie.engine.strategies.e_bpr import E_BPR
from raie.engine.strategies.ease import EASE
from raie.engine.strategies.full import FULL, JOINT
from raie.engine.strategies.global_adapter import GLOBAL_LORA, REPLAY, WIDE_LORA
from raie.engine.strategies.item_knn import ITEM_KNN
from raie.engine.strategies.lsat import LSAT
from raie.engine.strategies.lwf import LWF
from raie.engine.strategies.mixed import with_counts, with_repeats
from raie.engine.strategies.mole import MOLE
from raie.engine.strategies.never import NEVER
from raie.engine.strategies.peso import PESO
from raie.engine.strategies.random_regions import RANDOM_REGIONS
from raie.engine.strategies.region_edits import RAIE
from raie.engine.strategies.tale import TALE
from raie.engine.strategies.task_data import LearnedState, Score, State, Strategy, TaskData, task_data_of

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

_PLAIN: Mapping[str, Strategy] = {
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
    "random-regions": replace(with_counts(RANDOM_REGIONS), name=RANDOM_REGIONS.name),
    "joint": JOINT,
}

STRATEGIES: Mapping[str, Strategy] = {name: with_repeats(strategy) for name, strategy in _PLAIN.items()}
"""Every strategy by the name it is asked for with; each knows what repeats are worth."""


def strategy_named(name: str) -> Strategy | None:
    """A strategy by its key, or one that trains with counts of the log beside it: "replay+counts".

    Args:
        name: the key.

    Returns:
        The strategy; None for an unknown key.
    """
    if not name.endswith(_COUNTED):
        return STRATEGIES.get(name)
    plain = _PLAIN.get(name.removesuffix(_COUNTED))
    return None if plain is None or plain.complete or plain.counting else with_counts(plain)
