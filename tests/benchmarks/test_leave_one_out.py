"""The split that the accuracy script measures with."""

from __future__ import annotations

from raie.engine.config import WindowConfig
from tests.benchmarks.leave_one_out import frequent, leave_one_out
from tests.raie_engine.data.test_windows import listed, log_of


def test_the_last_item_of_each_user_tests_the_one_before_validates_and_neither_trains() -> None:
    log = log_of(
        [(0, i, 10 * i) for i in range(1, 7)] + [(1, 2, 5), (1, 3, 15), (1, 4, 25)] + [(2, 1, 1), (2, 2, 2)]
    )
    parts = leave_one_out(log, WindowConfig(length=3, stride=2, min_length=1, context="slice", times=True))
    assert listed(parts.test) == [([3, 4, 5], 6, 0, 60), ([2, 3, 0], 4, 1, 25)]
    assert listed(parts.validation) == [([2, 3, 4], 5, 0, 50), ([2, 0, 0], 3, 1, 15)]
    assert listed(parts.train) == [([1, 2, 3], 4, 0, 40), ([1, 0, 0], 2, 2, 2)]
    assert parts.test.times is not None
    assert parts.test.times.tolist() == [[30, 40, 50], [5, 15, 0]]


def test_rare_items_are_left_out_and_the_others_keep_their_rows() -> None:
    log = log_of([(0, 1, 1), (0, 2, 2), (1, 2, 3), (1, 3, 4), (1, 3, 5)])
    assert frequent(log, 2).item.tolist() == [2, 2, 3, 3]
