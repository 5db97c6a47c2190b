from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from raie.engine.backbones import Backbone
from raie.engine.config import BackboneConfig
from raie.engine.data.windows import Windows
from raie.engine.errors import ConfigError, NothingToEdit
from raie.engine.training.loop import Trained
from raie.engine.training.train_backbone import cold_item_rows, train_backbone
from tests.raie_engine.world import ITEMS, LENGTH, random_backbone, random_windows, successor_windows

NONE = random_windows(0, LENGTH, ITEMS)
CONFIG = BackboneConfig(dim=16, layers=1, heads=2, batch=32, learning_rate=0.01, epochs=8, patience=0)


def trained(config: BackboneConfig = CONFIG, **changed: object) -> tuple[Backbone, Trained]:
    options = {"positions": 3, "seed": 5} | changed
    return train_backbone(successor_windows(120, 0), successor_windows(40, 1), ITEMS, config, **options)


@pytest.mark.parametrize("negatives", [0, 20], ids=["full softmax", "sampled"])
def test_training_learns_what_follows_what_and_freezes_the_model(negatives: int) -> None:
    config = replace(CONFIG, full_softmax_below=1, negatives=negatives, epochs=12) if negatives else CONFIG
    model, result = trained(config)
    # By chance the target of 30 items is among the first ten with an NDCG of about 0.15.
    assert result.scores[0] < 0.3
    assert max(result.scores) > 0.6
    assert isinstance(model, torch.nn.Module)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model.training


def test_one_seed_gives_one_backbone() -> None:
    config = replace(CONFIG, epochs=2)
    first, _ = trained(config)
    torch.manual_seed(99)
    again, _ = trained(config)
    reseeded, _ = trained(config, seed=6)
    assert first.digest == again.digest != reseeded.digest


def test_a_backbone_killed_while_it_trains_ends_with_the_same_digest(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def killed(epoch: int, score: float) -> None:
        if epoch == 3:
            raise Killed

    config, path = replace(CONFIG, epochs=5), tmp_path / "backbone.safetensors"
    with pytest.raises(Killed):
        trained(config, checkpoint=path, progress=killed)
    epochs: list[int] = []
    model, result = trained(config, checkpoint=path, progress=lambda epoch, _: epochs.append(epoch))
    uninterrupted, whole = trained(config)
    assert epochs == [4, 5]
    assert model.digest == uninterrupted.digest
    assert result.scores == whole.scores
    again, _ = trained(config, checkpoint=path, progress=lambda epoch, _: epochs.append(epoch))
    assert epochs == [4, 5], "what has trained to its end is only read"
    assert again.digest == uninterrupted.digest


def test_without_windows_there_is_no_backbone() -> None:
    with pytest.raises(NothingToEdit):
        train_backbone(NONE, NONE, ITEMS, CONFIG, positions=3, seed=0)


def test_a_kind_that_cannot_be_trained_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"backbone\.kind"):
        trained(replace(CONFIG, kind="gru"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"heads": 3},
        {"dim": 0},
        {"dropout": 1.0},
        {"epochs": -1},
        {"patience": -1},
        {"negatives": 0},
        {"batch": 0},
        {"mask_share": 0.0},
        {"mask_share": 1.5},
        {"intervals": 1},
        {"title_tokens": -1},
        {"path": "a model, of a kind that has none"},
        {"kind": "causal_lm"},
        {"kind": "file"},
    ],
    ids=str,
)
def test_sizes_that_make_no_backbone_are_refused_when_they_are_read(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        replace(CONFIG, **wrong)


def windows(*members: list[int]) -> Windows:
    """One window per list, whose last member is the target."""
    items = np.zeros((len(members), LENGTH), np.int32)
    for row, members_of_row in enumerate(members):
        items[row, : len(members_of_row) - 1] = members_of_row[:-1]
    target = np.array([members_of_row[-1] for members_of_row in members], np.int32)
    return Windows(items, target, np.zeros(len(members), np.int32), np.zeros(len(members), np.int64))


def test_a_new_item_points_where_its_neighbours_point_and_is_as_long_as_most() -> None:
    backbone = random_backbone()
    table = backbone.item_table()
    rows = cold_item_rows(backbone, windows([1, 2, 31], [3, 31, 4], [5, 6]), 31, seed=0)
    expected = (table[1] + table[2]) / 2 + (table[3] + table[4]) / 2
    assert rows.shape == (1, 16)
    assert torch.cosine_similarity(rows[0], expected, dim=0) > 0.9999
    assert rows.norm(dim=1).item() == pytest.approx(table[1:].norm(dim=1).quantile(0.5).item(), rel=0.01)


def test_new_items_without_known_neighbours_differ_from_each_other() -> None:
    backbone = random_backbone()
    rows = cold_item_rows(backbone, windows([31, 32], [1, 2]), 33, seed=0)
    assert rows.isfinite().all()
    assert torch.pdist(rows).min() > 0.1
    assert torch.equal(rows, cold_item_rows(backbone, windows([31, 32], [1, 2]), 33, seed=0))


def test_no_new_item_needs_no_row() -> None:
    assert cold_item_rows(random_backbone(), windows([1, 2]), ITEMS, seed=0).shape == (0, 16)
