"""Regions of the item space from a setup to an edit: rows lie where their windows lie, and what an edit leaves alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from raie.engine.config import REGION_PARTS, RegionConfig, WindowConfig
from raie.engine.data.interactions import between
from raie.engine.data.windows import evaluation_windows
from raie.engine.edit.pipeline import PreparedEdit
from raie.engine.edit.region_rows import route_rows
from raie.engine.edit.setup import set_up
from raie.engine.mixture.region_counts import NEAR, pack_regions
from raie.engine.model import REGION_COUNTS, ModelView, Settings
from raie.engine.regions.item_space import ItemSpace
from tests.raie_engine.world import Edited, Memory, World, edited, small_settings


def item_settings(parts: str = "all") -> Settings:
    settings = small_settings()
    engine = replace(
        settings.engine,
        windows=WindowConfig(length=10),
        regions=RegionConfig(space="items", regions=4),
        gate=replace(settings.engine.gate, min_windows=60, buffer=500),
        mixture=replace(settings.engine.mixture, parts=parts),
    )
    return replace(settings, engine=engine)


@pytest.fixture(scope="module")
def setup(world: World) -> tuple[Memory, ModelView]:
    memory = Memory()
    made = set_up(world.interactions, world.ends[0], item_settings(), backbone=world.view.backbone_bytes)
    return memory, memory.view(memory.content(made.parts))


@pytest.fixture(scope="module")
def edit(world: World, setup: tuple[Memory, ModelView]) -> Edited:
    memory, view = setup
    return edited(memory, view, world.interactions, world.ends[1])


def test_rows_lie_in_the_regions_of_their_windows(world: World, setup: tuple[Memory, ModelView]) -> None:
    _, view = setup
    config, rows = view.settings.engine, between(world.interactions, None, world.ends[1])
    assert isinstance(view.space, ItemSpace)
    items = view.log_counts.items  # type: ignore[union-attr]
    route = route_rows(view.space, view.region_map, config, items)
    assert route is not None
    routed = route(rows, world.ends[0])
    windows = evaluation_windows(rows, config.windows, after=world.ends[0])
    windows = windows.take(windows.target <= items)
    assert np.array_equal(routed.item, windows.target)
    assert np.array_equal(routed.region, view.router.assign(windows))
    newer = len(rows) - np.searchsorted(rows.timestamp, windows.timestamp, side="right")
    as_new = len(rows) - 1 - np.searchsorted(rows.timestamp, windows.timestamp, side="left")
    assert ((newer <= routed.age) & (routed.age <= as_new)).all()
    last = windows.items[np.arange(len(windows)), windows.length - 1]
    assert np.array_equal(routed.before[:, 0], np.where(last <= items, last, 0))
    assert routed.before.shape == (len(windows), NEAR.context)


def test_regions_of_states_and_mixtures_without_their_parts_count_nothing_by_themselves(
    world: World, setup: tuple[Memory, ModelView]
) -> None:
    _, view = setup
    plain = item_settings("model,last").engine
    assert route_rows(view.space, view.region_map, plain, 5) is None
    assert route_rows(world.view.space, world.view.region_map, world.view.settings.engine, 5) is None
    assert not any(REGION_COUNTS in entry for entry in world.second.view.content.regions.values())


def test_a_setup_counts_what_trains_and_the_newest_rows_but_those_that_measure_retention(
    world: World, setup: tuple[Memory, ModelView]
) -> None:
    _, view = setup
    past = between(world.interactions, None, world.ends[0])
    cut = max(int(view.replay(region).timestamp.max()) for region in view.content.regions)
    counted = past.of((past.timestamp <= cut) | (past.user % 2 == 0))
    first = np.isin(np.arange(len(counted)), np.unique(counted.user, return_index=True)[1])
    pairs = sum(float((view.region_counts(region).pairs).sum()) for region in view.content.regions)  # type: ignore[union-attr]
    items = sum(len(view.region_counts(region).item) for region in view.content.regions)  # type: ignore[union-attr]
    assert items >= len(np.unique(counted.item[~first]))
    assert pairs == pytest.approx(_pair_weight(counted), rel=1e-9)


def _pair_weight(rows) -> float:  # type: ignore[no-untyped-def]
    """The sum over rows of what the items before them count, one user after the other."""
    counts = np.bincount(rows.user)
    return float(sum(NEAR.fade ** (back) * max(n - 1 - back, 0) for n in counts for back in range(NEAR.context)))


def test_an_edit_counts_the_rows_of_the_regions_it_touches_and_leaves_the_others_their_bytes(
    setup: tuple[Memory, ModelView], edit: Edited
) -> None:
    before, after = setup[1].content.regions, edit.view.content.regions
    touched = {fact.region for fact in edit.finished.facts}
    untouched = set(before) - touched
    assert touched
    assert untouched
    for region in untouched:
        assert after[region] == before[region]
    total = edit.view.log_counts.rows  # type: ignore[union-attr]
    for region in touched:
        assert after[region][REGION_COUNTS] != before[region][REGION_COUNTS]
        assert edit.view.region_counts(region).rows == total  # type: ignore[union-attr]


def test_a_window_of_an_untouched_region_scores_the_same_bits_after_the_edit(
    world: World, setup: tuple[Memory, ModelView], edit: Edited
) -> None:
    before, after = setup[1].router, edit.view.router
    windows = world.view.holdout
    untouched = [*set(setup[1].content.regions) - {fact.region for fact in edit.finished.facts}]
    here = windows.take(np.isin(before.assign(windows), untouched) & np.isin(after.assign(windows), untouched))
    assert len(here) > 10
    old = before.scores(here)
    assert torch.equal(after.scores(here)[:, : old.shape[1]], old)


def test_region_parts_have_weights_and_a_prepared_edit_reads_back_as_it_was_written(edit: Edited) -> None:
    spoken = {part for mixture in edit.view.mixtures.values() for part in mixture.weights.spoken}
    assert set(REGION_PARTS) <= spoken
    data = edit.prepared.to_bytes()
    again = PreparedEdit.from_bytes(data)
    assert again.to_bytes() == data
    assert again.counts is not None
    assert edit.prepared.counts is not None
    assert again.counts.trained_regions.keys() == edit.prepared.counts.trained_regions.keys()
    assert pack_regions(again.counts.newest_regions) == pack_regions(edit.prepared.counts.newest_regions)
