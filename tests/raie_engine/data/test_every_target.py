"""Every interaction with a history is a target once, however the log is cut into edits."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raie.engine.config import EditConfig, WindowConfig
from raie.engine.data.catalogue import Catalogue
from raie.engine.data.interactions import Interactions, between, watermark
from raie.engine.data.sampling import edit_windows, next_watermark, setup_windows
from raie.engine.data.window_length import choose_length, earlier_items
from raie.engine.data.windows import (
    Windows,
    concatenate,
    cut_windows,
    evaluation_windows,
    histories_of,
    last_windows,
)
from raie.engine.errors import ConfigError, DamagedArtifact, InputError


def log_of(rows: list[tuple[int, int]]) -> Interactions:
    """Of (user row, timestamp); the item of a row is its place in time, from 1 on, so each item says which row it is."""
    ordered = sorted(rows, key=lambda row: row[1])
    user, time = (np.array([row[at] for row in ordered]) for at in (0, 1))
    count = len(ordered)
    return Interactions(
        user.astype(np.int32),
        np.arange(1, count + 1, dtype=np.int32),
        time.astype(np.int64),
        Catalogue(tuple(f"u{row}" for row in range(6)), tuple(f"i{row}" for row in range(1, count + 1))),
    )


LOGS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 40)), min_size=1, max_size=80).map(log_of)
CONFIGS = st.tuples(st.integers(1, 8), st.integers(1, 8), st.integers(1, 8), st.booleans()).map(
    lambda sizes: WindowConfig(sizes[0], min(sizes[:2]), min(sizes[0], sizes[2]), times=sizes[3])
)
CUTS = st.lists(st.integers(-1, 41), max_size=5)


def targets_of(windows: Windows) -> list[int]:
    """The items that are targets, each as often as it is one."""
    targets = []
    for items, target, count in zip(windows.items, windows.target, windows.targets, strict=True):
        whole = [*items[items > 0].tolist(), int(target)]
        targets += whole[len(whole) - count :]
    return targets


def before_of(log: Interactions, item: int) -> list[int]:
    """All items of its user before an item, oldest first."""
    row = item - 1
    return log.item[:row][log.user[:row] == log.user[row]].tolist()


def eligible(log: Interactions, least: int) -> list[int]:
    return [item for item in log.item.tolist() if len(before_of(log, item)) >= least]


@settings(max_examples=200, deadline=None)
@given(log=LOGS, config=CONFIGS, cuts=CUTS)
def test_over_any_edits_every_interaction_with_a_history_is_a_target_once(log, config, cuts):
    ends = [None, *sorted(cuts), None]
    parts = [cut_windows(between(log, None, stop), config, after=start) for start, stop in pairwise(ends)]
    assert sorted(targets_of(concatenate(parts))) == eligible(log, config.min_length)
    for (start, stop), part in zip(pairwise(ends), parts, strict=True):
        assert all(start is None or time > start for time in log.timestamp[np.array(targets_of(part), int) - 1])
        assert all(stop is None or time <= stop for time in part.timestamp)


@settings(max_examples=150, deadline=None)
@given(log=LOGS, config=CONFIGS, cuts=CUTS, share=st.sampled_from([0.1, 0.5]), most=st.sampled_from([0, 3]))
def test_what_validated_in_one_edit_is_trained_on_in_the_next(log, config, cuts, share, most):
    first, *later = [*sorted({*cuts, 20}), 41]
    past, edit = between(log, None, first), EditConfig(holdout=share, max_validation=most)
    if not len(past):
        return
    split, mark = setup_windows(past, config, edit, 0), watermark(log, first)
    trained = targets_of(split.train)
    held_out = split.validation.target.tolist() + split.holdout.target.tolist()
    edits = []
    for until in later:
        cut = edit_windows(between(log, None, until), config, edit, mark, 0)
        if cut is not None:
            assert most == 0 or len(cut.validation) <= most
            assert len(cut.train) + len(cut.validation) == len(cut.windows)
            trained += targets_of(cut.train)
            assert set(cut.validation.target.tolist()).isdisjoint(trained)
            edits.append(cut)
            mark = next_watermark(log, until, cut, config)
    end = max(int(time) for time in [*split.train.timestamp, *(cut.train_until for cut in edits)] or [0])
    wanted = eligible(log, config.min_length)
    tail = [
        item for item in wanted if int(split.train.timestamp.max(initial=-1)) < log.timestamp[item - 1] <= first
    ]
    expected = [item for item in wanted if log.timestamp[item - 1] <= end and item not in tail]
    assert sorted(trained) == expected
    assert set(held_out).isdisjoint(trained)


@settings(max_examples=100, deadline=None)
@given(log=LOGS, config=CONFIGS, after=st.none() | st.integers(-1, 41))
def test_a_training_window_reads_as_much_of_the_history_as_fits(log, config, after):
    windows = cut_windows(log, config, after=after)
    assert (windows.targets >= 1).all()
    assert (windows.targets <= np.minimum(config.stride, windows.length)).all()
    for items, target, count in zip(windows.items, windows.target, windows.targets, strict=True):
        before = before_of(log, int(target))
        assert items[items > 0].tolist() == before[-config.length :]
        assert (items[len(before) :] == 0).all()
        earliest = len(before) + 1 - count  # items before the window's first target
        assert (items > 0).sum() - (count - 1) >= min(earliest, config.length - config.stride + 1)
    if config.times:
        assert (
            windows.times[windows.items > 0].tolist()
            == log.timestamp[windows.items[windows.items > 0] - 1].tolist()
        )


@settings(max_examples=100, deadline=None)
@given(log=LOGS, config=CONFIGS, after=st.none() | st.integers(-1, 41))
def test_evaluation_asks_for_each_interaction_once_with_the_whole_history_before_it(log, config, after):
    windows = evaluation_windows(log, config, after=after)
    new = [item for item in eligible(log, 1) if after is None or log.timestamp[item - 1] > after]
    assert sorted(windows.target.tolist()) == new
    assert windows.targets.tolist() == [1] * len(windows)
    row, item, back = histories_of(windows)
    for number, (items, target) in enumerate(zip(windows.items, windows.target, strict=True)):
        before = before_of(log, int(target))
        assert items[items > 0].tolist() == before[-config.length :]
        assert item[row == number].tolist() == before
        assert back[row == number].tolist() == list(range(len(before)))[::-1]


@settings(max_examples=100, deadline=None)
@given(log=LOGS, config=CONFIGS, order=st.randoms(use_true_random=False), cut=st.integers(0, 40))
def test_equal_windows_have_equal_bytes_wherever_their_histories_lie(log, config, order, cut):
    windows = evaluation_windows(log, config)
    rows = list(range(len(windows)))
    order.shuffle(rows)
    taken = windows.take(np.array(rows, int))
    parts = [
        windows.take(np.array(rows[:cut], int)),
        evaluation_windows(log, config).take(np.array(rows[cut:], int)),
    ]
    joined = concatenate(parts)
    back = Windows.from_bytes(joined.to_bytes())
    alone = concatenate([windows.take(np.array([row])).compacted() for row in rows] or [windows])
    assert taken.digest == joined.digest == back.digest == alone.digest
    for equal in (joined, back, alone):
        assert [array.tolist() for array in histories_of(equal)] == [
            array.tolist() for array in histories_of(taken)
        ]


def test_histories_that_share_their_beginning_are_stored_once():
    log = log_of([(0, time) for time in range(30)])
    windows = evaluation_windows(log, WindowConfig(3))
    assert len(windows.compacted().past) == 29
    assert len(windows.take(np.array([4, 4, 9])).compacted().past) == 10
    assert len(windows.take(np.array([9, 4])).compacted().past) == 15


def test_parts_without_histories_have_their_context_as_the_history():
    log = log_of([(0, time) for time in range(6)])
    config = WindowConfig(3, 2)
    blocks, asked = cut_windows(log, config), evaluation_windows(log, config)
    both = concatenate([blocks, asked.take([4])])
    row, item, _ = histories_of(both)
    assert [item[row == number].tolist() for number in range(len(both))] == [
        [1],
        [1, 2, 3],
        [3, 4, 5][-3:],
        [1, 2, 3, 4, 5],
    ]
    assert both.targets.tolist() == [1, 2, 2, 1]
    assert blocks.past is None
    assert concatenate([blocks, blocks]).past is None
    assert concatenate([both.take([0, 1, 2])]).digest == blocks.digest


def test_windows_with_and_without_targets_are_not_mixed_but_an_empty_part_fits_both():
    log = log_of([(0, time) for time in range(6)])
    config = WindowConfig(3, 2)
    blocks = cut_windows(log, config)
    assert concatenate([last_windows([], 3), blocks]).digest == blocks.digest
    with pytest.raises(InputError, match="number of their targets, or none"):
        concatenate([blocks, cut_windows(log, replace(config, context="slice"))])


def test_a_request_brings_its_whole_history():
    windows = last_windows([[4, 2, 4, 7], [], [5]], 2)
    row, item, back = histories_of(windows)
    assert windows.items.tolist() == [[4, 7], [0, 0], [5, 0]]
    assert list(zip(row.tolist(), item.tolist(), back.tolist(), strict=True)) == [
        (0, 4, 3), (0, 2, 2), (0, 4, 1), (0, 7, 0), (2, 5, 0),
    ]  # fmt: skip


def test_items_that_nobody_knows_leave_histories_and_targets():
    log = log_of([(0, time) for time in range(6)])
    asked = evaluation_windows(log, WindowConfig(3)).take([4]).without_items_above(4)
    assert asked.items.tolist() == [[3, 4, 0]]
    assert histories_of(asked)[1].tolist() == [1, 2, 3, 4]
    block = cut_windows(log, WindowConfig(3, 3)).take([-1])
    assert (block.items.tolist(), block.targets.tolist()) == ([[3, 4, 5]], [3])
    known = block.without_items_above(4)
    assert (known.items.tolist(), known.target.tolist(), known.targets.tolist()) == ([[3, 4, 0]], [0], [2])


@pytest.mark.parametrize("times", [False, True])
def test_what_a_model_reads_before_a_target_is_the_end_of_the_items_it_knows(times: bool):
    log = log_of([(time % 3, time) for time in range(30)])
    log = replace(log, item=np.random.default_rng(1).permutation(log.item))  # unknown ones between known ones
    config = WindowConfig(3, times=times)
    asked, known = evaluation_windows(log, config), evaluation_windows(log, config, last_item=15)
    assert (known.user.tolist(), known.timestamp.tolist()) == (asked.user.tolist(), asked.timestamp.tolist())
    assert known.target.tolist() == [item if item <= 15 else 0 for item in asked.target.tolist()]
    for row, (user, at) in enumerate(zip(known.user.tolist(), known.timestamp.tolist(), strict=True)):
        mine = np.flatnonzero((log.user == user) & (log.timestamp < at) & (log.item <= 15))
        last = last_windows([log.item[mine]], 3, [log.timestamp[mine]] if times else None)
        assert known.items[row].tolist() == last.items[0].tolist()
        assert histories_of(known.take([row]))[1].tolist() == log.item[mine].tolist()
        if times:
            assert known.times[row].tolist() == last.times[0].tolist()


def test_stored_windows_whose_histories_lie_outside_are_refused():
    windows = evaluation_windows(log_of([(0, time) for time in range(6)]), WindowConfig(3)).compacted()
    for wrong in (
        {"past_stop": windows.past_stop + 9},
        {"past_start": windows.past_start - 1},
        {"past_start": windows.past_stop + 1},
        {"targets": windows.targets + 3},
        {"targets": windows.targets - 1},
    ):
        arrays = {name: array for name, array in vars(replace(windows, **wrong)).items() if array is not None}
        with pytest.raises(DamagedArtifact, match="expected windows whose targets and histories"):
            Windows.from_bytes(_stored(arrays))
    del arrays["past_start"]
    with pytest.raises(DamagedArtifact, match="expected windows"):
        Windows.from_bytes(_stored(arrays))


def _stored(arrays: dict[str, np.ndarray]) -> bytes:
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


@pytest.mark.parametrize(
    ("histories", "length"),
    [([5] * 10, 10), ([15] * 10, 20), ([40] * 10, 50), ([500] * 10, 50), ([1], 10), ([9] * 40 + [40], 10)],
)
def test_the_length_holds_the_whole_history_of_most_interactions(histories, length):
    log = log_of([(user, time) for user, size in enumerate(histories) for time in range(size)])
    choice = choose_length(log, WindowConfig())
    assert (choice.length, choice.chosen_by) == (length, "histories")
    assert choice.configured(WindowConfig()).stride == (length + 1) // 2
    earlier = earlier_items(log)
    assert choice.shares == (
        {of: float((earlier[earlier > 0] <= of).mean()) for of in (10, 20, 50)} if histories != [1] else {}
    )


def test_a_length_of_ones_own_stays_and_is_needed_to_cut():
    log = log_of([(0, 1), (0, 2)])
    assert choose_length(log, WindowConfig(length=7)).configured(WindowConfig(length=7)) == WindowConfig(7, 4)
    assert choose_length(log, WindowConfig(min_length=30)).length == 50
    assert choose_length(log, WindowConfig(stride=15)).length == 20
    for cut in (cut_windows, evaluation_windows):
        with pytest.raises(ConfigError, match=r"expected a windows\.length"):
            cut(log, WindowConfig())


def test_the_papers_windows_are_one_option_away():
    assert WindowConfig(context="slice", min_length=10) == WindowConfig(10, 5, 10, "slice")
    log = log_of([(0, time) for time in range(30)])
    config = WindowConfig(context="slice", min_length=10)
    assert evaluation_windows(log, config, after=7).digest == cut_windows(log, config, after=7).digest
    assert cut_windows(log, config).targets is None
    with pytest.raises(ConfigError, match=r"windows\.stride must be at most"):
        WindowConfig(length=3, stride=4)


def test_a_users_targets_come_from_one_window_as_long_as_they_fit():
    """Of 7 new items in blocks of 3, counted from the last one back."""
    log = log_of([(0, time) for time in range(8)])
    windows = cut_windows(log, WindowConfig(5, 3))
    assert windows.target.tolist() == [2, 5, 8]
    assert Counter(windows.targets.tolist()) == {1: 1, 3: 2}
