"""Which strategy a comparison says to take: the cheapest of those that are level with the best."""

from __future__ import annotations

import pytest

from raie.engine.comparison.choice import Candidate, choose
from raie.engine.evaluation.metrics import Difference

NOTHING = Difference(0.0, 0.0, 0.0)
LEVEL, BELOW = Difference(-0.001, -0.003, 0.001), Difference(-0.010, -0.013, -0.008)
UNKNOWN = Difference(-0.001, float("nan"), float("nan"))
CANDIDATES = {
    "never": Candidate(0.100, 0.0, 0),
    "markov": Candidate(0.109, 0.4, 0),
    "EASE": Candidate(0.109, 2.0, 0),
    "RAIE": Candidate(0.110, 40.0, 9_000),
}


@pytest.mark.parametrize(
    ("behind", "chosen"),
    [
        ({"never": BELOW, "markov": LEVEL, "EASE": LEVEL}, "markov"),
        ({"never": BELOW, "markov": BELOW, "EASE": LEVEL}, "EASE"),
        ({"never": BELOW, "markov": BELOW, "EASE": BELOW}, "RAIE"),
        ({"never": BELOW, "markov": UNKNOWN, "EASE": BELOW}, "RAIE"),
    ],
)
def test_the_cheapest_that_is_level_with_the_best_is_taken(behind: dict[str, Difference], chosen: str) -> None:
    choice = choose(CANDIDATES, {**behind, "RAIE": NOTHING}, "RAIE")
    assert (choice.chosen, choice.best) == (chosen, "RAIE")
    assert choice.line.startswith(f"Take {chosen}: ")
    assert "\n" not in choice.line


def test_the_line_says_how_good_and_how_cheap_the_choice_is() -> None:
    choice = choose(CANDIDATES, {"never": BELOW, "markov": LEVEL, "EASE": LEVEL, "RAIE": NOTHING}, "RAIE")
    for part in ("RAIE", "0.1090 and 0.1100", "0.4 instead of 40.0 seconds"):
        assert part in choice.line


def test_of_equally_cheap_ones_the_smaller_is_taken_and_then_the_best() -> None:
    same = {"a": Candidate(0.1, 1.0, 50), "b": Candidate(0.1, 1.0, 10), "c": Candidate(0.1, 1.0, 10)}
    assert choose(same, dict.fromkeys(same, NOTHING), "c").chosen == "c"
