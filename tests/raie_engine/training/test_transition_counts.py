from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raie.engine.bytes.arrays import pack
from raie.engine.data.windows import Windows
from raie.engine.errors import DamagedArtifact
from raie.engine.training.transition_counts import BACK, FADE, PRIOR, REACH, TransitionCounts, count_transitions
from tests.raie_engine.world import random_windows

ITEMS, LENGTH = 8, 6
V = ITEMS + 1
WEIGHT = 0.3


def windows_of(*histories: tuple[list[int], int]) -> Windows:
    items = np.array([row + [0] * (LENGTH - len(row)) for row, _ in histories], np.int32).reshape(-1, LENGTH)
    target = np.array([following for _, following in histories], np.int32)
    return Windows(items, target, np.zeros(len(target), np.int32), np.zeros(len(target), np.int64))


rows = st.lists(st.integers(1, ITEMS), min_size=1, max_size=LENGTH)
some_windows = st.lists(st.tuples(rows, st.integers(1, ITEMS)), max_size=12).map(lambda all_: windows_of(*all_))


def counted_one_by_one(windows: Windows, positions: int) -> dict[tuple[int, int], float]:
    counts: dict[tuple[int, int], float] = defaultdict(float)
    targets = [positions] * len(windows) if windows.targets is None else windows.targets.tolist()
    for items, target, last in zip(windows.items, windows.target, targets, strict=True):
        history = [int(item) for item in items if item] + [int(target)]
        for second in range(max(1, len(history) - last), len(history)):
            for first in range(max(0, second - REACH), second):
                counts[history[first], history[second]] += FADE ** (second - first - 1)
                counts[history[second], history[first]] += BACK * FADE ** (second - first - 1)
    return counts


def said_one_by_one(counts: dict[tuple[int, int], float], items: list[int]) -> np.ndarray:
    q = np.zeros(V)
    for back, item in enumerate(reversed(items[-REACH:])):
        of_item = {second: count for (first, second), count in counts.items() if first == item}
        for second, count in of_item.items():
            q[second] += FADE**back * count / (sum(of_item.values()) + PRIOR)
    return q / sum(FADE**back for back in range(REACH))


@given(some_windows, st.integers(1, LENGTH), rows, st.randoms(use_true_random=False) | st.none())
def test_counting_all_at_once_says_what_counting_one_by_one_says(
    windows: Windows, positions: int, items: list[int], chance: Random | None
) -> None:
    """Windows that say what their targets are count these, and others the last `positions`."""
    if chance is not None:
        targets = [chance.randint(1, int(length)) for length in windows.length]
        windows = replace(windows, targets=np.array(targets, np.int32))
    predicted = count_transitions(windows, positions, WEIGHT, V).after(windows_of((items, 1)).items)
    expected = said_one_by_one(counted_one_by_one(windows, positions), items)
    np.testing.assert_allclose(predicted[0].numpy(), expected, rtol=1e-5, atol=1e-7)


@given(some_windows, st.permutations(range(12)))
def test_the_order_of_windows_changes_nothing(windows: Windows, order: list[int]) -> None:
    reordered = windows.take(np.array([row for row in order if row < len(windows)], np.int64))
    again = count_transitions(reordered, 3, WEIGHT, V)
    np.testing.assert_allclose(again.share, count_transitions(windows, 3, WEIGHT, V).share, rtol=1e-6)
    assert again.following.tolist() == count_transitions(windows, 3, WEIGHT, V).following.tolist()


def test_windows_that_overlap_read_each_item_once() -> None:
    whole = windows_of(([1, 2, 3, 4, 5, 6], 7))
    three = windows_of(([1, 2], 3), ([1, 2, 3, 4], 5), ([2, 3, 4, 5, 6], 7))
    assert count_transitions(whole, 6, WEIGHT, V).to_bytes() == count_transitions(three, 2, WEIGHT, V).to_bytes()


def test_counts_multiply_the_probabilities_that_scores_stand_for() -> None:
    counts = count_transitions(windows_of(([1], 2), ([1], 3)), 1, WEIGHT, V)
    scores = torch.randn(1, V, generator=torch.Generator().manual_seed(1))
    scores[:, 0] = float("-inf")
    p = counts.joined(scores, windows_of(([1], 5)).items).softmax(dim=1)
    expected = scores.softmax(dim=1)
    expected[0, 2:4] *= 1 + WEIGHT * V * 1 / (2 + PRIOR) / sum(FADE**back for back in range(REACH))
    torch.testing.assert_close(p, expected / expected.sum())


