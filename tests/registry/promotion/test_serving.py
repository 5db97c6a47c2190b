"""Which snapshots a server may load: what a policy admitted, and what a shadow measured beside what a log says."""

from __future__ import annotations

from typing import Any

import pytest

from raie.registry import NotFound, Registry, Untrusted, trust
from tests.registry.building import MODEL
from tests.registry.promotion.test_admission import BAD, GOOD, Team


@pytest.fixture
def team(local_registry: Registry) -> Team:
    """A model with three edits; the first is in production, and its policy asks for retention."""
    made = Team(local_registry)
    made.setup()
    made.promote()
    made.ask(retention=-0.02)
    return made


def shadow(overlap: float) -> dict[str, Any]:
    changes = {"overlap@10": {"mean": overlap, "low": None, "high": None}}
    return {"version": 2, "shadow": {"windows": 100, "changes": changes}}


def servable(team: Team, snapshot: str) -> str:
    return trust.servable(team.registry, MODEL, snapshot).id


def test_without_a_protected_alias_every_snapshot_is_servable(local_registry: Registry) -> None:
    team = Team(local_registry)
    team.setup()
    refused = team.judged(1, BAD)
    assert servable(team, refused.id) == refused.id
    team.ask(retention=-0.02)
    with pytest.raises(Untrusted):
        servable(team, refused.id)
    team.ask(protected=False)
    assert servable(team, refused.id) == refused.id


def test_what_a_policy_refused_is_not_servable_and_the_line_says_which_why_and_what_is_served(team: Team) -> None:
    served = trust.served(team.registry, MODEL, "production").id
    refused = team.judged(1, BAD)
    team.refused(refused.id)
    with pytest.raises(Untrusted) as error:
        servable(team, refused.id)
    line = str(error.value)
    assert "\n" not in line
    for words in (
        refused.id[:12],
        "policy 1 of alias 'production'",
        f"serves {served[:12]}",
        "retention",
        "-0.05",
    ):
        assert words in line
    assert "raie mlflow sync" in line
    # An alias that nobody protects admits nothing in the name of one that is protected.
    team.promote(refused.id, "candidate")
    with pytest.raises(Untrusted):
        servable(team, refused.id)
    assert trust.served(team.registry, MODEL, "candidate").id == refused.id


def test_what_an_alias_points_to_or_pointed_to_under_its_policy_is_servable(team: Team) -> None:
    before = trust.served(team.registry, MODEL, "production").id
    assert servable(team, before) == before, (
        "the policy came after the promotion, and the alias still points there"
    )
    admitted = team.judged(1, GOOD)
    team.promote(admitted.id)
    later = team.judged(2, GOOD)
    team.promote(later.id)
    assert [servable(team, snapshot.id) for snapshot in (admitted, later)] == [admitted.id, later.id]
    with pytest.raises(Untrusted, match=f"serves {later.id[:12]}"):
        servable(team, before)


def test_a_follower_is_told_of_an_alias_that_is_not_there_and_no_other_name_is_one(team: Team) -> None:
    for name in ("staging", "head", trust.served(team.registry, MODEL, "production").id):
        with pytest.raises(NotFound, match="raie alias list"):
            trust.served(team.registry, MODEL, name)
    with pytest.raises(NotFound, match="raie setup"):
        trust.served(team.registry, "nobody's", "production")


def test_a_shadow_and_a_log_are_each_asked_by_their_newest_evaluation(team: Team) -> None:
    candidate = team.judged(1, GOOD).id
    team.ask(thresholds={"shadow:overlap@10": 0.5})
    (violation,) = team.refused(candidate)
    assert "shadow, overlap@10: expected overlap@10 of 0.5 or more, found no such comparison" in violation
    assert "raie serve --shadow candidate" in violation
    team.evaluate(candidate, "production", shadow(0.4))
    (violation,) = team.refused(candidate)
    assert "found 0.4 (evaluation 1)" in violation
    team.evaluate(candidate, "production", shadow(0.6))
    checks = trust.rehearse(team.registry, MODEL, candidate, "production").checks
    assert [(check.name, check.passed) for check in checks] == [("retention", True), ("shadow, overlap@10", True)]
    # The evaluation of a log that came before the shadow's still counts, and its age does too.
    team.ask(max_age_s=3600.0)
    assert trust.rehearse(team.registry, MODEL, candidate, "production").accepted
    assert team.promote(candidate).target == candidate
