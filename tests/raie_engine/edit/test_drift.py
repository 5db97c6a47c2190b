"""Loss drift separates the regions that predict worse from those that only vary."""

from __future__ import annotations

import numpy as np
import pytest

from raie.engine.edit.drift import UNDETERMINED, loss_drift
from raie.engine.errors import InputError, NotFinite


def losses(mean: float, n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1.0, n)


def test_only_the_region_whose_loss_rose_has_drifted() -> None:
    before_region, now_region = np.repeat([3, 7], 400), np.repeat([3, 7], 300)
    before = np.concatenate([losses(4.0, 400, 0), losses(5.0, 400, 1)])
    now = np.concatenate([losses(4.0, 300, 2), losses(5.6, 300, 3)])
    stable, drifted = loss_drift(before_region, before, now_region, now)
    assert (stable.region, stable.drifted) == (3, False)
    assert (drifted.region, drifted.drifted) == (7, True)
    assert drifted.now - drifted.before == pytest.approx(0.6, abs=0.15)


def test_a_fall_of_the_loss_or_a_rise_of_fewer_errors_than_asked_is_no_drift() -> None:
    region = np.zeros(500, int)
    (fell,) = loss_drift(region, losses(5.0, 500, 0), region, losses(4.0, 500, 1))
    (asked,) = loss_drift(region, losses(5.0, 500, 0), region, losses(5.5, 500, 1), least_errors=50.0)
    assert [fell.drifted, asked.drifted] == [False] * 2


def test_a_region_without_older_windows_counts_as_drifted() -> None:
    (only,) = loss_drift(np.zeros(0, int), np.zeros(0), np.zeros(3, int), np.ones(3))
    assert only.drifted
    assert np.isnan(only.before)
    assert (only.now, only.errors) == (1.0, UNDETERMINED)


def test_a_region_without_new_windows_is_reported_where_it_is_asked_for_and_never_ranks_first() -> None:
    before, now = (np.repeat([3, 7], 200), np.ones(400)), (np.repeat(7, 200), losses(0.5, 200, 0))
    assert [region.region for region in loss_drift(*before, *now)] == [7]
    for regions in ([3, 7], [7, 3]):
        left, fell = sorted(loss_drift(*before, *now, regions=regions), key=lambda region: region.region)
        assert (left.region, left.before, left.drifted) == (3, 1.0, False)
        assert np.isnan(left.now)
        assert fell.errors < 0
        assert max(loss_drift(*before, *now, regions=regions), key=lambda region: region.errors) == fell


def test_losses_that_cannot_be_compared_are_refused() -> None:
    region = np.zeros(2, int)
    with pytest.raises(InputError, match="one loss per window"):
        loss_drift(region, np.ones(3), region, np.ones(2))
    with pytest.raises(NotFinite):
        loss_drift(region, np.array([1, np.nan]), region, np.ones(2))