def test_a_pair_says_less_about_what_came_first() -> None:
    counts = count_transitions(windows_of(([1], 2)), 1, WEIGHT, V)
    forth, back = counts.after(windows_of(([1], 5), ([2], 5)).items)
    assert 0 < back[1] < forth[2]
    assert forth.count_nonzero() == back.count_nonzero() == 1


def test_what_is_not_to_be_recommended_stays_so_however_often_it_followed() -> None:
    counts = count_transitions(windows_of(([1], 2), ([1], 2)), 1, 0.9, V)
    scores = torch.zeros(1, V)
    scores[0, [0, 2]] = float("-inf")
    assert counts.joined(scores, windows_of(([1], 5)).items).isneginf().nonzero()[:, 1].tolist() == [0, 2]


def test_a_score_too_small_for_a_probability_is_still_a_score() -> None:
    counts = count_transitions(windows_of(([1], 2)), 1, WEIGHT, V)
    scores = torch.tensor([[float("-inf"), *([0.0] * (ITEMS - 1)), -1e4]])
    assert counts.joined(scores, windows_of(([3], 5)).items)[0, -1].isfinite()


def test_items_that_the_counts_do_not_know_say_nothing() -> None:
    counts = count_transitions(windows_of(([1], 2)), 1, WEIGHT, V)
    known, more = windows_of(([1], 2)), windows_of(([1], 2))
    more.items[0, 1] = V + 3
    assert counts.after(known.items)[0, 2] > 0
    assert counts.after(more.items)[0, 2] == pytest.approx(float(counts.after(known.items)[0, 2]) * FADE)


def test_a_row_says_the_same_bits_alone_and_among_others() -> None:
    windows = random_windows(70, LENGTH, ITEMS, seed=1)
    counts = count_transitions(random_windows(200, LENGTH, ITEMS, seed=2), 3, WEIGHT, V)
    scores = torch.randn(70, V, generator=torch.Generator().manual_seed(3))
    among = counts.joined(scores, windows.items)
    for row in range(70):
        assert torch.equal(counts.joined(scores[row : row + 1], windows.items[row : row + 1])[0], among[row])


def test_bytes_bring_the_counts_back_and_equal_counts_give_equal_bytes() -> None:
    windows = random_windows(50, LENGTH, ITEMS, seed=1)
    counts = count_transitions(windows, 3, WEIGHT, V)
    again = TransitionCounts.from_bytes(counts.to_bytes())
    assert again.to_bytes() == counts.to_bytes() == count_transitions(windows, 3, WEIGHT, V).to_bytes()
    assert torch.equal(again.after(windows.items), counts.after(windows.items))


@pytest.mark.parametrize(
    "change",
    [
        {"start": np.array([0, 1, 0, 2], np.int64)},
        {"start": np.array([0, 1], np.int64)},
        {"start": np.zeros(0, np.int64)},
        {"following": np.array([1, 9], np.int32)},
        {"following": np.array([0, 1], np.int32)},
        {"share": np.array([0.5, np.nan], np.float32)},
        {"share": np.array([0.5, -0.5], np.float32)},
        {"share": np.array([0.5, 1.5], np.float32)},
        {"weight": -0.5},
        {"weight": float("0")},
    ],
)
def test_counts_that_contradict_themselves_are_damage(change: dict[str, np.ndarray | float]) -> None:
    good = TransitionCounts(
        0.3, np.array([0, 0, 1, 2]), np.array([1, 2], np.int32), np.array([0.5, 0.5], np.float32)
    )
    assert TransitionCounts.from_bytes(good.to_bytes()).rows == 3
    with pytest.raises(DamagedArtifact, match="counts of"):
        TransitionCounts.from_bytes(replace(good, **change).to_bytes())  # type: ignore[arg-type]


def test_counts_without_a_weight_are_damage() -> None:
    arrays = {
        "start": np.zeros(2, np.int64),
        "following": np.zeros(0, np.int32),
        "share": np.zeros(0, np.float32),
    }
    with pytest.raises(DamagedArtifact):
        TransitionCounts.from_bytes(pack({"kind": "transitions"}, arrays))
