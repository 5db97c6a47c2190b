"""The description counts what is there and warns of what will go wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from raie.engine.config import WindowConfig
from raie.engine.data.catalogue import Catalogue
from raie.engine.data.describe import describe
from raie.engine.data.interactions import Interactions
from tests.raie_engine.world import sliding

T = 1_600_000_000


def log_of(user, item, time) -> Interactions:
    user, item, time = np.array(user, np.int32), np.array(item, np.int32), np.array(time, np.int64)
    users = tuple(f"u{row}" for row in range(int(user.max(initial=-1)) + 1))
    items = tuple(f"i{row}" for row in range(1, int(item.max(initial=0)) + 1))
    return Interactions(user, item, time, Catalogue(users, items))


def test_counts_of_a_small_log_by_slice():
    log = log_of([0, 1, 0, 0, 2, 2], [1, 1, 2, 3, 3, 4], [T, T, T + 10, T + 10, T + 20, T + 30])
    described = describe(log, sliding(length=2, stride=1, min_length=2), [T + 10])
    assert (described.rows, described.users, described.items, described.first, described.last) == (
        6,
        3,
        4,
        T,
        T + 30,
    )
    assert described.history["0"] == 1
    assert described.history["0.5"] == 2
    assert described.history["1"] == 3
    assert described.ties == pytest.approx(1 / 3)  # of three adjacent pairs of one user, one shares a second
    assert described.short_users == pytest.approx(2 / 3)
    first, second = described.slices
    assert (first.rows, first.users, first.items, first.windows) == (4, 2, 3, 1)
    assert (second.rows, second.new_users, second.new_items, second.new_item_share) == (2, 1, 1, 0.5)
    assert json.loads(json.dumps(described.to_mapping()))["slices"][1]["first"] == T + 20


def test_what_a_model_learns_is_counted_under_the_options():
    """Users with 1, 2, 4 and 14 interactions."""
    user = [0, *[1] * 2, *[2] * 4, *[3] * 14]
    log = log_of(user, [1] * 21, range(T, T + 21))
    learned = describe(log, WindowConfig(), []).learned
    assert (learned.length.length, learned.length.chosen_by) == (10, "histories")
    assert (learned.targets, learned.first_of_user, learned.single_users, learned.outside_windows) == (17, 4, 1, 0)
    assert learned.whole_history == 14  # but of the last three of 14
    slices = describe(log, WindowConfig(), [T + 6]).slices
    assert [(part.rows, part.targets, part.first_of_user) for part in slices] == [(7, 4, 3), (14, 13, 1)]
    short = describe(log, WindowConfig(length=12, min_length=3), []).learned
    assert (short.length.chosen_by, short.targets, short.whole_history, short.outside_windows) == (
        "option",
        12,
        11,
        5,
    )
    paper = describe(log, sliding(), []).learned
    assert (paper.context, paper.targets, paper.outside_windows) == ("slice", 5, 12)


def healthy() -> Interactions:
    rng = np.random.default_rng(0)
    order = np.repeat(np.arange(40), 600)
    return log_of(np.tile(np.arange(600), 40), rng.integers(1, 50, len(order)), T + order * 1000)


def test_a_healthy_log_gets_no_warning():
    assert describe(healthy(), WindowConfig(), [T + 20_000]).warnings == ()


WARNINGS = {
    "nothing": (log_of([], [], []), [], "the log is empty"),
    "one instant": (log_of([0, 0], [1, 2], [T, T]), [], "every row has the timestamp 2020-09-13T12:26:40Z"),
    "row numbers as time": (log_of([0, 0], [1, 2], [1, 2]), [], "the first timestamp is 1970-01-01T00:00:01Z"),
    "ties": (
        log_of([0, 0, 0], [1, 2, 3], [T, T, T + 1]),
        [],
        "50% of a user's adjacent interactions share a second",
    ),
    "few targets": (log_of([0, 1], [1, 2], [T, T + 1]), [], "slice 1 asks for 0 interactions"),
    "empty slice": (healthy(), [T + 10**8], "slice 2 is empty"),
    "new items": (log_of([0, 0], [1, 2], [T, T + 9]), [T + 1], "100% of slice 2's interactions are with 1 items"),
    "one loud user": (log_of([*range(11), *[0] * 9], [1] * 20, range(T, T + 20)), [], "one user has 50% of all"),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_what_will_go_wrong_is_said_beforehand(case):
    log, cuts, words = WARNINGS[case]
    assert any(words in warning for warning in describe(log, WindowConfig(), cuts).warnings)
