"""What a region is about: items by lift, which few windows do not make large."""

from __future__ import annotations

import numpy as np
import pytest

from raie.snapshots.region_descriptions import PRIOR_WINDOWS, RegionDescription, lifts


def test_a_lift_is_how_many_times_as_often_as_expected_shrunk_towards_one() -> None:
    present = {0: np.array([0, 40, 10]), 1: np.array([0, 0, 10])}
    lift = lifts(present, {0: 50, 1: 50}, {0: 100, 1: 300})
    # Over all regions a quarter of 40 of 50 windows has item 1: 10 of 50 are expected.
    assert lift[0][1] == pytest.approx((40 + PRIOR_WINDOWS) / (10 + PRIOR_WINDOWS))
    assert lift[1][1] == pytest.approx(PRIOR_WINDOWS / (10 + PRIOR_WINDOWS))
    assert lift[0][2] == lift[1][2] == pytest.approx(1.0)
    assert lift[0][0] == 1.0


def test_an_item_of_few_windows_stands_out_less_than_one_of_many() -> None:
    present = {0: np.array([0, 3, 60]), 1: np.array([0, 0, 0])}
    lift = lifts(present, {0: 100, 1: 100}, {0: 1, 1: 1})
    assert 1 < lift[0][1] < lift[0][2] < 2


def test_growth_is_since_the_version_before() -> None:
    assert RegionDescription(0, 60, 0.5, (30, 40, 60)).growth == pytest.approx(0.5)
    assert RegionDescription(0, 60, 0.5, (60,)).growth is None
    assert RegionDescription(0, 60, 0.5, (0, 60)).growth is None
