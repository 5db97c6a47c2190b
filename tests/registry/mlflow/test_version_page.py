"""A version's page: all regions with their links, in as many characters as MLflow keeps."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from raie.registry.events.openlineage import DataRange
from raie.registry.mlflow.text import DESCRIPTION_LENGTH
from raie.registry.mlflow.version_page import PageLinks, version_description
from tests.registry.mlflow.test_payload import change, payload

LINKS = PageLinks("re sys", "7", "#/run", "#/parent")
MEASURED = {"Recall@10": 0.5, "NDCG@10": 0.25, "seconds": 3}


def in_mlflow(count: int) -> dict[str, dict[str, Any]]:
    """What a version's tags say of its regions: the first edit made all of them."""
    return {str(region): adapter(region) | {"since": 1, "in": "1"} for region in range(count)}


def adapter(region: int) -> dict[str, Any]:
    return {"version": 2, "model_id": f"m-{region:032x}", "run": f"{region:032x}", "edit": 1}


def test_the_page_has_every_region_with_its_version_the_run_that_made_it_and_since_which_edit() -> None:
    regions = {
        "0": adapter(0) | {"since": 1, "in": "1"},
        "3": adapter(3),
        "4": {"version": 1, "model_id": "m-old"},
    }
    text = version_description(payload(), LINKS, regions, None)
    rows = [line for line in text.splitlines() if re.match(r"\| \d", line)]
    end = "?workflowType=machine_learning)"
    assert rows == [
        f"| 3 | updated | [v2](#/experiments/7/models/m-{3:032x}{end} | [edit 1](#/experiments/7/runs/{3:032x}{end}"
        " | this edit |",
        f"| 4 | added | [v1](#/experiments/7/models/m-old{end} | – | this edit |",
        f"| 0 | unchanged | [v2](#/experiments/7/models/m-{0:032x}{end} | [edit 1](#/experiments/7/runs/{0:032x}{end}"
        " | [edit 1][] |",
    ]
    assert text.endswith("\n\n[edit 1]: #/models/re%20sys/versions/1?workflowType=machine_learning")


def test_above_the_regions_stand_parent_edit_data_and_metrics_before_and_after() -> None:
    report = {"adaptation": {"before": MEASURED, "after": MEASURED | {"Recall@10": 0.75}}, "holdout": MEASURED}
    text = version_description(payload(report=report), LINKS, {}, DataRange(1234, None, 0))
    assert "**Parent** [`111111111111`](#/parent)\n" in text
    assert "**Edit** [2, edit](#/run) by ada, 2026-09-21" in text
    assert "`dddddddddddd`, 1,234 rows from its beginning to 1970-01-01 00:00:00 UTC\n" in text
    assert "| Recall@10, new windows | 0.5000 | 0.7500 |\n" in text
    assert "| NDCG@10, held-out setup windows | – | 0.2500 |\n" in text
    assert "seconds" not in text
    without = version_description(payload(), PageLinks("m", "7", "#/run", None), {}, None)
    assert "**Parent** `111111111111`\n" in without
    assert "`dddddddddddd`, 240 windows\n" in without


def test_the_first_line_is_plain_text_that_says_what_the_edit_did() -> None:
    report = {"adaptation": {"before": MEASURED, "after": MEASURED | {"Recall@10": 0.75}}}
    changes = [change(region, "update", 2) for region in range(11)] + [change(40, "retire", None)]
    text = version_description(payload(changes=changes, report=report), LINKS, {}, None)
    assert text.splitlines()[0] == (
        "Edit 2: updated regions 0, 1, 2, 3, 4, 5, 6, 7 and 3 more; retired region 40; 3 regions in all. "
        "Recall@10 on new windows 0.500 → 0.750."
    )


def unescaped(text: str) -> str:
    """What of a markdown text is no character that a backslash escapes."""
    return re.sub(r"\\.", "", text)


@given(st.text(max_size=60))
@example("\\")
def test_no_text_of_a_user_makes_a_link_a_row_or_a_heading(text: str) -> None:
    event = payload(changes=[change(3, text, 2)])
    event["edit"] |= {"reason": text, "actor": text, "kind": text}
    forged = "[x](http://evil) | <b> [edit 1]: #/evil"
    plain = unescaped(version_description(payload(), LINKS, in_mlflow(5), None))
    for given_text in (event, payload() | {"edit": event["edit"] | dict.fromkeys(("reason", "actor"), forged)}):
        shown = unescaped(version_description(given_text, LINKS, in_mlflow(5), None))
        assert shown.count("](") == plain.count("](")
        assert len(re.findall(r"(?m)^\[", shown)) == 1
        assert "<" not in shown
        assert shown.count("|") == plain.count("|")


@pytest.mark.parametrize(("regions", "rows", "runs"), [(9, 9, 9), (30, 30, 0), (512, 31, 0)])
def test_many_regions_lose_their_links_to_runs_and_then_rows_and_the_page_names_the_command_that_lists_them(
    regions: int, rows: int, runs: int
) -> None:
    event = payload(changes=[change(500, "update", 2)] if regions > 500 else [])
    event["snapshot"]["content"]["regions"] = {str(region): {"state": "a" * 64} for region in range(regions)}
    text = version_description(event, LINKS, in_mlflow(regions), None)
    assert len(text) <= DESCRIPTION_LENGTH
    shown = [line for line in text.splitlines() if re.match(r"\| \d", line)]
    assert len(shown) == rows
    assert sum("/runs/" in line for line in shown) == runs
    assert all("/models/m-" in line for line in shown)
    more = f"and {regions - rows} more regions for which this page has no room: `raie regions list 222222222222`"
    assert (more in text) == (regions > rows)
    if regions > 500:
        assert shown[0].startswith("| 500 | updated |"), "what the edit changed stands first"
