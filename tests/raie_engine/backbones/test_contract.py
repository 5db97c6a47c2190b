"""Backbones that do what a backbone must not, and files of one's own that are none."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from raie.engine.backbones import (
    Bert4Rec,
    Bert4RecShape,
    Contexts,
    ItemModel,
    ModelShape,
    SasRec,
    TiSasRec,
    TiSasRecShape,
    backbone_class,
    load_backbone,
    require_contract,
)
from raie.engine.backbones.linear_layers import last_layers, linear_shapes, with_delta
from raie.engine.config import BackboneConfig
from raie.engine.errors import ConfigError, WrongBackbone
from raie.engine.training.train_backbone import train_backbone
from tests.raie_engine.world import random_windows

WINDOWS = random_windows(10, 6, 30)
MADE = itertools.count()
SHAPE = ModelShape(items=30, length=6, dim=16, layers=1, heads=2)


class Plain(ItemModel):
    """A running mean of the items and one linear layer: the least that is a backbone."""

    kind = "file"

    def __init__(self, shape: ModelShape, dropout: float = 0.0) -> None:
        super().__init__(shape, dropout)
        self.out = nn.Linear(shape.dim, shape.dim)

    def states(self, contexts: Contexts) -> Tensor:
        return self.out(self.embedded(contexts.items).cumsum(dim=1))


class Leaks(Plain):
    def states(self, contexts: Contexts) -> Tensor:
        return self.out(self.embedded(contexts.items).flip(1).cumsum(dim=1).flip(1))


class ReadsItsBatch(Plain):
    def states(self, contexts: Contexts) -> Tensor:
        states = super().states(contexts)
        return states - states.mean(dim=0)


class HasAnIdleLayer(Plain):
    def __init__(self, shape: ModelShape, dropout: float = 0.0) -> None:
        super().__init__(shape, dropout)
        self.idle = nn.Linear(shape.dim, shape.dim)


class GoesAroundItsLayer(Plain):
    def states(self, contexts: Contexts) -> Tensor:
        return nn.functional.linear(self.embedded(contexts.items).cumsum(dim=1), self.out.weight)


class ReadsAroundTheTable(Plain):
    def states(self, contexts: Contexts) -> Tensor:
        return self.out(self.items(contexts.items).cumsum(dim=1))


class IsTooWide(Plain):
    def states(self, contexts: Contexts) -> Tensor:
        return super().states(contexts).repeat(1, 1, 2)


class ForgetsTheLastItem(Plain):
    def states(self, contexts: Contexts) -> Tensor:
        return super().states(Contexts(nn.functional.pad(contexts.items, (1, 0))[:, :-1]))


class IsInfinite(Plain):
    def states(self, contexts: Contexts) -> Tensor:
        return super().states(contexts) / 0


class SaysNothing(ItemModel):
    kind = "file"


class KeepsANumberToItself(Plain):
    def __init__(self, shape: ModelShape, dropout: float = 0.0) -> None:
        super().__init__(shape, dropout)
        self.register_buffer("added", torch.tensor(float(next(MADE))), persistent=False)

    def states(self, contexts: Contexts) -> Tensor:
        return super().states(contexts) + self.added


class CannotBeReadBack(Plain):
    def to_bytes(self) -> tuple[bytes, bytes]:
        config, weights = super().to_bytes()
        return config.replace(b'"layers":1', b'"layers":0'), weights


class Fails(Plain):
    def states(self, contexts: Contexts) -> Tensor:
        return self.out(contexts.items)


BROKEN = {
    Leaks: "has read a later item",
    ReadsItsBatch: "depends on the other windows",
    HasAnIdleLayer: "'idle' is not called",
    GoesAroundItsLayer: "'out' is used around its call",
    ReadsAroundTheTable: "around `embedded`",
    IsTooWide: r"whose states are \(4, 32\)",
    ForgetsTheLastItem: "do not depend on the last item",
    IsInfinite: "not finite",
    SaysNothing: "to define `states`",
    Fails: "found RuntimeError",
    KeepsANumberToItself: "are others once it was stored",
    CannotBeReadBack: "cannot be read back once it is stored",
}


def test_a_backbone_that_keeps_to_the_contract_passes_and_stays_as_it_was() -> None:
    state = torch.get_rng_state()
    for model in (
        Plain.fresh(SHAPE),
        SasRec.fresh(SHAPE, dropout=0.5),
        Bert4Rec.fresh(Bert4RecShape(30, 6, 16, 1, 2), dropout=0.5),
        TiSasRec.fresh(TiSasRecShape(30, 6, 16, 1, 2), dropout=0.5),
        SasRec.fresh(ModelShape(items=1, length=1, dim=2, layers=1, heads=1)),
    ):
        digest = model.digest
        require_contract(model)
        assert type(model).from_bytes(*model.to_bytes()).digest == digest
        assert model.training
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", list(BROKEN), ids=lambda kind: kind.__name__)
def test_a_backbone_that_breaks_it_is_refused_with_the_reason_before_it_trains(kind: type[ItemModel]) -> None:
    with pytest.raises(ConfigError, match=BROKEN[kind]) as refused:
        require_contract(kind.fresh(SHAPE))
    assert "\n" not in str(refused.value)


def test_torchs_own_attention_carries_no_adapter_and_the_layers_beside_it_do() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32)
    assert set(linear_shapes(layer)) == {"linear1", "linear2"}


def test_a_model_with_a_delta_shares_its_weights_and_leaves_the_model_alone() -> None:
    model, items = Plain.fresh(SHAPE).eval(), Contexts(torch.tensor([[1, 2, 3]]))
    before = model.states(items)
    shifted = with_delta(model, lambda name, layer, inputs: layer(inputs) + 1)
    assert torch.equal(shifted.states(items), before + 1)
    assert torch.equal(model.states(items), before)
    assert shifted.items.weight is model.items.weight


# --- Files of one's own

FILE = """
from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from raie.engine.backbones import ItemModel


