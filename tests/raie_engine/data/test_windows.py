"""Windows of a few users written out by hand, and what is true of the windows of any log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from raie.engine.config import WindowConfig
from raie.engine.data.catalogue import Catalogue
from raie.engine.data.interactions import Interactions, between, cut_time, read_log
from raie.engine.data.windows import (
    Windows,
    concatenate,
    cut_windows,
    evaluation_windows,
    last_windows,
    uncut_evaluation_windows,
    uncut_windows,
)
from raie.engine.errors import DamagedArtifact, InputError
from tests.raie_engine.world import sliding

ML_1M = Path(__file__).resolve().parents[4] / "shared" / "data" / "ml-1m" / "ratings.dat"


def log_of(rows: list[tuple[int, int, int]]) -> Interactions:
    """An Interactions of (user row, item row, timestamp)."""
    user, item, time = (np.array(column) for column in zip(*rows, strict=True))
    order = np.argsort(time, kind="stable")
    users = tuple(f"u{row}" for row in range(user.max() + 1))
    items = tuple(f"i{row}" for row in range(1, item.max() + 1))
    return Interactions(
        user[order].astype(np.int32),
        item[order].astype(np.int32),
        time[order].astype(np.int64),
        Catalogue(users, items),
    )


# Two users, interleaved in time: user 0 takes items 1 to 7 at 10, 20 .. 70, user 1 items 3, 2, 1 at 15, 25, 35.
TWELVE = log_of([(0, i, 10 * i) for i in range(1, 8)] + [(1, 4 - i, 10 * i + 5) for i in range(1, 4)])


def listed(windows: Windows) -> list[tuple[list[int], int, int, int]]:
    columns = (windows.items.tolist(), windows.target.tolist(), windows.user.tolist(), windows.timestamp.tolist())
    return list(zip(*columns, strict=True))


def test_full_windows_start_every_stride_items_and_never_cross_users():
    assert listed(cut_windows(TWELVE, sliding(length=3, stride=2, min_length=3))) == [
        ([1, 2, 3], 4, 0, 40),
        ([3, 4, 5], 6, 0, 60),
    ]


def test_the_end_of_a_history_gives_one_shorter_window_padded_on_the_right():
    windows = cut_windows(TWELVE, sliding(length=3, stride=2, min_length=1))
    assert listed(windows) == [
        ([1, 2, 3], 4, 0, 40),
        ([3, 4, 5], 6, 0, 60),
        ([5, 6, 0], 7, 0, 70),
        ([3, 2, 0], 1, 1, 35),
    ]
    assert windows.length.tolist() == [3, 3, 2, 2]


def test_slice_context_is_cut_inside_the_new_rows_and_overlap_context_reaches_back():
    config = sliding(length=3, stride=1, min_length=3)
    after = 40
    assert listed(cut_windows(TWELVE, config, after=after)) == []
    reaching = sliding(length=3, stride=1, min_length=3, context="overlap")
    assert listed(cut_windows(TWELVE, reaching, after=after)) == [
        ([2, 3, 4], 5, 0, 50),
        ([3, 4, 5], 6, 0, 60),
        ([4, 5, 6], 7, 0, 70),
    ]


def test_ties_in_time_keep_the_order_of_the_file():
    log = log_of([(0, 5, 1), (0, 2, 1), (0, 9, 1), (0, 4, 1)])
    assert listed(cut_windows(log, sliding(length=3, stride=1, min_length=3))) == [([5, 2, 9], 4, 0, 1)]


def test_a_log_without_rows_gives_no_windows_of_the_right_shape():
    windows = cut_windows(between(TWELVE, 100, None), sliding())
    assert windows.items.shape == (0, 10)
    assert windows.timestamp.dtype == np.int64


LOGS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 9), st.integers(0, 40)), min_size=1, max_size=80
).map(log_of)  # fmt: skip
CONFIGS = st.builds(
    lambda length, stride, short, *more: sliding(length, stride, max(1, length - short), *more),
    st.integers(1, 6), st.integers(1, 7), st.integers(0, 6), st.sampled_from(["slice", "overlap"]), st.booleans(),
)  # fmt: skip


def by_hand(log: Interactions, config: WindowConfig) -> list[tuple[list[int], int, int, int]]:
    """The definition, one user and one window at a time."""
    expected = []
    for user in range(len(log.catalogue.users)):
        rows = np.flatnonzero(log.user == user)
        reached = 0
        for start in range(0, len(rows), config.stride):
            stop = min(start + config.length, len(rows) - 1)
            if stop - start < config.min_length or stop <= reached:
                continue
            context = log.item[rows[start:stop]].tolist()
            padded = context + [0] * (config.length - len(context))
            expected.append((padded, int(log.item[rows[stop]]), user, int(log.timestamp[rows[stop]])))
            reached = stop
    return expected


@settings(max_examples=200, deadline=None)
@given(log=LOGS, config=CONFIGS)
def test_the_vectorised_cut_equals_the_definition(log, config):
    windows = cut_windows(log, config)
    assert listed(windows) == by_hand(log, config)
    assert windows.items.dtype == windows.target.dtype == windows.user.dtype == np.int32
    assert (windows.items > 0).sum(axis=1).tolist() == windows.length.tolist()
    assert ((windows.items > 0)[:, 1:] <= (windows.items > 0)[:, :-1]).all()  # left-justified
    same_user = windows.user[1:] == windows.user[:-1]
    assert (np.diff(windows.timestamp)[same_user] >= 0).all()


@settings(max_examples=100, deadline=None)
@given(log=LOGS, config=CONFIGS, at=st.integers(-1, 41))
def test_only_new_targets_come_after_the_watermark(log, config, at):
    windows = cut_windows(log, config, after=at)
    assert (windows.timestamp > at).all()
    if config.context == "slice":
        assert listed(windows) == listed(cut_windows(between(log, at, None), config))
    else:
        assert listed(windows) == [row for row in listed(cut_windows(log, config)) if row[3] > at]


@settings(max_examples=50, deadline=None)
@given(log=LOGS, config=CONFIGS)
def test_windows_survive_bytes_and_being_split(log, config):
    windows = cut_windows(log, config)
    back = Windows.from_bytes(windows.to_bytes())
    assert listed(back) == listed(windows)
    assert back.digest == windows.digest
    half = len(windows) // 2
    parts = [windows.take(slice(0, half)), windows.take(np.arange(half, len(windows)))]
    assert concatenate(parts).digest == windows.digest
    assert (windows.times is not None) == config.times


def test_windows_cut_with_times_hold_the_time_of_each_item_and_are_otherwise_the_same():
    config = sliding(length=3, stride=2, min_length=1)
    bare, timed = cut_windows(TWELVE, config), cut_windows(TWELVE, replace(config, times=True))
    assert listed(timed) == listed(bare)
    assert bare.times is None
    assert timed.times.tolist() == [[10, 20, 30], [30, 40, 50], [50, 60, 0], [15, 25, 0]]
    assert timed.digest != bare.digest


def test_windows_without_times_keep_the_bytes_of_earlier_versions():
    """Snapshots of the first version hold such windows, and edit plans their digests."""
    windows = cut_windows(TWELVE, sliding(length=3, stride=2, min_length=1))
    assert windows.digest == "e199467be52482e4c2603d7ca764122c29a4edb892e8814663c94516d125c3ad"
    assert Windows.from_bytes(windows.to_bytes()).times is None


def test_items_that_nobody_knows_are_passed_over_with_their_times():
    windows = cut_windows(TWELVE, sliding(length=4, stride=3, min_length=1, times=True))
    assert listed(windows)[:2] == [([1, 2, 3, 4], 5, 0, 50), ([4, 5, 6, 0], 7, 0, 70)]
    known = windows.without_items_above(5)
    assert listed(known)[:2] == [([1, 2, 3, 4], 5, 0, 50), ([4, 5, 0, 0], 0, 0, 70)]
    assert known.times[:2].tolist() == [[10, 20, 30, 40], [40, 50, 0, 0]]
    assert listed(replace(windows, times=None).without_items_above(5)) == listed(known)
    # The last item of a context, and one in its middle.
    middle = replace(windows, items=np.array([[9, 1, 8, 2]], np.int32), times=np.array([[1, 2, 3, 4]])).take([0])
    assert middle.without_items_above(5).items.tolist() == [[1, 2, 0, 0]]
    assert middle.without_items_above(5).times.tolist() == [[2, 4, 0, 0]]


def test_the_last_items_of_a_history_are_a_context_without_a_target():
    windows = last_windows([[1, 2, 3, 4], [5]], 3, [[10, 20, 30, 40], [50]])
    assert windows.items.tolist() == [[2, 3, 4], [5, 0, 0]]
    assert windows.times.tolist() == [[20, 30, 40], [50, 0, 0]]
    assert windows.target.tolist() == [0, 0]
    assert last_windows([], 3).items.shape == (0, 3)
    assert last_windows([[1]], 3).times is None


def test_bytes_that_hold_no_windows_and_parts_that_do_not_fit_are_refused():
    with pytest.raises(DamagedArtifact, match="expected windows"):
        Windows.from_bytes(b"not safetensors")
    parts = [cut_windows(TWELVE, sliding(length, 1, 1)) for length in (2, 3)]
    with pytest.raises(InputError, match=r"lengths \[2, 3\]"):
        concatenate(parts)
    mixed = [cut_windows(TWELVE, sliding(2, 1, 1, times=times)) for times in (False, True)]
    with pytest.raises(InputError, match="all hold times, or none"):
        concatenate(mixed)
    arrays = safetensors.numpy.load(mixed[1].to_bytes())
    del arrays["user"]
    with pytest.raises(DamagedArtifact, match="expected windows"):
        Windows.from_bytes(safetensors.numpy.save(arrays))


@pytest.mark.skipif(not ML_1M.is_file(), reason="MovieLens-1M is not beside this repository (shared/data/ml-1m)")
def test_movielens_1m_gives_the_windows_of_the_reference():
    log = read_log(ML_1M, min_rating=4)
    first, second = cut_time(log, "0.5"), cut_time(log, "0.8")
    slices = [(None, first), (first, second), (second, None)]
    assert [len(cut_windows(between(log, *edges), sliding())) for edges in slices] == [52437, 30842, 20366]
    assert [len(np.unique(between(log, *edges).user)) for edges in slices] == [3218, 2404, 1785]


@settings(max_examples=60, deadline=None)
@given(log=LOGS, length=st.integers(1, 6), after=st.none() | st.integers(-1, 41), data=st.data())
def test_windows_taken_before_they_are_cut_are_those_taken_after(log, length, after, data):
    config = WindowConfig(length=length, times=True, context=data.draw(st.sampled_from(["history", "overlap"])))
    last_item = data.draw(st.none() | st.integers(1, 5)) if config.context == "history" else None
    for uncut, whole in (
        (uncut_windows(log, config, after=after), cut_windows(log, config, after=after)),
        (
            uncut_evaluation_windows(log, config, after=after, last_item=last_item),
            evaluation_windows(log, config, after=after, last_item=last_item),
        ),
    ):
        rows = np.flatnonzero(data.draw(st.lists(st.booleans(), min_size=len(whole), max_size=len(whole))))
        assert len(uncut) == len(whole)
        np.testing.assert_array_equal(uncut.user, whole.user)
        np.testing.assert_array_equal(uncut.length, whole.length)
        assert uncut.take(rows).cut().digest == whole.take(rows).digest
