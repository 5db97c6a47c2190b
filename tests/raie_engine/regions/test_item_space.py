"""The item space: who takes the same things lies together, each history by itself, the same bytes again."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raie.engine.data.catalogue import Catalogue
from raie.engine.data.interactions import Interactions
from raie.engine.data.windows import last_windows
from raie.engine.errors import DamagedArtifact, WrongBackbone
from raie.engine.mixture.log_counts import LogCounts, count_rows
from raie.engine.regions.any_space import read_space
from raie.engine.regions.item_space import ItemSpace, fit_item_space
from tests.raie_engine.world import in_another_process

BACKBONE = "b" * 64
TASTES, ITEMS = 3, 300
"""Users of taste t take items of 100 t + 1 to 100 t + 100."""


def tasteful_log(seed: int = 0, users: int = 240, rows: int = 20) -> Interactions:
    generator = np.random.default_rng(seed)
    taste = np.arange(users) % TASTES
    item = 1 + 100 * taste[:, None] + generator.integers(0, 100, (users, rows))
    user = np.repeat(np.arange(users, dtype=np.int32), rows)
    order = generator.permutation(users * rows)
    names = Catalogue(tuple(map(str, range(users))), tuple(map(str, range(ITEMS))))
    return Interactions(user[order], item.ravel()[order].astype(np.int32), np.arange(len(order)), names)


SPACE = fit_item_space(count_rows(tasteful_log(), None, ITEMS), BACKBONE)


def test_histories_of_one_taste_are_nearer_to_each_other_than_to_any_other_taste() -> None:
    generator = np.random.default_rng(1)
    taste = np.repeat(np.arange(TASTES), 30)
    histories = [(1 + 100 * t + generator.integers(0, 100, 6)).tolist() for t in taste]
    vectors = SPACE.vectors(last_windows(histories, 10))
    near = vectors @ vectors.T
    same = taste[:, None] == taste
    assert near[same].min() > near[~same].max()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(1, ITEMS + 40), max_size=30), min_size=1, max_size=12))
def test_a_history_lies_to_the_bit_where_it_lies_alone_and_has_norm_1(histories: list[list[int]]) -> None:
    together = SPACE.vectors(last_windows(histories, 20))
    alone = [SPACE.vectors(last_windows([history], 20))[0] for history in histories]
    assert np.array_equal(together, alone)
    known = np.array([any(item <= ITEMS for item in history[-20:]) for history in histories])
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert np.array_equal(together[:, -1], ~known), "histories of new items alone have a dimension of their own"


def test_items_that_came_after_the_setup_are_passed_over() -> None:
    known, with_new = (
        SPACE.vectors(last_windows([[5, 9], [5, 9]], 4)),
        SPACE.vectors(last_windows([[ITEMS + 1, 5, 9], [ITEMS + 9, 5, 9]], 4)),
    )
    assert np.array_equal(known, with_new)


def test_the_newest_items_say_most() -> None:
    old, new = SPACE.vectors(last_windows([[5] * 6 + [150] * 3, [150] * 6 + [5] * 3], 20))
    mine = SPACE.vectors(last_windows([[5]], 20))[0]
    assert float(new @ mine) > 3 / 9 * float(old @ mine)


def test_an_item_without_neighbours_lies_in_the_middle_and_no_item_lies_nowhere() -> None:
    counts = count_rows(tasteful_log(), None, ITEMS + 2)  # two more items, that no row holds
    items = fit_item_space(counts, BACKBONE).items
    np.testing.assert_allclose(np.linalg.norm(items[1:], axis=1), 1, atol=1e-5)
    assert not items[0].any()
    assert np.array_equal(items[-1], items[-2])
    nothing = fit_item_space(LogCounts.empty(4), BACKBONE)
    assert np.array_equal(nothing.items[1:], np.tile(nothing.items[1], (4, 1)))


def test_a_space_reads_back_as_it_was_written_and_is_the_same_in_any_process_on_any_number_of_threads() -> None:
    data = SPACE.to_bytes()
    again = read_space(data)
    assert isinstance(again, ItemSpace)
    assert (again.to_bytes(), again.digest) == (data, hashlib.sha256(data).hexdigest())
    code = "from tests.raie_engine.regions.test_item_space import SPACE; print(SPACE.digest)"
    assert in_another_process(f"import os; os.environ['OMP_NUM_THREADS'] = '2'; {code}") == SPACE.digest


def test_a_space_of_another_backbone_or_of_damaged_bytes_is_refused() -> None:
    with pytest.raises(WrongBackbone, match="backbone bbbbbbbbbbbb, found backbone cccc"):
        SPACE.require_backbone("c" * 64)
    damaged = ItemSpace(np.full((3, 2), np.nan, np.float32), BACKBONE).to_bytes()
    for data in (damaged, b"", SPACE.to_bytes()[:-4]):
        with pytest.raises(DamagedArtifact):
            read_space(data)
