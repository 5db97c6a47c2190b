"""The best next items: the same as evaluation ranks them, and what is popular where nothing is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from raie.engine.data.windows import Windows, concatenate, last_windows
from raie.engine.errors import InputError
from raie.engine.evaluation.metrics import ranks
from raie.engine.model import LOG_COUNTS, MIXTURE, ModelView
from raie.engine.next_items import NOWHERE, best_items
from tests.raie_engine.world import StoredContent, World


@pytest.fixture(scope="module")
def unmixed(world: World) -> ModelView:
    """A snapshot without mixtures."""
    content = world.second.view.content
    assert isinstance(content, StoredContent)
    regions = {
        region: {role: digest for role, digest in entry.items() if role not in (MIXTURE, LOG_COUNTS)}
        for region, entry in content.regions.items()
    }
    return world.memory.view(replace(content, regions=regions))


def asked(world: World) -> Windows:
    """Windows of all ages, of which some want an item that the user had."""
    windows = concatenate([world.view.holdout, world.second.prepared.windows])
    again = world.view.holdout
    return concatenate([windows, replace(again, target=again.items[:, -1])])


@pytest.mark.parametrize("k", [1, 5, 20])
@pytest.mark.parametrize("mixed", [True, False])
def test_a_target_ranks_among_k_exactly_when_it_is_among_the_best_k(
    world: World, unmixed: ModelView, k: int, *, mixed: bool
) -> None:
    view, windows = world.second.view if mixed else unmixed, asked(world)
    best, regions = best_items(view, windows, k)
    listed = ranks(view.router.scores, windows, batch=64) <= k
    assert (best.rows == windows.target[:, None]).any(axis=1).tolist() == listed.tolist()
    assert 0 < listed.sum() < len(windows)
    assert regions.tolist() == view.router.assign(windows).tolist()
    had = (windows.items == windows.target[:, None]).any(axis=1)
    assert had.any()
    assert mixed or not listed[had].any(), "an item of the context may not be recommended"


def test_the_rank_of_a_target_is_its_place_among_the_best_items(world: World) -> None:
    view, windows = world.second.view, world.view.holdout
    best, _ = best_items(view, windows, len(view.catalogue.items))
    row, index = np.nonzero(best.rows == windows.target[:, None])
    assert (ranks(view.router.scores, windows)[row] == index + 1).all()


@pytest.mark.parametrize("seen", [None, True, False])
def test_an_empty_history_lies_nowhere_and_gets_what_is_popular_lately(world: World, *, seen: bool | None) -> None:
    view, length = world.second.view, world.view.holdout.items.shape[1]
    windows = concatenate([last_windows([[], [1, 2], []], length)])
    best, regions = best_items(view, windows, 6, seen)
    assert regions.tolist()[::2] == [NOWHERE, NOWHERE]
    assert regions[1] == view.router.assign(windows)[1]
    assert np.isfinite(best.scores).all()
    trend = view.mixtures[int(view.router.assign(windows)[0])].log.counts.trend
    assert best.rows[0].tolist() == best.rows[2].tolist() == np.argsort(-trend, kind="stable")[:6].tolist()
    alone, _ = best_items(view, windows.take(slice(1, 2)), 6, seen)
    assert (alone.rows[0] == best.rows[1]).all()
    assert (alone.scores[0] == best.scores[1]).all()


def test_without_a_mixture_an_empty_history_is_refused(world: World, unmixed: ModelView) -> None:
    length = world.view.holdout.items.shape[1]
    with pytest.raises(InputError, match="at least one item the model knows in history 1, found none"):
        best_items(unmixed, last_windows([[1], []], length), 3)
    with pytest.raises(InputError, match="k of 1 or more, found 0"):
        best_items(unmixed, last_windows([[1]], length), 0)