@dataclass(frozen=True)
class Scale:
    by: float = 2.0


class Backbone(ItemModel):
    def __init__(self, shape, dropout=0.0):
        super().__init__(shape, dropout)
        self.out = nn.Linear(shape.dim, shape.dim)

    def states(self, contexts):
        return self.out(self.embedded(contexts.items).cumsum(dim=1)) * Scale().by
"""


@pytest.fixture
def backbone_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def begun(backbone_file: Path) -> ItemModel:
    config = BackboneConfig(kind="file", path=str(backbone_file), dim=16, layers=1)
    return backbone_class("file", backbone_file).begin(config, 30, 6)


def test_the_text_of_a_file_is_part_of_the_configuration_and_of_the_digest(backbone_file: Path) -> None:
    model = begun(backbone_file)
    require_contract(model)
    config, weights = model.to_bytes()
    assert json.loads(config)["source"] == FILE
    assert load_backbone(config, weights, backbone_file).digest == model.digest
    backbone_file.write_text(FILE + "# a remark\n")
    assert begun(backbone_file).to_bytes()[1] == weights
    assert begun(backbone_file).digest != model.digest


def test_the_stored_text_never_runs(backbone_file: Path, tmp_path: Path) -> None:
    config, weights = begun(backbone_file).to_bytes()
    trap = tmp_path / "trap"
    evil = json.dumps(json.loads(config) | {"source": f"open({str(trap)!r}, 'w')\n{FILE}"}).encode()
    for given in (backbone_file, None):
        with pytest.raises(WrongBackbone):
            load_backbone(evil, weights, given)
    assert not trap.exists()


@pytest.mark.parametrize("change", ["edited", "gone", "not named", "not text"])
def test_another_file_than_the_one_of_the_setup_is_refused_before_it_runs(
    backbone_file: Path, change: str
) -> None:
    config, weights = begun(backbone_file).to_bytes()
    given: Path | None = backbone_file
    match change:
        case "edited":
            backbone_file.write_text(f"raise SystemExit('it ran')\n{FILE}")
        case "gone":
            backbone_file.unlink()
        case "not named":
            given = None
        case "not text":
            backbone_file.write_bytes(b"\xff\xfe")
    with pytest.raises((WrongBackbone, ConfigError), match=r"expected (the )?Python") as refused:
        load_backbone(config, weights, given)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found no such name"),
        ("class Backbone: pass", "that is an ItemModel"),
        ("Backbone = 3", "that is an ItemModel"),
        ("class Backbone(:", "found SyntaxError"),
        ("import no_such_library", "found ModuleNotFoundError"),
        (FILE.replace("shape, dropout=0.0", "shape"), "found TypeError"),
    ],
)
def test_a_file_without_a_backbone_is_refused(backbone_file: Path, text: str, message: str) -> None:
    backbone_file.write_text(text)
    config = BackboneConfig(kind="file", path=str(backbone_file), dim=16, layers=1)
    with pytest.raises(ConfigError, match=message) as refused:
        train_backbone(WINDOWS, WINDOWS, 30, config, positions=3, seed=0)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"backbone\.path"):
        begun(tmp_path / "nowhere.py")


@pytest.mark.parametrize(
    ("names", "last"),
    [
        (["blocks.0.up", "blocks.1.up", "blocks.1.down", "head"], ["blocks.1.up", "blocks.1.down", "head"]),
        (["layers.9.q", "layers.10.q"], ["layers.10.q"]),
        (["decoder.layers.0.experts.3.up", "decoder.layers.1.experts.0.up"], ["decoder.layers.1.experts.0.up"]),
        (["0.up", "1.up"], ["1.up"]),
        (["out", "conv2d"], ["out", "conv2d"]),
        ([], []),
    ],
)
def test_the_last_layers_are_those_of_the_last_block_and_those_outside(names: list[str], last: list[str]) -> None:
    assert last_layers(names) == set(last)


class ReadsItsPadding(Plain):
    def states(self, contexts: Contexts) -> Tensor:
        return super().states(contexts) * contexts.items.shape[1]


def test_a_backbone_whose_states_depend_on_the_padding_behind_a_window_is_refused() -> None:
    with pytest.raises(ConfigError, match="depend on the padding behind them; read contexts of any width"):
        require_contract(ReadsItsPadding.fresh(SHAPE))
