"""Gates are pure: more asked never passes what less refused, and better facts never fail what worse ones passed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raie.registry import InvalidValue, canonical_json
from raie.registry.canonical import parse_json
from raie.registry.promotion.impact_report import Change, ImpactReport, Part
from raie.registry.promotion.policy import Evaluation, Facts, Policy, Threshold, checks, violations

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


PARTS = ("retention", "adaptation", "adaptation_known")
NAMES = (("retention", "NDCG@10"), ("adaptation", "NDCG@10"), ("cold", "Recall@10"))


def measured(**means: float | None) -> ImpactReport:
    """A report with these changes of Recall@10, and half of them as changes of NDCG@10."""
    return ImpactReport(
        2,
        {
            part: Part(9, {}, {}, {"Recall@10": Change(mean), "NDCG@10": Change(mean / 2)})
            for part, mean in means.items()
            if mean is not None
        },
    )


def policies() -> st.SearchStrategy[Policy]:
    numbers = {name: st.none() | CHANGES for name in PARTS}
    ages = {"max_age_s": st.none() | st.floats(1, 1e9)}
    least = st.dictionaries(st.sampled_from(NAMES), CHANGES, max_size=2)
    thresholds = least.map(lambda asked: tuple(sorted(Threshold(*key, value) for key, value in asked.items())))
    flags = {name: st.booleans() for name in FLAGS}
    return st.builds(Policy, **numbers, **ages, **flags, thresholds=thresholds)


def evaluations() -> st.SearchStrategy[Evaluation]:
    disturbed = st.none() | st.lists(st.sampled_from(["backbone", "region 3"]), max_size=2).map(tuple)
    reports = st.builds(measured, **{part: st.none() | CHANGES for part in PARTS})
    return st.builds(Evaluation, st.just("edit 2"), st.floats(-1e5, 1e9), reports, disturbed)


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
    return {check.name for check in checks(policy, facts) if not check.passed}


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
            report=measured(
                **{part: known.changes["Recall@10"].mean + abs(more) for part, known in seen.report.parts.items()}
            ),
            disturbed=None if seen.disturbed is None else (),
        )
        if seen.age_s >= 0:
            assert failed(policy, replace(facts, evaluation=better)) <= failed(policy, facts)
    more_people = replace(facts, approvers=facts.approvers | {"eve"}, signers=facts.signers | {"release"})
    assert failed(policy, more_people) <= failed(policy, facts)


@given(policies(), some_facts())
def test_each_gate_asks_what_the_policy_names_and_each_failure_is_one_line(policy: Policy, facts: Facts) -> None:
    asked_checks = checks(policy, facts)
    wanted = [policy.retention, policy.adaptation, policy.locality, policy.max_age_s]
    wanted += [policy.second_person, policy.require_signed, policy.adaptation_known, *policy.thresholds]
    asked = sum(value is not None and value is not False for value in wanted)
    assert len(asked_checks) == (asked if policy.protected else 0)
    lines = violations(policy, facts)
    assert len(lines) == len(failed(policy, facts))
    for line in lines:
        assert "expected" in line
        assert "found" in line
        assert "\n" not in line


@given(policies(), some_facts())
def test_overriding_is_no_gate_and_makes_none_pass(policy: Policy, facts: Facts) -> None:
    assert checks(replace(policy, override=True), facts) == checks(replace(policy, override=False), facts)


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


def test_a_policy_keeps_the_metrics_that_a_change_does_not_name_and_drops_those_named_none() -> None:
    first = Policy().amended({"thresholds": {"retention:NDCG@10": -0.01, "adaptation:MRR": 0.0}})
    assert first.to_json()["thresholds"] == {"adaptation:MRR": 0.0, "retention:NDCG@10": -0.01}
    assert first.amended({"thresholds": {"retention:Recall@10": 0.5}}) == replace(first, retention=0.5)
    second = first.amended({"thresholds": {"adaptation:MRR": None}, "locality": True})
    assert second.thresholds == (Threshold("retention", "NDCG@10", -0.01),)
    assert "thresholds" not in second.amended({"thresholds": {"retention:NDCG@10": None}}).to_json()


@pytest.mark.parametrize("thresholds", [{"NDCG@10": 0.0}, {"retention:": 0.0}, {"retention:MRR": "much"}, [], "x"])
def test_a_change_of_a_metric_that_no_report_can_have_is_refused(thresholds: Any) -> None:
    with pytest.raises(InvalidValue):
        Policy().amended({"thresholds": thresholds})


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
        {"thresholds": (Threshold("retention", "NDCG@10", 0.0), Threshold("adaptation", "MRR", 0.0))},
        {"thresholds": (Threshold("retention", "MRR", 0.0), Threshold("retention", "MRR", 0.1))},
    ],
)
def test_a_policy_that_can_never_be_meant_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        Policy(**fields)


SERVED = Facts("a" * 64, "production", True)
EVALUATED = Evaluation("edit 2", 3 * 86_400.0, measured(retention=-0.022, adaptation=0.13), ())
KNOWN = measured(adaptation_known=0.13)
ADAPTED = replace(EVALUATED, report=measured(adaptation=0.13))


def least(name: str, value: float) -> dict[str, tuple[Threshold, ...]]:
    return {"thresholds": (Threshold.of(name, value),)}


@pytest.mark.parametrize(
    ("policy", "facts", "accepted", "actual"),
    [
        ({"retention": -0.03}, {"evaluation": EVALUATED}, True, "-0.022 (edit 2)"),
        ({"retention": -0.022}, {"evaluation": EVALUATED}, True, "-0.022"),
        ({"retention": -0.01}, {"evaluation": EVALUATED}, False, "-0.022 (edit 2)"),
        ({"retention": -0.01}, {}, False, "no evaluation against what production serves"),
        ({"retention": -0.01}, {"replaces": False}, True, "nothing else that production serves"),
        (
            {"retention": -1.0},
            {"evaluation": ADAPTED},
            False,
            "no such window",
        ),
        ({"adaptation": 0.1}, {"evaluation": EVALUATED}, True, "+0.13"),
        ({"adaptation": 0.2}, {"evaluation": EVALUATED}, False, "+0.13"),
        ({"adaptation_known": 0.1}, {"evaluation": replace(EVALUATED, report=KNOWN)}, True, "+0.13"),
        ({"adaptation_known": 0.2}, {"evaluation": replace(EVALUATED, report=KNOWN)}, False, "+0.13"),
        ({"adaptation_known": -1.0}, {"evaluation": EVALUATED}, False, "no such window"),
        (
            least("retention:NDCG@10", -0.011),
            {"evaluation": EVALUATED},
            True,
            "retention, NDCG@10: expected NDCG@10 to",
        ),
        (least("retention:NDCG@10", -0.01), {"evaluation": EVALUATED}, False, "-0.011 (edit 2)"),
        (least("retention:MRR", -1.0), {"evaluation": EVALUATED}, False, "found only NDCG@10, Recall@10 (edit 2)"),
        (least("cold:Recall@10", 0.0), {"evaluation": EVALUATED}, False, "no such window"),
        ({"locality": True}, {"evaluation": EVALUATED}, True, "all of them"),
        (
            {"locality": True},
            {"evaluation": replace(EVALUATED, disturbed=("region 3",))},
            False,
            "another region 3",
        ),
        ({"locality": True}, {"evaluation": replace(EVALUATED, disturbed=None)}, False, "no word"),
        ({"max_age_s": 7 * 86_400.0}, {"evaluation": EVALUATED}, True, "3.0 days old"),
        ({"max_age_s": 86_400.0}, {"evaluation": EVALUATED}, False, "3.0 days old"),
        ({"max_age_s": 86_400.0}, {"evaluation": replace(EVALUATED, age_s=-60.0)}, True, "future"),
        ({"max_age_s": 86_400.0}, {"evaluation": replace(EVALUATED, age_s=-86_400.0)}, False, "clocks"),
        ({"second_person": True}, {"authors": {"ada"}, "approvers": {"ada"}}, False, "approval by ada"),
        ({"second_person": True}, {"authors": {"ada"}, "approvers": {"ada", "bob"}}, True, "approval by bob"),
        ({"second_person": True}, {"authors": {"ada"}, "replaces": False}, False, "no approval"),
        ({"require_signed": True}, {}, False, "none"),
        ({"require_signed": True}, {"replaces": False}, False, "none"),
        ({"require_signed": True}, {"signers": {"release"}}, True, "one by release"),
    ],
)
def test_a_gate_says_what_it_expected_and_what_it_found(
    policy: dict[str, Any], facts: dict[str, Any], accepted: bool, actual: str
) -> None:
    values = {name: frozenset(value) if isinstance(value, set) else value for name, value in facts.items()}
    (check,) = checks(Policy(**policy), replace(SERVED, **values))
    assert check.passed == accepted
    assert actual in check.line


def test_a_policy_that_was_lifted_asks_nothing() -> None:
    assert violations(Policy(protected=False, require_signed=True, retention=0.5), SERVED) == ()
