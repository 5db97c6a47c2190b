"""An edit gains where the interval of NDCG@10 lies above zero on a part that it was not trained on."""

from __future__ import annotations

import pytest

from raie.engine.edit.gain import gains, why_not
from raie.engine.edit.impact import ImpactReport, Part
from raie.engine.evaluation.metrics import METRICS, Difference

CHANCE, RISE, FALL = Difference(0.01, -0.01, 0.03), Difference(0.02, 0.001, 0.04), Difference(-0.02, -0.04, -0.001)
UNKNOWN = Part(0, {}, {}, {})


def part(change: Difference) -> Part:
    """Recall rises beyond chance in every one of them: it does not decide."""
    changes = {metric: change if metric == "NDCG@10" else RISE for metric in METRICS}
    return Part(40, {"NDCG@10": 0.1}, {"NDCG@10": 0.1 + change.mean}, changes)


def report(adaptation: Part, retention: Part) -> ImpactReport:
    parts = {"adaptation": adaptation, "adaptation_known": part(RISE), "retention": retention}
    return ImpactReport({}, parts, (), (), True, (), 0, 0, 0, 0.0)


@pytest.mark.parametrize(
    ("adaptation", "retention", "gained"),
    [
        (part(RISE), part(CHANCE), True),
        (part(RISE), part(Difference(-0.01, -0.02, -0.001)), True),
        (part(RISE), part(FALL), False),
        (part(CHANCE), part(RISE), True),
        (part(CHANCE), part(CHANCE), False),
        (part(FALL), part(CHANCE), False),
        (UNKNOWN, part(CHANCE), False),
        (UNKNOWN, UNKNOWN, False),
    ],
)
def test_an_edit_gains_where_ndcg_rises_beyond_chance_and_less_is_lost(
    adaptation: Part, retention: Part, gained: bool
) -> None:
    assert gains(report(adaptation, retention)) is gained


def test_an_edit_that_gains_nothing_says_what_was_measured() -> None:
    assert why_not(report(part(CHANCE), UNKNOWN)) == (
        "expected a gain beyond chance, found NDCG@10 +0.0100 (95 % -0.0100 to +0.0300) on 40 new windows; "
        "NDCG@10 unknown on 0 setup windows"
    )
