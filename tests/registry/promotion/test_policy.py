"""Gates are pure: more asked never passes what less refused, and better facts never fail what worse ones passed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raie.registry import InvalidValue, canonical_json
from raie.registry.canonical import parse_json
from raie.registry.promotion.policy import Evaluation, Facts, Policy, gates, violations

CHANGES = st.floats(-1, 1, allow_nan=False)
PEOPLE = st.frozensets(st.sampled_from(["ada", "bob", "grace"]))
FLAGS = ("protected", "locality", "second_person", "require_signed", "override")
STRICTER = {
    "retention": lambda value, more: more if value is None else max(value, more),
    "adaptation": lambda value, more: more if value is None else max(value, more),
    "max_age_s": lambda value, more: (
        86_400.0 * (2 + more) if value is None else max(1.0, min(value, value + more))
    ),
    "adaptation_known": lambda value, more: more if value is None else max(value, more),
    "locality": lambda value, more: True,
    "second_person": lambda value, more: True,
    "require_signed": lambda value, more: True,
}


def policies() -> st.SearchStrategy[Policy]:
    numbers = {name: st.none() | CHANGES for name in ("retention", "adaptation", "adaptation_known")}
    ages = {"max_age_s": st.none() | st.floats(1, 1e9)}
    return st.builds(Policy, **numbers, **ages, **{name: st.booleans() for name in FLAGS})


def evaluations() -> st.SearchStrategy[Evaluation]:
    disturbed = st.none() | st.lists(st.sampled_from(["backbone", "region 3"]), max_size=2).map(tuple)
    numbers = st.none() | CHANGES
    return st.builds(Evaluation, st.just("edit 2"), st.floats(-1e5, 1e9), numbers, numbers, disturbed, numbers)


def some_facts() -> st.SearchStrategy[Facts]:
    return st.builds(
        Facts,
        st.just("a" * 64),
        st.just("production"),
        st.booleans(),
        st.none() | evaluations(),
        PEOPLE,
        PEOPLE,
        PEOPLE,
    )


def failed(policy: Policy, facts: Facts) -> set[str]:
    return {gate.name for gate in gates(policy, facts) if not gate.passed}


@given(policies(), some_facts(), st.sampled_from(sorted(STRICTER)), CHANGES)
def test_a_policy_that_asks_more_lets_nothing_more_through(
    policy: Policy, facts: Facts, name: str, more: float
) -> None:
    stricter = replace(policy, **{name: STRICTER[name](getattr(policy, name), more)})
    assert failed(policy, facts) <= failed(stricter, facts)


@given(policies(), some_facts(), CHANGES)
def test_better_facts_fail_no_gate_that_worse_ones_passed(policy: Policy, facts: Facts, more: float) -> None:
    seen = facts.evaluation
    if seen is not None:
        better = replace(
            seen,
            age_s=abs(seen.age_s) / 2,
            retention=None if seen.retention is None else seen.retention + abs(more),
            adaptation=None if seen.adaptation is None else seen.adaptation + abs(more),
            disturbed=None if seen.disturbed is None else (),
            adaptation_known=None if seen.adaptation_known is None else seen.adaptation_known + abs(more),
        )
        if seen.age_s >= 0:
            assert failed(policy, replace(facts, evaluation=better)) <= failed(policy, facts)
    more_people = replace(facts, approvers=facts.approvers | {"eve"}, signers=facts.signers | {"release"})
    assert failed(policy, more_people) <= failed(policy, facts)


@given(policies(), some_facts())
def test_each_gate_asks_what_the_policy_names_and_each_failure_is_one_line(policy: Policy, facts: Facts) -> None:
    found = gates(policy, facts)
    wanted = [policy.retention, policy.adaptation, policy.locality, policy.max_age_s]
    wanted += [policy.second_person, policy.require_signed, policy.adaptation_known]
    asked = sum(value is not None and value is not False for value in wanted)
    assert len(found) == (asked if policy.protected else 0)
    lines = violations(policy, facts)
    assert len(lines) == len(failed(policy, facts))
    for line in lines:
        assert "expected" in line
        assert "found" in line
        assert "\n" not in line


@given(policies(), some_facts())
def test_overriding_is_no_gate_and_makes_none_pass(policy: Policy, facts: Facts) -> None:
    assert gates(replace(policy, override=True), facts) == gates(replace(policy, override=False), facts)


@given(policies())
def test_a_policy_reads_back_as_it_was(policy: Policy) -> None:
    assert Policy.from_json(parse_json(canonical_json(policy.to_json()))) == policy


def test_a_policy_of_the_version_before_is_read_and_written_as_it_was() -> None:
    before = {"format": 1, "protected": True, "retention": -0.02, "adaptation": 0.0, "locality": True}
    before |= {"max_age_s": 60.0, "second_person": False, "require_signed": False, "override": False}
    policy = Policy.from_json(before)
    assert policy.adaptation_known is None
    assert policy.to_json() == before, "the audit holds the digest of these bytes"
    assert replace(policy, adaptation_known=0.5).to_json() == before | {"adaptation_known": 0.5}


@pytest.mark.parametrize("value", [{}, {"format": 1}, {"format": 2}, Policy().to_json() | {"quorum": 3}, [], None])
def test_a_policy_with_a_gate_that_this_raie_does_not_know_is_refused_and_not_passed_over(value: Any) -> None:
    with pytest.raises(InvalidValue, match="upgrade raie"):
        Policy.from_json(value)


@pytest.mark.parametrize(
    "fields",
    [
        {"retention": float("nan")},
        {"retention": -1.5},
        {"adaptation": "0"},
        {"adaptation": True},
        {"adaptation_known": 2.0},
        {"max_age_s": 0},
        {"max_age_s": float("inf")},
        {"locality": 1},
        {"require_signed": None},
    ],
)
def test_a_policy_that_can_never_be_meant_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        Policy(**fields)


SERVED = Facts("a" * 64, "production", True)
JUDGED = Evaluation("edit 2", 3 * 86_400.0, -0.022, 0.13, ())


@pytest.mark.parametrize(
    ("policy", "facts", "passes", "found"),
    [
        ({"retention": -0.03}, {"evaluation": JUDGED}, True, "-0.022 (edit 2)"),
        ({"retention": -0.022}, {"evaluation": JUDGED}, True, "-0.022"),
        ({"retention": -0.01}, {"evaluation": JUDGED}, False, "-0.022 (edit 2)"),
        ({"retention": -0.01}, {}, False, "no evaluation against what production serves"),
        ({"retention": -0.01}, {"replaces": False}, True, "nothing else that production serves"),
        ({"retention": -1.0}, {"evaluation": replace(JUDGED, retention=None)}, False, "no such window"),
        ({"adaptation": 0.1}, {"evaluation": JUDGED}, True, "+0.13"),
        ({"adaptation": 0.2}, {"evaluation": JUDGED}, False, "+0.13"),
        ({"adaptation_known": 0.1}, {"evaluation": replace(JUDGED, adaptation_known=0.13)}, True, "+0.13"),
        ({"adaptation_known": 0.2}, {"evaluation": replace(JUDGED, adaptation_known=0.13)}, False, "+0.13"),
        ({"adaptation_known": -1.0}, {"evaluation": JUDGED}, False, "no such window"),
        ({"locality": True}, {"evaluation": JUDGED}, True, "all of them"),
        ({"locality": True}, {"evaluation": replace(JUDGED, disturbed=("region 3",))}, False, "another region 3"),
        ({"locality": True}, {"evaluation": replace(JUDGED, disturbed=None)}, False, "no word"),
        ({"max_age_s": 7 * 86_400.0}, {"evaluation": JUDGED}, True, "3.0 days old"),
        ({"max_age_s": 86_400.0}, {"evaluation": JUDGED}, False, "3.0 days old"),
        ({"max_age_s": 86_400.0}, {"evaluation": replace(JUDGED, age_s=-60.0)}, True, "future"),
        ({"max_age_s": 86_400.0}, {"evaluation": replace(JUDGED, age_s=-86_400.0)}, False, "clocks"),
        ({"second_person": True}, {"authors": {"ada"}, "approvers": {"ada"}}, False, "approval by ada"),
        ({"second_person": True}, {"authors": {"ada"}, "approvers": {"ada", "bob"}}, True, "approval by bob"),
        ({"second_person": True}, {"authors": {"ada"}, "replaces": False}, False, "no approval"),
        ({"require_signed": True}, {}, False, "none"),
        ({"require_signed": True}, {"replaces": False}, False, "none"),
        ({"require_signed": True}, {"signers": {"release"}}, True, "one by release"),
    ],
)
def test_a_gate_says_what_it_expected_and_what_it_found(
    policy: dict[str, Any], facts: dict[str, Any], passes: bool, found: str
) -> None:
    values = {name: frozenset(value) if isinstance(value, set) else value for name, value in facts.items()}
    (gate,) = gates(Policy(**policy), replace(SERVED, **values))
    assert gate.passed == passes
    assert found in gate.line


def test_a_policy_that_was_lifted_asks_nothing() -> None:
    assert violations(Policy(protected=False, require_signed=True, retention=0.5), SERVED) == ()
