from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raie.engine.data.windows import Windows, last_windows
from raie.engine.evaluation.metrics import (
    METRICS,
    highest,
    leaving_out_context,
    mean_metrics,
    paired_difference,
    paired_differences,
    per_window,
    ranks,
    ranks_and_lists,
    target_ranks,
    without_context,
)
from tests.raie_engine.world import random_windows

ITEMS = 12
INF, NAN = float("inf"), float("nan")
# Few values, so that ties are common.
some_scores = st.lists(st.sampled_from([-INF, -1.0, 0.0, 0.5, 2.0]), min_size=ITEMS, max_size=ITEMS)


def rank(scores: list[float], target: int, context: tuple[int, ...] = ()) -> int:
    """scores: of the items 1, 2, ... ; padding scores minus infinity, as from every model."""
    row = without_context(torch.tensor([[-INF, *scores]]), _window(context))
    return int(target_ranks(row, torch.tensor([target])))


def _window(context: tuple[int, ...]) -> Windows:
    return last_windows([list(context)], max(1, len(context)))


def naive_rank(scores: list[float], target: int, context: set[int]) -> int:
    """Sort what can be recommended, best first, the lower row first among equals, and look the target up."""
    candidates = [item for item in range(1, ITEMS + 1) if item not in context and scores[item - 1] > -INF]
    candidates.sort(key=lambda item: (-scores[item - 1], item))
    return candidates.index(target) + 1 if target in candidates else ITEMS + 1


@settings(deadline=None)
@given(some_scores, st.integers(1, ITEMS), st.sets(st.integers(1, ITEMS), max_size=5))
def test_the_rank_is_the_place_in_a_full_sort(scores: list[float], target: int, context: set[int]) -> None:
    assert rank(scores, target, tuple(sorted(context))) == naive_rank(scores, target, context)


@settings(deadline=None)
@given(some_scores, st.integers(1, ITEMS), st.sets(st.integers(1, ITEMS), min_size=1))
def test_nan_never_makes_a_rank_better(scores: list[float], target: int, where: set[int]) -> None:
    broken = [NAN if item in where else score for item, score in enumerate(scores, start=1)]
    assert rank(broken, target) >= rank(scores, target)


@pytest.mark.parametrize(
    ("scores", "target", "context", "expected"),
    [
        ([3, 2, 1], 1, (), 1),
        ([3, 2, 1], 3, (), 3),
        ([3, 2, 1], 3, (1,), 2),
        ([3, 2, 1], 3, (1, 2), 1),
        ([3, 2, 1], 3, (1, 1, 1), 2),
        ([3, 2, 1], 1, (1, 2), 4),  # a target of the context may not be recommended: a miss
        ([1, 1, 1], 1, (), 1),
        ([1, 1, 1], 3, (), 3),
        ([1, 1, 1], 3, (2,), 2),
        ([3, -INF, 1], 2, (), 4),
        ([-INF, -INF, -INF], 1, (), 4),
        ([NAN, 2, 1], 2, (), 2),
        ([NAN, 2, 1], 2, (1,), 1),
        ([3, NAN, 1], 2, (), 4),
        ([NAN, NAN, NAN], 1, (), 4),
        ([INF, 2, 1], 1, (), 1),
        ([INF, 2, INF], 3, (), 2),
    ],
)
def test_ranks_that_can_be_checked_by_hand(
    scores: list[float], target: int, context: tuple[int, ...], expected: int
) -> None:
    assert rank([float(score) for score in scores], target, context) == expected


def test_ranking_leaves_the_scores_as_they_were() -> None:
    scores, windows = torch.rand(3, 5), random_windows(3, 2, 4)
    before = scores.clone()
    target_ranks(scores, torch.tensor([1, 2, 3]))
    without_context(scores, windows)
    leaving_out_context(lambda _: scores)(windows)
    assert torch.equal(scores, before)


def test_a_context_is_left_out_of_its_own_row_and_of_no_other() -> None:
    windows = last_windows([[2, 4], [3], []], 2)
    left = without_context(torch.zeros(3, 6), windows)[:, 1:]
    assert [(row.isfinite().nonzero().flatten() + 1).tolist() for row in left] == [
        [1, 3, 5],
        [1, 2, 4, 5],
        [1, 2, 3, 4, 5],
    ]
    wrapped = leaving_out_context(lambda part: torch.zeros(len(part), 6))
    assert torch.equal(wrapped(windows)[:, 1:], left)


def test_only_the_context_is_left_out_and_not_the_history_before_it() -> None:
    windows = last_windows([[2, 4, 5]], 2)
    assert without_context(torch.zeros(1, 6), windows)[0, 2] == 0


def test_ranks_do_not_depend_on_how_many_windows_pass_at_a_time() -> None:
    windows = random_windows(50, 4, ITEMS)

    def score(part: object) -> torch.Tensor:
        return torch.cos(torch.from_numpy(part.user)[:, None] * torch.arange(ITEMS + 1.0))

    assert ranks(score, windows, batch=7).tolist() == ranks(score, windows).tolist()
    assert len(ranks(score, windows.take(slice(0, 0)))) == 0


