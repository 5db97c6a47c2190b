from __future__ import annotations

import pytest
import torch

from raie.engine.training.adapter import rows_read
from raie.engine.training.region_items import ITEM_ROWS, STATE_ROWS, ItemUpdates
from tests.raie_engine.world import ITEMS, LENGTH, random_adapter, random_backbone, random_windows

BACKBONE = random_backbone()
STATES = torch.randn(2 * STATE_ROWS + 3, 16, generator=torch.Generator().manual_seed(1))
CONTEXTS = torch.from_numpy(random_windows(ITEM_ROWS + 9, LENGTH, ITEMS).items).long()
TOUCHED = [2, 5, 30]
UPDATES = ItemUpdates(random_adapter(BACKBONE, TOUCHED))
every_count = pytest.mark.parametrize("count", [1, STATE_ROWS - 1, STATE_ROWS, STATE_ROWS + 1, len(STATES)])


def added(states: torch.Tensor, updates: ItemUpdates = UPDATES) -> torch.Tensor:
    scores = torch.zeros(len(states), ITEMS + 1)
    updates.add_to_scores(scores, states)
    return scores


def read(items: torch.Tensor) -> torch.Tensor:
    rows = torch.zeros(*items.shape, 16)
    UPDATES.read_into(rows, items)
    return rows


def test_scores_gain_the_state_times_the_rows_of_the_update_and_the_bias() -> None:
    adapter = UPDATES.adapter
    expected = STATES @ adapter.item_rows(ITEMS).T
    expected[:, TOUCHED] += adapter.bias
    torch.testing.assert_close(added(STATES), expected, rtol=1e-5, atol=1e-5)


def test_an_item_that_was_not_touched_gets_nothing() -> None:
    scores = added(STATES)
    assert (scores[:, TOUCHED] != 0).all()
    assert scores[:, [item for item in range(ITEMS + 1) if item not in TOUCHED]].abs().max() == 0


def test_rows_read_are_those_of_the_whole_table() -> None:
    torch.testing.assert_close(read(CONTEXTS), rows_read(UPDATES.adapter, CONTEXTS), rtol=1e-5, atol=1e-6)


def test_no_row_and_no_updated_item_add_nothing() -> None:
    assert added(STATES[:0]).shape == (0, ITEMS + 1)
    assert not added(STATES, ItemUpdates(random_adapter(BACKBONE, []))).any()
    assert not read(torch.full((2, LENGTH), 7)).any()


@every_count
def test_a_row_gains_the_same_bits_however_many_others_pass_with_it(count: int) -> None:
    assert torch.equal(added(STATES[-count:]), added(STATES)[-count:])
    assert torch.equal(read(CONTEXTS[-count:]), read(CONTEXTS)[-count:])
