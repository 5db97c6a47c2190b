"""Drift of a model's regions on real windows: what is compared, and how often it would be wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from raie.engine.edit.drift_report import drift_report, target_losses
from raie.engine.edit.pipeline import new_windows
from raie.engine.errors import NothingToEdit
from raie.engine.regions.region_map import assign
from tests.raie_engine.world import World


def test_a_target_costs_its_cross_entropy_and_an_unknown_one_a_blind_guess(world: World) -> None:
    router, windows = world.view.router, world.view.holdout.take(slice(0, 40))
    losses = target_losses(router, windows, router.assign(windows))
    states = router.model_scores(windows, router.assign(windows))
    expected = -states.log_softmax(dim=1)[torch.arange(40), torch.from_numpy(windows.target).long()]
    assert losses == pytest.approx(expected.numpy(), abs=1e-5)
    unknown = replace(windows, target=np.zeros_like(windows.target))
    assert target_losses(router, unknown, router.assign(windows)) == pytest.approx(
        math.log(len(router.backbone.item_table()) - 1)
    )
    assert router.scores(unknown)[:, 0].isneginf().all()


def test_the_report_compares_every_new_window_with_the_held_out_ones(world: World) -> None:
    windows = new_windows(world.view, world.interactions, world.ends[1])
    report = drift_report(world.view, windows)
    assert (report.before, report.now) == (len(world.view.validation) + len(world.view.holdout), len(windows))
    assert sum(region.windows for region in report.regions) == len(windows)
    assert sum(region.share_now for region in report.regions) == pytest.approx(1)
    assert report.false_positive_rate < 0.05
    assert set(report.drifted) <= set(world.view.region_map.ids.tolist())
    assert report == drift_report(world.view, windows)
    assert report == drift_report(world.view, windows, world.view.router.vectors(windows))


def test_windows_that_predict_as_they_did_are_no_drift_and_worse_ones_are(world: World) -> None:
    held = world.view.holdout
    same = drift_report(world.view, replace(held, user=held.user + 1000))
    assert same.drifted == ()
    generator = np.random.default_rng(0)
    strange = replace(held, target=generator.integers(1, world.view.backbone.known_items + 1, len(held)))
    drifted = drift_report(world.view, replace(strange, target=strange.target.astype(np.int32)), least_errors=2.0)
    rises = [region.loss.now - region.loss.before for region in drifted.regions]
    assert np.mean(rises) > 1
    assert any(region.loss.drifted for region in drifted.regions)


def test_a_region_that_few_new_windows_reach_is_left_alone_whatever_it_lost(world: World) -> None:
    few = world.view.holdout.take(slice(0, 3))
    assert drift_report(world.view, few).drifted == ()


def test_a_region_that_no_new_window_reached_is_listed_with_its_share_gone(world: World) -> None:
    windows, regions = (
        new_windows(world.view, world.interactions, world.ends[1]),
        world.view.region_map.ids.tolist(),
    )
    reached = assign(world.view.region_map, world.view.vectors(windows))
    left = windows.take(np.flatnonzero(reached != regions[0]))
    report = drift_report(world.view, left)
    assert [region.region for region in report.regions] == regions
    gone = report.regions[0]
    assert (gone.windows, gone.share_now, gone.edit) == (0, 0.0, False)
    assert gone.share_before > 0
    assert gone.loss.before > 0
    assert math.isnan(gone.loss.now)
    assert math.isnan(gone.centre_shift)
    assert max(report.regions, key=lambda region: region.loss.errors).windows > 0
    assert report == drift_report(world.view, left)


def test_without_new_windows_there_is_nothing_to_compare(world: World) -> None:
    with pytest.raises(NothingToEdit):
        new_windows(world.view, world.interactions, world.ends[0])
