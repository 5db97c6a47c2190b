"""`raie diff` and `raie show`: two snapshots side by side, and one on its own."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from raie.registry import Author, Registry
from raie.workspace import Workspace
from tests.cli import history, trained
from tests.cli.conftest import Raie


def test_a_diff_lists_the_edits_of_each_side_and_what_undid_what(raie: Raie, workspace: Workspace) -> None:
    edits = raie("diff", "production", "head", "--json").json["edits"]
    assert [(edit["edit"], edit["only_in"], edit["undoes"]) for edit in edits] == [
        (6, "newer", [2]),
        (5, "newer", []),
        (3, "newer", []),
        (4, "older", []),
    ]
    shown = raie("diff", "production", "head").out
    assert "undid edit 2 · a week of bot traffic" in shown
    assert [line[:8] for line in shown.splitlines()[1:5]] == ["+ edit 6", "+ edit 5", "+ edit 3", "- edit 4"]
    assert "raise --limit" in raie("diff", "production", "head", "-n", "2").out


def test_a_diff_says_by_what_an_edit_between_was_undone(raie: Raie, registry: Registry) -> None:
    registry.rollback_edit(history.MODEL, 5, author=Author("ada", "and that"))
    edits = {edit["edit"]: edit for edit in raie("diff", "edit:3", "head", "--json").json["edits"]}
    assert (edits[5]["undone_by"], edits[7]["undoes"]) == (7, [5])
    assert "undone by edit 7" in raie("diff", "edit:3", "head").out


def test_a_diff_has_the_geometry_of_each_region_in_both_snapshots(raie: Raie, registry: Registry) -> None:
    base = registry.head(history.MODEL)
    assert base is not None
    begun = registry.begin(history.MODEL, "edit", seed=1, author=Author("ada"))
    turned = replace(history.change(0, "update", 10), centre=(0.6, 0.8), radius=0.25, count=1500)
    kept = {region: entry for region, entry in base.content.regions.items() if region != 3}
    content = replace(base.content, regions={**kept, 0: history.entry(registry, 0, "turned")})
    measured = {"before": {"Recall@10": 0.25}, "after": {"Recall@10": 0.5}, "adapter": "trained", "accepted": True}
    report = {"regions": [{"region": 0, **measured}]}
    gone = history.change(3, "retire", 0)
    registry.commit(history.MODEL, begun.number, content, [turned, gone], report)

    regions = {r["region"]: r for r in raie("diff", str(begun.number), "--json").json["regions"]}
    assert regions[0]["centre_shift"] == pytest.approx(math.acos(0.6))
    assert (regions[0]["older"]["radius"], regions[0]["newer"]["radius"]) == (0.5, 0.25)
    assert (regions[0]["older"]["share"], regions[0]["newer"]["share"]) == (0.25, 0.6)
    assert regions[0]["measured"] == measured
    assert (regions[3]["difference"], regions[3]["newer"], regions[3]["centre_shift"]) == ("removed", None, None)
    shown = raie("diff", str(begun.number)).out
    assert "53.1°  28.6° → 14.3°  500 → 1,500  25.0% → 60.0%  0.2500 → 0.5000" in shown
    assert "lora" not in shown[: shown.index("digests that differ")]


def test_a_report_of_another_client_does_not_stop_a_diff(raie: Raie, registry: Registry) -> None:
    base = registry.head(history.MODEL)
    assert base is not None
    for report in ({"regions": 3}, {"regions": [1, {"region": 0, "before": 1, "after": None}]}, {"adaptation": 1}):
        begun = registry.begin(history.MODEL, "edit", seed=1, author=Author("ada"))
        content = replace(
            base.content, regions={**base.content.regions, 0: history.entry(registry, 0, str(report))}
        )
        registry.commit(history.MODEL, begun.number, content, [history.change(0, "update", 10)], report)
        assert raie("diff", str(begun.number)).code == raie("show", str(begun.number)).code == 0


def test_a_snapshot_is_shown_with_who_why_what_it_changed_and_what_points_at_it(
    raie: Raie, workspace: Workspace
) -> None:
    shown = raie("show", "production", "--json").json
    assert (shown["made_by"]["edit"], shown["made_by"]["reason"]) == (4, "region 0 first")
    assert shown["aliases"] == ["production"]
    assert [(r["region"], r["version"]) for r in shown["regions"]] == [(0, 2), (1, 2), (2, 1)]
    assert [region["region"] for region in shown["changes"]["regions"]] == [0]
    assert raie("show", "edit:1", "--json").json["changes"] is None
    assert "undone by edit 6" in raie("show", "2").out
    assert "undid edit 2" in raie("show").out
    assert raie("show", "edit:2").out == raie("show", "2").out
    assert raie("show", "99").code == 1


def test_snapshots_are_shown_and_compared_without_the_store(raie: Raie, workspace: Workspace) -> None:
    shutil.rmtree(workspace.store.removeprefix("file://"))
    assert raie("show", "edit:2").code == raie("diff", "production", "head").code == 0


def test_edit_diff_leads_to_diff(raie: Raie, workspace: Workspace) -> None:
    assert raie("edit", "diff", "3").out == raie("diff", "3").out
    assert raie("edit", "diff", "production", "head").out == raie("diff", "4", "6").out


def test_what_only_belongs_to_users_is_refused_without_them(raie: Raie, workspace: Workspace) -> None:
    trained.refused(raie("diff", "production", "head", "--top", "3"), 2, ["--users LOG", "--top"])


def test_a_diff_shows_the_users_whose_lists_changed_most(raie: Raie, edited: Path) -> None:
    users = raie("diff", "edit:1", "head", "--users", trained.LOG, "--top", "2", "--json").json["users"]
    assert users["compared"] == trained.CONFIG.users
    assert sum(row["changed"] for row in users["by_region"]) == users["changed"] > 2
    first, second = users["examples"]
    assert first["replaced"] >= second["replaced"] > 0
    user = first["user"]
    for ref, side in (("edit:1", "older"), ("head", "newer")):
        (answer,) = raie("recommend", trained.LOG, "--user", user, "--ref", ref, "--json").json["recommendations"]
        assert [item["item"] for item in answer["items"]] == [item["item"] for item in first[side]]
        assert answer["region"] == first[f"{side}_region"]
    assert len({i["item"] for i in first["newer"]} - {i["item"] for i in first["older"]}) == first["replaced"]
    shown = raie("diff", "edit:1", "head", "--users", trained.LOG, "--top", "1").out
    assert f"{user}  region" in shown
    same = raie("diff", "head", "edit:2", "--users", trained.LOG, "--json").json["users"]
    assert (same["changed"], same["examples"]) == (0, [])
