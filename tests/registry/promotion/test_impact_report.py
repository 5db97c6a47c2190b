"""Both versions of the impact report are read as one value, and anything else is refused in one line."""

from __future__ import annotations

from typing import Any

import pytest

from raie.registry import InvalidValue
from raie.registry.promotion.impact_report import Change, Part, read_report

OLD = {
    "retention": {
        "windows": 273,
        "before": {"Recall@10": 0.7875},
        "after": {"Recall@10": 0.7912},
        "Recall@10 change": {"mean": 0.0037, "low": -0.0221, "high": 0.0294},
    },
    "adaptation": {"windows": 0},
    "untouched": [1, 2],
    "gate": {"update": 3, "expand": 1, "add": 0},
}


def test_a_report_without_a_version_is_read_by_its_old_keys() -> None:
    report = read_report(OLD)
    change = Change(0.0037, -0.0221, 0.0294)
    assert report.parts == {
        "retention": Part(273, {"Recall@10": 0.7875}, {"Recall@10": 0.7912}, {"Recall@10": change}),
        "adaptation": Part(0, {}, {}, {}),
    }
    assert (report.version, report.untouched) == (1, (1, 2))


def test_a_report_of_version_2_says_the_same_and_may_have_any_metric() -> None:
    changes = {"Recall@10": {"mean": 0.0037, "low": -0.0221, "high": 0.0294}, "NDCG@10": {"mean": -0.5}}
    report = read_report(OLD | {"version": 2, "retention": OLD["retention"] | {"changes": changes}})  # type: ignore[operator]
    assert report.change("retention", "Recall@10") == read_report(OLD).change("retention", "Recall@10")
    assert report.change("retention", "NDCG@10") == Change(-0.5)
    assert report.change("adaptation", "NDCG@10") is None


@pytest.mark.parametrize("mean", [None, "1", True, float("nan"), float("inf"), 10**400, [0.1]])
def test_what_is_no_number_was_not_measured_in_version_1_and_is_refused_in_version_2(mean: Any) -> None:
    old = {"retention": {"windows": 9, "Recall@10 change": {"mean": mean}}}
    assert read_report(old).change("retention", "Recall@10") is None
    with pytest.raises(InvalidValue, match="measure again"):
        read_report({"version": 2, "retention": {"windows": 9, "changes": {"Recall@10": {"mean": mean}}}})


@pytest.mark.parametrize(
    "value", [None, [], "{}", {"version": 3}, {"version": "2"}, {"version": None}, {"version": True}]
)
def test_anything_else_is_refused_in_one_line_that_says_what_to_do(value: Any) -> None:
    with pytest.raises(InvalidValue, match=r"Expected an impact report .* measure again$"):
        read_report(value)
