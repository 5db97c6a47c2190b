"""What MLflow gets is legal there, says what the event says, and is the same on every attempt."""

from __future__ import annotations

import html
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raie.registry.mlflow import payload as record
from raie.registry.mlflow.lineage_page import lineage_page

# Importing MLflow's validators warns of what a later Python will drop.
pytestmark = pytest.mark.filterwarnings("ignore")

names = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=200)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
reports = st.recursive(
    st.dictionaries(names, leaves, max_size=4), lambda inner: st.dictionaries(names, inner | leaves, max_size=3)
)


def payload(**parts: Any) -> dict[str, Any]:
    """The event of an edit that updated region 3 and added region 4, where region 0 stayed."""
    regions = {str(region): {"state": "a" * 64} for region in (0, 3, 4)}
    content = {"backbone": {}, "space": "b" * 64, "shared": {}, "regions": regions}
    return {
        "edit": {"number": 2, "kind": "edit", "base": "1" * 64, "seed": 7, "actor": "ada", "reason": "newer taste"}
        | {"data_digest": "d" * 64, "parameters": {}, "created_at": 1.79e9, "closed_at": 1.79e9 + 60},
        "snapshot": {"id": "2" * 64, "parent": "1" * 64, "content": content},
        "changes": [change(3, "update", 2), change(4, "add", 1)],
        "report": {},
    } | parts


def change(region: int, action: str, version: int | None) -> dict[str, Any]:
    geometry = {"centre_shift": 0.1, "radius": 0.5, "concentration": 20.0, "count": 900, "centre": [1.0]}
    return {"region": region, "action": action, "version": version, "windows": 120, "metrics": {}} | geometry


@given(names)
@settings(deadline=None)
def test_every_model_name_becomes_one_mlflow_accepts(name: str) -> None:
    from mlflow.utils.validation import _validate_logged_model_name, _validate_model_name

    _validate_model_name(record.legal_model_name(name))
    _validate_logged_model_name(record.adapter_name(name, 3, 2))
    _validate_logged_model_name(record.snapshot_name(name, "a" * 64))
    assert "'" not in record.legal_model_name(name)


@given(names)
@settings(deadline=None)
def test_every_alias_becomes_one_mlflow_accepts(name: str) -> None:
    from mlflow.utils import validation

    validation._validate_model_alias_name(record.legal_alias(name))
    validation._validate_model_alias_name_reserved(record.legal_alias(name))


@pytest.mark.parametrize("name", ["production", "candidate", "staging", "eu-west_2", "champion"])
def test_a_legal_name_stays_as_it_is(name: str) -> None:
    assert record.legal_alias(name) == name
    assert record.legal_model_name(name) == name


@given(st.lists(names | st.sampled_from(["v1", "V1", "latest", "LATEST", "a/b", "a:b", "a-b"]), unique=True))
def test_two_names_never_become_one(several: list[str]) -> None:
    assert len({record.legal_alias(name) for name in several}) == len(several)
    assert len({record.legal_model_name(name) for name in several}) == len(several)


@given(reports)
@settings(max_examples=60, deadline=None)
def test_every_number_of_a_report_becomes_a_metric_mlflow_accepts(report: dict[str, Any]) -> None:
    from mlflow.utils.validation import _validate_metric, _validate_param

    event = payload(report=report)
    event["edit"]["parameters"] = report
    for name, value in record.edit_metrics(event).items():
        _validate_metric(name, value, 0, 0)
    for name, text in record.edit_params(event).items():
        _validate_param(name, text)


def test_numbers_keep_the_path_they_have_in_the_report() -> None:
    report = {"before": {"recall@10": 0.14}, "after": {"recall@10": 0.15}, "note": "x", "accepted": True, "l": [1]}
    metrics = record.edit_metrics(payload(report=report))
    assert metrics == {
        "before/recall_10": 0.14,
        "after/recall_10": 0.15,
        "windows": 240.0,
        "regions": 3.0,
        "regions_changed": 2.0,
    }


def test_an_event_has_one_key_and_another_event_another() -> None:
    assert record.event_key(payload()) == record.event_key(payload())
    assert record.event_key(payload()) != record.event_key(payload(report={"x": 1}))
    assert record.adapter_key("m", 1, {"lora": "a", "state": "b"}) == record.adapter_key(
        "m", 1, {"state": "b", "lora": "a"}
    )
    assert record.adapter_key("m", 1, {"lora": "a"}) != record.adapter_key("m", 2, {"lora": "a"})


def test_the_end_of_the_audit_chain_is_anchored_where_the_event_tells_it() -> None:
    assert record.version_tags(payload(audit_head="f" * 64), "c" * 64)["raie.audit_head"] == "f" * 64
    assert "raie.audit_head" not in record.version_tags(payload(), "c" * 64)


def test_the_page_shows_what_changed_and_what_stayed() -> None:
    page = lineage_page("recsys", payload())
    assert "recsys · edit 2" in page
    assert '<div class="tile"><b>0</b>same</div>' in page
    for shown in ("<b>3</b>update", "<b>4</b>add", "v2", "5.73°", "111111111111", "222222222222", "newer taste"):
        assert shown in page


def test_a_retired_region_is_on_the_page_though_the_snapshot_has_it_no_more() -> None:
    page = lineage_page("recsys", payload(changes=[change(9, "retire", None)]))
    assert "<b>9</b>retire" in page
    assert "<td>–</td>" in page


def test_an_edit_that_changed_no_region_has_a_page_too() -> None:
    assert "No region changed." in lineage_page("recsys", payload(changes=[]))


@given(st.text(max_size=40))
def test_the_page_needs_nothing_but_itself_and_shows_text_as_text(text: str) -> None:
    event = payload()
    event["edit"] |= {"reason": text, "actor": text, "kind": text}
    page = lineage_page(f"<script>{text}", event)
    assert "<script" not in page
    assert not any(words in page.replace(text, "") for words in ("http:", "https:", "url(", "src=", "@import"))
    assert "unicode-bidi: isolate" in page, "a mark that turns the direction of text would turn its neighbours too"
    assert len(page) < 12_000


def test_text_that_looks_like_a_template_or_html_is_shown_as_it_is() -> None:
    event = payload()
    event["edit"] |= {
        "reason": "{{ 7 * 7 }} {% raw %} {# x",
        "actor": '<i title="a">ada</i>',
        "kind": "{{ model }}",
    }
    shown = html.unescape(lineage_page("{{ edit }} & co", event))
    assert "<i title" not in lineage_page("{{ edit }} & co", event)
    for text in (
        "{{ 7 * 7 }} {% raw %} {# x",
        'by <i title="a">ada</i>',
        "<b>{{ model }}</b>",
        "{{ edit }} & co · edit 2",
    ):
        assert text in shown
