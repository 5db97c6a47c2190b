"""The impact report of an edit, and routers compared on the same windows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from raie.engine.data.interactions import between
from raie.engine.data.windows import cut_windows
from raie.engine.edit import impact as impact_module
from raie.engine.edit.impact import compared, impact, knowing_rows_of
from raie.engine.evaluation.metrics import METRICS, Difference, mean_metrics, ranks
from raie.engine.model import ModelView
from raie.engine.router import Router
from raie.engine.training.train_adapter import SHARED
from tests.raie_engine.travelling import TravellingExecutor
from tests.raie_engine.world import Edited, World, small_settings


def asked_fairly(edit: Edited) -> Router:
    """The candidate with counts of the rows before the windows that validate, and no later ones."""
    assert edit.finished.mixed is not None
    router, measured = edit.view.router, edit.finished.mixed.measured
    assert {region: mixture.weights for region, mixture in measured.items()} == {
        region: router.mixtures[region].weights for region in measured
    }
    return replace(router, mixtures={**router.mixtures, **measured})


def test_the_impact_of_an_edit_is_measured_on_what_nobody_trained_on(world: World) -> None:
    first = world.first
    report = impact(world.view, first.view, first.prepared, first.finished, first.trained).to_mapping()
    plan = first.prepared.plan
    assert report["gate"]["update"] + report["gate"]["expand"] + report["gate"]["add"] == len(
        first.prepared.windows
    )
    assert report["retention"]["windows"] == len(world.view.holdout)
    assert report["retention"]["before"] == mean_metrics(ranks(world.view.router.scores, world.view.holdout))
    asked = asked_fairly(first)
    assert report["retention"]["after"] == mean_metrics(ranks(asked.scores, world.view.holdout))
    newest = first.prepared.windows.take(first.prepared.windows.timestamp > first.prepared.train_until)
    assert report["adaptation"]["after"] == mean_metrics(ranks(asked.scores, newest))
    with_the_answers = mean_metrics(ranks(first.view.router.scores, newest))
    assert report["adaptation"]["after"] != with_the_answers
    assert report["adaptation"]["before"] == mean_metrics(
        ranks(knowing_rows_of(world.view.router, first.view.router).scores, newest)
    )
    assert report["untouched"] == sorted(set(range(5)) - set(plan.touched))
    assert report["untouched_identical"] is True
    assert report["rejected"] == list(first.finished.rejected)
    assert {row["region"]: row["accepted"] for row in report["regions"]} == {
        region: region not in first.finished.rejected for region in plan.touched
    }
    assert report["passes"] == sum(result.samples_seen for result in first.trained.values())
    assert SHARED in first.trained
    assert report["waiting"] == len(first.view.buffer)


def test_windows_of_items_that_the_parent_does_not_know_do_not_count_as_a_gain_on_known_items(
    world: World,
) -> None:
    first, windows = world.first, world.first.prepared.windows
    parent = ModelView(world.view.content, world.view.get)
    items = int(np.median(windows.target))
    vars(parent)["catalogue"] = world.view.catalogue.first(users=len(world.view.catalogue.users), items=items)
    report = impact(parent, first.view, first.prepared, first.finished, first.trained)
    newest = windows.take(windows.timestamp > first.prepared.train_until)
    known = newest.take(newest.target <= items)
    assert 0 < len(known) < len(newest) == report.parts["adaptation"].windows
    before = knowing_rows_of(parent.router, first.view.router)
    assert report.parts["adaptation_known"] == compared(before, asked_fairly(first), known)


def test_an_older_router_reads_new_items_and_recommends_none(world: World) -> None:
    older = knowing_rows_of(world.view.router, world.first.view.router)
    windows = world.first.prepared.windows
    scores = older.scores(windows)
    known = world.view.backbone.known_items
    assert scores[:, known + 1 :].isneginf().all()
    kept = ~(windows.items > known).any(axis=1)
    assert torch.equal(scores[kept, : known + 1], world.view.router.scores(windows.take(kept)))


def test_routers_are_compared_on_the_same_windows(world: World) -> None:
    settings = small_settings().engine
    test = cut_windows(
        between(world.interactions, None, world.ends[3]),
        settings.windows,
        after=world.second.view.watermark.timestamp,
    )
    same = compared(world.view.router, world.view.router, world.view.holdout)
    assert same.before == same.after
    assert set(same.changes) == set(METRICS)
    assert set(same.changes.values()) == {Difference(0, 0, 0)}
    nothing = compared(world.view.router, world.view.router, test.take(slice(0, 0)))
    assert nothing.to_mapping() == {"windows": 0, "changes": {}}


def test_a_report_has_the_change_of_every_metric_and_the_keys_of_the_first_version(world: World) -> None:
    first = world.first
    report = impact(world.view, first.view, first.prepared, first.finished, first.trained)
    assert first.finished.mixed is not None
    assert report.mixture == first.finished.mixed.fitted.to_mapping()
    values = report.to_mapping()
    assert values["version"] == 2
    assert {"waiting", "passes"} <= set(values)
    assert {"passes"} <= set(values["regions"][0])
    for name, part in report.parts.items():
        stored = values[name]
        assert set(stored["changes"]) == set(METRICS)
        assert stored["Recall@10 change"] == stored["changes"]["Recall@10"]
        for metric, change in stored["changes"].items():
            assert change["mean"] == pytest.approx(part.after[metric] - part.before[metric], abs=1e-12)
            assert change["low"] <= change["mean"] <= change["high"]


def test_windows_scored_by_several_tasks_make_the_report_of_this_process(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = world.first
    edit = first.view, first.prepared, first.finished, first.trained
    here = impact(world.view, *edit)
    monkeypatch.setattr(impact_module, "SCORED", 32)
    executor = TravellingExecutor()
    assert impact(world.view, *edit, executor).to_mapping() == here.to_mapping()
    assert executor.ran.count(impact_module._ranked) > 2
