from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raie.engine.backbones import Contexts, ModelShape, SasRec, load_backbone
from raie.engine.config import WindowConfig
from raie.engine.data.readers.settings import LogSettings
from raie.engine.errors import DamagedArtifact
from raie.engine.model import Settings
from tests.raie_engine.world import random_backbone, sliding

LENGTH, ITEMS = 6, 30
BACKBONE = random_backbone()


def window(*items: int) -> Contexts:
    return Contexts(torch.tensor([items]))


@pytest.mark.parametrize("position", range(1, LENGTH))
def test_a_later_item_changes_no_earlier_state(position: int) -> None:
    items = torch.randint(1, ITEMS + 1, (8, LENGTH), generator=torch.Generator().manual_seed(position))
    changed = items.clone()
    changed[:, position] = items[:, position] % ITEMS + 1
    before, after = BACKBONE.states(Contexts(items)), BACKBONE.states(Contexts(changed))
    assert torch.equal(before[:, :position], after[:, :position])
    assert not torch.allclose(before[:, position], after[:, position])


@settings(deadline=None)
@given(st.lists(st.integers(1, ITEMS), min_size=1, max_size=LENGTH), st.randoms())
def test_where_padding_stands_changes_no_state(items: list[int], random: Random) -> None:
    places = sorted(random.sample(range(LENGTH), len(items)))
    scattered = [0] * LENGTH
    for position, item in zip(places, items, strict=True):
        scattered[position] = item
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


SETTINGS = b"""{"engine":{"adapter":{"alpha":16,"item_rank":8,"rank":8},"backbone":{"batch":256,"dim":64,"dropout":0.2,
"epochs":200,"full_softmax_below":20000,"heads":2,"kind":"sasrec","layers":2,"learning_rate":0.001,"negatives":512,
"patience":5,"weight_decay":0.0},"edit":{"batch":256,"epochs":4,"holdout":0.1,"learning_rate":0.0003,"max_replay":10000,
"patience":2,"replay_ratio":1.0,"shared_epochs":6,"shared_learning_rate":0.001},"gate":{"buffer":200,"expand_share":0.2,
"high":0.5,"margin":0.05,"max_added":4,"min_region":50,"min_windows":20,"movement":0.2,"policy":"radius",
"prior_strength":5.0,"temperature":0.05},"regions":{"max_quantile":0.99,"max_regions":8,"min_share":0.02,
"points_per_centre":1600,"quantile":0.9,"regions":0,"remove_components":0,"restarts":5,"slack":1.1},"seed":7,
"windows":{"context":"slice","length":10,"min_length":10,"stride":5}},"log":{"columns":{"item":"item_id","rating":null,
"timestamp":"timestamp","user":"user_id"},"duplicates":"error","min_rating":null}}"""


def test_the_settings_of_earlier_versions_can_be_read_and_ask_for_nothing_new() -> None:
    settings = Settings.from_bytes(SETTINGS)
    assert (settings.engine.seed, settings.engine.backbone.kind, settings.engine.gate.expand_share) == (
        7,
        "sasrec",
        0.2,
    )
    assert settings.engine.windows == sliding()
    assert settings.engine.edit.max_validation == 0
    assert settings.log == LogSettings()
    reaching = Settings.from_bytes(SETTINGS.replace(b'"context":"slice"', b'"context":"history"'))
    assert reaching.engine.windows == sliding(context="overlap"), "what slid over the whole log still does"
    assert Settings.from_bytes(reaching.to_bytes()) == reaching
    today = replace(settings, engine=replace(settings.engine, windows=WindowConfig(20)))
    assert Settings.from_bytes(today.to_bytes()).engine.windows.context == "history"
    with pytest.raises(DamagedArtifact):
        Settings.from_bytes(today.to_bytes().replace(b'"version":2', b'"version":3'))
