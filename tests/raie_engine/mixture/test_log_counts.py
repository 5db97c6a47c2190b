"""Counts of rows: additive over parts of a log, the same for equal logs, and refused when damaged."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raie.engine.data.catalogue import Catalogue
from raie.engine.data.interactions import Interactions, between
from raie.engine.errors import DamagedArtifact
from raie.engine.mixture import log_counts
from raie.engine.mixture.log_counts import PAIR_KINDS, LogCounts, count_rows, summed

ITEMS = 12
_rows = st.lists(st.tuples(st.integers(0, 4), st.integers(1, ITEMS)), min_size=1, max_size=60)


def _log(rows: list[tuple[int, int]]) -> Interactions:
    user, item = (np.array(column, np.int32) for column in zip(*rows, strict=True))
    catalogue = Catalogue(tuple(map(str, range(5))), tuple(map(str, range(1, ITEMS + 1))))
    return Interactions(user, item, np.arange(len(rows), dtype=np.int64), catalogue)


def _pairs_by_hand(rows: list[tuple[int, int]], kind: int) -> dict[tuple[int, int], float]:
    how, sums = PAIR_KINDS[kind], dict[tuple[int, int], float]()
    for user in {user for user, _ in rows}:
        items = [item for mine, item in rows if mine == user]
        for later, item in enumerate(items):
            for step in range(1, min(how.reach, later) + 1):
                weight, earlier = how.fade ** (step - 1), items[later - step]
                sums[earlier, item] = sums.get((earlier, item), 0) + weight
                sums[item, earlier] = sums.get((item, earlier), 0) + weight * how.back
    return sums


@given(_rows, st.sampled_from(range(len(PAIR_KINDS))))
@settings(max_examples=60, deadline=None)
def test_every_pair_of_a_users_items_counts_as_its_kind_says(rows: list[tuple[int, int]], kind: int) -> None:
    counts, expected = count_rows(_log(rows), None, ITEMS), _pairs_by_hand(rows, kind)
    first = np.repeat(np.arange(ITEMS + 1), np.diff(counts.start))
    counted = dict(
        zip(zip(first.tolist(), counts.following.tolist(), strict=True), counts.pairs[:, kind], strict=True)
    )
    assert {pair: value for pair, value in counted.items() if value} == pytest.approx(expected)


@given(_rows, st.lists(st.integers(0, 60), max_size=3))
@settings(max_examples=60, deadline=None)
def test_counts_of_the_parts_of_a_log_add_up_to_those_of_all_of_it(
    rows: list[tuple[int, int]], cuts: list[int]
) -> None:
    log, ends = _log(rows), [-1, *sorted(cuts), len(rows)]
    parts, whole = [], count_rows(log, None, ITEMS)
    for after, until in pairwise(ends):
        parts.append(count_rows(between(log, None, until), after, ITEMS, whole.half_life))
    joined = summed(parts)
    assert joined.rows == whole.rows
    np.testing.assert_array_equal(joined.start, whole.start)
    np.testing.assert_array_equal(joined.following, whole.following)
    np.testing.assert_allclose(joined.pairs, whole.pairs, rtol=1e-5)
    np.testing.assert_allclose(joined.popularity, whole.popularity)
    np.testing.assert_allclose(joined.trend, whole.trend)


@given(_rows, st.integers(1, 200), st.none() | st.integers(0, 60))
@settings(max_examples=40, deadline=None)
def test_pairs_counted_for_some_items_at_a_time_are_the_same_bytes(
    rows: list[tuple[int, int]], most: int, after: int | None
) -> None:
    whole = count_rows(_log(rows), after, ITEMS - 2).to_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_counts, "_PAIRS_AT_A_TIME", most)
        assert count_rows(_log(rows), after, ITEMS - 2).to_bytes() == whole


def test_a_new_row_of_an_item_weighs_twice_one_that_is_a_half_life_old() -> None:
    counts = count_rows(_log([(0, 1)] * 1 + [(1, 2)] * 9 + [(2, 3)]), None, ITEMS, half_life=10.0)
    assert counts.trend[3] == pytest.approx(2 * counts.trend[1])
    assert counts.popularity[1:4].tolist() == [1, 9, 1]


def test_counts_read_back_as_they_were_written_and_damaged_ones_are_refused() -> None:
    counts = count_rows(_log([(0, 1), (0, 2), (1, 2), (0, 3)]), None, ITEMS)
    again = LogCounts.from_bytes(counts.to_bytes())
    assert again.to_bytes() == counts.to_bytes()
    assert again.items == ITEMS
    strange = LogCounts(**{**vars(counts), "following": counts.following + ITEMS})
    with pytest.raises(DamagedArtifact, match="refer to one another"):
        LogCounts.from_bytes(strange.to_bytes())
    with pytest.raises(DamagedArtifact):
        LogCounts.from_bytes(counts.to_bytes()[:-3])
