from __future__ import annotations

from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raie_engine.backbones import Contexts, ModelShape, SasRec, load_backbone
from tests.raie_engine.world import random_backbone

LENGTH, ITEMS = 6, 30
BACKBONE = random_backbone()


def window(*items: int) -> Contexts:
    return Contexts(torch.tensor([items]))


@pytest.mark.parametrize("place", range(1, LENGTH))
def test_a_later_item_changes_no_earlier_state(place: int) -> None:
    items = torch.randint(1, ITEMS + 1, (8, LENGTH), generator=torch.Generator().manual_seed(place))
    other = items.clone()
    other[:, place] = items[:, place] % ITEMS + 1
    before, after = BACKBONE.states(Contexts(items)), BACKBONE.states(Contexts(other))
    assert torch.equal(before[:, :place], after[:, :place])
    assert not torch.allclose(before[:, place], after[:, place])


@settings(deadline=None)
@given(st.lists(st.integers(1, ITEMS), min_size=1, max_size=LENGTH), st.randoms())
def test_where_padding_stands_changes_no_state(items: list[int], random: Random) -> None:
    places = sorted(random.sample(range(LENGTH), len(items)))
    scattered = [0] * LENGTH
    for place, item in zip(places, items, strict=True):
        scattered[place] = item
    right = items + [0] * (LENGTH - len(items))
    left = [0] * (LENGTH - len(items)) + items
    wanted = BACKBONE.encode(window(*right))
    # Bit for bit, because all three become the same left-justified window.
    assert torch.equal(wanted, BACKBONE.encode(window(*left)))
    assert torch.equal(wanted, BACKBONE.encode(window(*scattered)))


def test_the_state_of_a_prefix_is_the_state_of_the_shorter_window() -> None:
    whole = BACKBONE.states(window(5, 6, 7, 8, 9, 10))
    for length in range(1, LENGTH):
        prefix = BACKBONE.states(window(*range(5, 5 + length)))
        # 1e-5: products of another shape may sum in another order.
        torch.testing.assert_close(whole[:, :length], prefix, rtol=0, atol=1e-5)


def test_models_of_earlier_versions_keep_their_bytes_and_their_digest() -> None:
    """Written by the first version: every snapshot, routing space and adapter of a SASRec names such a digest."""
    model = SasRec.fresh(ModelShape(items=30, length=6, dim=16, layers=2, heads=2), seed=1)
    config, weights = model.to_bytes()
    assert config == b'{"dim":16,"heads":2,"items":30,"kind":"sasrec","layers":2,"length":6}'
    assert model.digest == "d017392b3d97aa25ccb35e3f1b139f505ef169ff24ac5cb5714d68fb79a98b12"
    assert load_backbone(config, weights).digest == model.digest
