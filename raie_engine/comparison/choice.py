"""Which strategy a user of this log should take: the best on what comes next, or a cheaper one that is level with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from raie.engine.evaluation.metrics import Difference

__all__ = ["CHOICE_METRIC", "Candidate", "Choice", "choose"]

CHOICE_METRIC = "NDCG@10"


@dataclass(frozen=True)
class Candidate:
    """score: prequential, in CHOICE_METRIC. seconds: of one core, for an edit. parameters: that are trained."""

    score: float
    seconds: float
    parameters: float


@dataclass(frozen=True)
class Choice:
    """chosen, best: names of strategies, often the same. line: the choice in one sentence, with its reason."""

    chosen: str
    best: str
    line: str


def choose(candidates: Mapping[str, Candidate], behind: Mapping[str, Difference], best: str) -> Choice:
    """The cheapest of the strategies that are not below the best one beyond chance.

    Args:
        candidates: by name.
        behind: by name the difference to the best one's score, with its 95 % interval.
        best: name of the one with the highest score.

    Returns:
        The choice. Without an interval nothing is level with the best.
    """
    level = [name for name, difference in behind.items() if name == best or difference.high >= 0]
    chosen = min(level, key=lambda name: (candidates[name].seconds, candidates[name].parameters, name != best))
    return Choice(chosen, best, _line(chosen, candidates[chosen], best, candidates[best]))


def _line(chosen: str, choice: Candidate, best: str, strongest: Candidate) -> str:
    score = f"{CHOICE_METRIC} {choice.score:.4f}"
    if chosen == best:
        return f"Take {chosen}: it recommends best what comes next on this log ({score}), and nothing cheaper is as good."
    return (
        f"Take {chosen}: on this log it is as good as the best one, {best} ({score} and {strongest.score:.4f}, no "
        f"difference beyond chance), and an edit takes {choice.seconds:.1f} instead of {strongest.seconds:.1f} seconds."
    )
