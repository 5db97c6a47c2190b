"""item-kNN, EASE and TALE: as a library or their equations have them, and the same after edits as from scratch.

RecTools cannot be installed beside the pinned versions: library_scores.py wrote down what it computes on a small log.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from raie.engine.data.catalogue import Catalogue
from raie.engine.data.interactions import Interactions, between
from raie.engine.data.windows import last_windows
from raie.engine.errors import DamagedArtifact
from raie.engine.strategies import Strategy, TaskData
from raie.engine.strategies.ease import EASE, linear_weights
from raie.engine.strategies.item_knn import ITEM_KNN, cosines
from raie.engine.strategies.item_pairs import PairSums, co_occurrences, symmetric
from raie.engine.strategies.item_weights import ItemWeights, most_frequent
from raie.engine.strategies.tale import TALE, augmented, recent_counts, temporal_weights

LIBRARY = json.loads(Path(__file__).with_name("library_scores.json").read_text(encoding="utf-8"))
USERS, ITEMS = len(LIBRARY["ease"]), len(LIBRARY["ease"][0])
DAY = 86_400
PLAIN = (ITEM_KNN, EASE, TALE)
"""As they count, before a mixture joins them."""


def interactions(rows: list[tuple[int, int]], gap: int = 3600) -> Interactions:
    """Rows of (user, item), one every `gap` seconds."""
    user, item = (np.array(column, np.int32) for column in zip(*rows, strict=True))
    names = (
        tuple(str(row) for row in range(int(user.max()) + 1)),
        tuple(str(row) for row in range(int(item.max()))),
    )
    return Interactions(user, item, gap * np.arange(len(rows), dtype=np.int64), Catalogue(*names))


def many(rows: int = 400, users: int = 30, items: int = 20) -> Interactions:
    """A log whose users come again, and have some items twice."""
    generator = np.random.default_rng(3)
    drawn = generator.integers(0, users, rows).tolist(), generator.integers(1, items + 1, rows).tolist()
    return interactions(list(zip(*drawn, strict=True)), gap=20_000)


def task_data(rows: Interactions) -> TaskData:
    """As much of an edit as counting needs."""
    return SimpleNamespace(rows=rows, items=len(rows.catalogue.items))  # type: ignore[return-value]


def counts(rows: Interactions) -> np.ndarray:
    return np.bincount(rows.item, minlength=len(rows.catalogue.items) + 1)


# --- As others compute it


def of_whole_histories(weights: ItemWeights, rows: Interactions) -> np.ndarray:
    """Scores of every item for every user, all items of a history counting the same, [users, items]."""
    windows = last_windows([rows.item[rows.user == user] for user in range(USERS)], ITEMS)
    return weights.scores(windows.items, fade=1.0)[:, 1:].numpy()


def test_item_knn_scores_as_implicit_does() -> None:
    rows = interactions([tuple(row) for row in LIBRARY["rows"]])
    weights = cosines(co_occurrences(rows), counts(rows), shrink=0.0, neighbours=LIBRARY["neighbours"])
    assert of_whole_histories(weights, rows) == pytest.approx(np.array(LIBRARY["item-knn"]), abs=2e-5)


def test_ease_scores_as_rectools_does() -> None:
    rows = interactions([tuple(row) for row in LIBRARY["rows"]])
    weights = linear_weights(co_occurrences(rows), counts(rows), l2=LIBRARY["l2"], kept=ITEMS)
    assert of_whole_histories(weights, rows) == pytest.approx(np.array(LIBRARY["ease"]), abs=2e-5)


def test_tale_solves_its_equation_written_out_target_by_target() -> None:
    rows, options = many(), {"reach": 3, "days": 2.0, "floor": 0.2, "trend_days": 4.0, "trends": (0.5, 0.25)}
    v = len(rows.catalogue.items) + 1
    sources, targets = [], []
    for row in range(len(rows)):
        earlier = np.flatnonzero(rows.user[:row] == rows.user[row])[-3:]
        source, target = np.zeros(v), np.zeros(v)
        for source_row in earlier:
            decay = max(np.exp(-(rows.timestamp[row] - rows.timestamp[source_row]) / (2 * DAY)), 0.2)
            source[rows.item[source_row]] += decay * _recently(rows, source_row) ** -0.5
        target[rows.item[row]] = _recently(rows, row) ** -0.25
        sources.append(source * bool(len(earlier)))
        targets.append(target * bool(len(earlier)))
    s, t = np.array(sources), np.array(targets)
    expected = np.linalg.solve(s.T @ s + 7.0 * np.eye(v), s.T @ t)
    weights = temporal_weights(augmented(rows, **options), counts(rows), l2=7.0, kept=v)  # type: ignore[arg-type]
    every = np.arange(1, v, dtype=np.int32)[:, None]
    assert weights.scores(every, fade=1.0)[:, 1:].numpy() == pytest.approx(expected[1:, 1:], abs=1e-5)


def _recently(rows: Interactions, row: int) -> int:
    """How often the item of a row came in the four days up to it."""
    back = rows.timestamp[row] - rows.timestamp[: row + 1]
    return int(((rows.item[: row + 1] == rows.item[row]) & (back <= 4 * DAY)).sum())


def test_recent_popularity_counts_the_row_itself_and_no_later_one() -> None:
    rows = interactions([(0, 1), (1, 1), (0, 2), (2, 1)], gap=DAY)
    assert recent_counts(rows, days=1).tolist() == [1, 2, 1, 1]
    assert recent_counts(rows, days=1e9).tolist() == [1, 2, 1, 3]


# --- Edits


def test_what_an_edit_adds_to_the_sums_gives_those_from_scratch_and_undoing_it_those_before() -> None:
    rows = many()
    cut = int(rows.timestamp[250])
    before, added, whole = (
        co_occurrences(between(rows, None, cut)),
        co_occurrences(rows, cut),
        co_occurrences(rows),
    )
    assert same(before.plus(added), whole)
    assert same(whole.plus(added, -1), before)
    have = np.zeros((30, 21))
    have[rows.user, rows.item] = 1
    assert (symmetric(whole, np.arange(21)).numpy() == have.T @ have).all()
    assert (whole.diagonal(21) == have.sum(axis=0)).all()


def same(first: PairSums, second: PairSums) -> bool:
    return np.array_equal(first.pairs, second.pairs) and np.array_equal(first.sums, second.sums)


@pytest.mark.parametrize("strategy", PLAIN, ids=lambda strategy: strategy.name)
def test_a_state_after_edits_scores_as_one_from_scratch(strategy: Strategy) -> None:
    rows = many()
    state = strategy.begin({}, task_data(between(rows, None, int(rows.timestamp[150])))).state
    for row in (220, 399):
        state = strategy.learn(state, task_data(between(rows, None, int(rows.timestamp[row])))).state
    scratch = strategy.begin({}, task_data(rows)).state
    windows = last_windows([[1, 2, 3], [7], [20, 20]], 3)
    grown, anew = (strategy.score(learned, task_data(rows))(windows)[:, 1:] for learned in (state, scratch))
    assert torch.allclose(grown, anew, atol=1e-5)
    assert grown.std() > 0


def test_an_item_that_comes_later_is_recommended_after_the_edit_that_sees_it() -> None:
    first = [(user, item) for user in range(6) for item in (1, 2)]
    later = [(user, 3) for user in range(6)]
    rows = interactions(first + later)
    for strategy in PLAIN:
        before = between(rows, None, int(rows.timestamp[len(first) - 1]))
        state = strategy.begin({}, task_data(before)).state
        unseen = strategy.score(state, task_data(rows))(last_windows([[1, 2]], 5))[0]
        seen = strategy.score(strategy.learn(state, task_data(rows)).state, task_data(rows))(
            last_windows([[1, 2]], 5)
        )
        assert unseen[3].item() < 1e-5, strategy.name
        assert seen[0].argmax().item() == 3, strategy.name


# --- Scores


def weights_by_hand(**changed: Any) -> ItemWeights:
    """1 speaks for 2 (0.5) and 3 (0.25); 2 for 3 (1.0); 4 came most."""
    values = {
        "start": np.array([0, 0, 2, 3, 3, 3]),
        "second": np.array([2, 3, 3], np.int32),
        "weight": np.array([0.5, 0.25, 1.0], np.float32),
        "count": np.array([0, 1, 1, 1, 4]),
    }
    return ItemWeights(**{**values, **changed})  # type: ignore[arg-type]


def test_each_item_further_back_counts_less_and_popularity_decides_between_equals() -> None:
    scores = weights_by_hand().scores(np.array([[1, 2, 0], [2, 1, 0], [0, 0, 0]], np.int32), fade=0.5)
    assert scores[:, 0].isneginf().all()
    assert scores[0, 1:4].tolist() == pytest.approx([0, 0.25, 1.125], abs=1e-5)
    assert scores[1, 1:4].tolist() == pytest.approx([0, 0.5, 0.75], abs=1e-5)
    assert scores[2].argmax().item() == 4


def test_only_the_largest_weights_of_an_item_are_kept() -> None:
    rows = many()
    whole, few = (linear_weights(co_occurrences(rows), counts(rows), kept=kept) for kept in (20, 4))
    assert np.diff(few.start)[1:].tolist() == [4] * 20
    for item in (1, 9):
        size = np.abs(whole.weight[whole.start[item] : whole.start[item + 1]])
        kept = np.abs(few.weight[few.start[item] : few.start[item + 1]])
        assert sorted(kept) == sorted(size)[-4:]


def test_beyond_so_many_items_only_the_most_frequent_ones_get_weights() -> None:
    rows = many()
    assert most_frequent(np.array([0, 3, 1, 0, 3, 2]), 3).tolist() == [1, 4, 5]
    for weights in (
        linear_weights(co_occurrences(rows), counts(rows), most=5),
        temporal_weights(augmented(rows), counts(rows), most=5),
    ):
        assert np.count_nonzero(np.diff(weights.start)) == 5
        assert weights.scores(np.array([[1, 2]], np.int32), fade=1.0).shape == (1, 21)


# --- Bytes


def test_stored_weights_are_read_as_they_were_and_refused_if_damaged() -> None:
    stored = weights_by_hand().to_bytes()
    assert ItemWeights.from_bytes(stored).to_bytes() == stored
    with pytest.raises(DamagedArtifact):
        ItemWeights.from_bytes(stored[:-4])
    for changed in ({"second": np.array([2, 3, 9], np.int32)}, {"start": np.array([0, 0, 2, 1, 3, 3])}):
        with pytest.raises(DamagedArtifact, match="refer to one another"):
            ItemWeights.from_bytes(weights_by_hand(**changed).to_bytes())