def test_one_pass_gives_the_ranks_and_the_lists_that_would_be_recommended() -> None:
    windows = random_windows(50, 4, ITEMS)

    def score(part: object) -> torch.Tensor:
        scores = torch.cos(torch.from_numpy(part.items.sum(axis=1))[:, None] * torch.arange(ITEMS + 1.0))
        scores[:, 11:] = -INF
        scores[:, 3] = NAN
        return scores

    wrapped = leaving_out_context(score)
    target_ranks_, lists = ranks_and_lists(wrapped, windows, batch=7)
    assert target_ranks_.tolist() == ranks(wrapped, windows).tolist()
    for row, scores in enumerate(score(windows)):
        left = [item for item in range(1, 11) if item != 3 and item not in windows.items[row]]
        best = sorted(left, key=lambda item: -scores[item].item())[:10]
        assert lists[row].tolist() == best + [0] * (10 - len(best))
    few = ranks_and_lists(lambda part: torch.zeros(len(part), 6), windows.without_items_above(5))[1]
    assert all(0 not in shown[: np.count_nonzero(shown)] for shown in few), "0 stands behind the last item"
    assert few.shape == (50, 10)
    assert len(ranks_and_lists(score, windows.take(slice(0, 0)))[1]) == 0


@settings(deadline=None)
@given(some_scores, st.integers(0, ITEMS))
def test_an_item_is_among_the_highest_k_exactly_when_its_rank_is_at_most_k(scores: list[float], k: int) -> None:
    row = torch.tensor([[-INF, *scores]])
    values, columns = highest(row, k)
    listed = [item for item, value in zip(columns[0].tolist(), values[0].tolist(), strict=True) if value > -INF]
    by_rank = sorted(range(1, ITEMS + 1), key=lambda item: rank(scores, item))
    assert listed == [item for item in by_rank if rank(scores, item) <= k]
    assert torch.equal(row.gather(1, columns), values)


@pytest.mark.parametrize(
    ("ranks_", "expected"),
    [
        ([1], {"Recall@5": 1, "NDCG@5": 1, "Recall@10": 1, "NDCG@10": 1, "Recall@20": 1, "NDCG@20": 1}),
        ([2], {"Recall@5": 1, "NDCG@5": 1 / math.log2(3), "NDCG@20": 1 / math.log2(3)}),
        ([3], {"NDCG@5": 0.5, "NDCG@10": 0.5}),
        ([5], {"Recall@5": 1, "NDCG@5": 1 / math.log2(6)}),
        ([6], {"Recall@5": 0, "NDCG@5": 0, "Recall@10": 1, "NDCG@10": 1 / math.log2(7)}),
        ([10], {"Recall@10": 1, "NDCG@10": 1 / math.log2(11)}),
        ([11], {"Recall@10": 0, "NDCG@10": 0, "Recall@20": 1}),
        ([20], {"Recall@20": 1, "NDCG@20": 1 / math.log2(21)}),
        ([21], {"Recall@20": 0, "NDCG@20": 0}),
        ([1, 21], {"Recall@5": 0.5, "NDCG@20": 0.5}),
        ([1, 3, 7, 7], {"Recall@5": 0.5, "Recall@10": 1, "NDCG@5": 0.375, "NDCG@10": (1.5 + 2 / 3) / 4}),
        ([7, 7, 7], {"NDCG@10": 1 / 3}),
    ],
)
def test_metrics_that_can_be_checked_by_hand(ranks_: list[int], expected: dict[str, float]) -> None:
    metrics = mean_metrics(np.array(ranks_))
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, rel=1e-12)


def test_mrr_is_the_mean_of_the_reciprocal_ranks_however_far_down() -> None:
    assert per_window(np.array([1, 4, 1000]))["MRR"].tolist() == [1, 0.25, 0.001]
    assert "MRR" not in mean_metrics(np.array([1])), "reports and policies keep their metrics"


def test_no_window_has_no_metric() -> None:
    assert all(math.isnan(value) for value in mean_metrics(np.zeros(0, np.int64)).values())


def test_the_interval_is_by_user_and_not_by_window() -> None:
    """One user's 500 equal windows are one observation: by window the interval would be far too narrow."""
    users = np.repeat(np.arange(20), 500)
    better = np.repeat(np.arange(20) < 10, 500)
    before = np.full(len(users), 11)
    after = np.where(better, 1, 11)
    change = paired_difference(before, after, users)
    assert change.mean == 0.5
    # A mean of 20 users of whom half gain has a standard error of 0.5 / sqrt(20) = 0.11; that of 10,000 windows, 0.005.
    assert change.high - change.low == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(20), rel=0.15)


def test_the_interval_is_paired() -> None:
    """The users differ much and the models by the same step for each, so the step is certain."""
    users = np.arange(100)
    before = np.where(users % 2, 11, 3)
    change = paired_difference(before, np.where(users % 2, 11, 1), users, metric="NDCG@10")
    assert change.mean == 0.25
    same = paired_difference(before, before, users)
    assert (same.mean, same.low, same.high) == (0, 0, 0)


def test_users_with_many_windows_weigh_as_much_as_they_have() -> None:
    users = np.array([0, 0, 0, 1])
    change = paired_difference(np.array([11, 11, 11, 11]), np.array([1, 1, 1, 11]), users)
    assert change.mean == 0.75


def test_an_interval_is_the_same_again_and_with_fewer_draws_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    before, after, users = (generator.integers(1, 30, 400) for _ in range(3))
    first = paired_difference(before, after, users, seed=3)
    monkeypatch.setattr("raie.engine.evaluation.metrics.DRAWN_COUNTS", 1000)
    assert paired_difference(before, after, users, seed=3) == first
    assert paired_difference(before, after, users, seed=4) != first
    assert first.low < first.mean < first.high


def test_no_window_has_no_difference() -> None:
    nothing = np.zeros(0, np.int64)
    assert math.isnan(paired_difference(nothing, nothing, nothing).mean)


def test_all_metrics_at_once_are_what_each_is_alone() -> None:
    generator = np.random.default_rng(0)
    before, after, users = (generator.integers(1, 30, 400) for _ in range(3))
    together = paired_differences(before, after, users)
    assert together == {metric: paired_difference(before, after, users, metric=metric) for metric in METRICS}
