from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from raie.engine.backbones import Contexts
from raie.engine.bytes.arrays import pack
from raie.engine.config import AdapterConfig
from raie.engine.errors import DamagedArtifact, WrongBackbone
from raie.engine.training.adapter import Adapter, AdapterDelta, fresh_adapter, rows_read
from raie.engine.training.train_adapter import adapter_scores
from tests.raie_engine.world import (
    in_another_process,
    random_adapter,
    random_backbone,
    random_windows,
    with_transitions,
)

ITEMS, LENGTH = 30, 6
BACKBONE = random_backbone()
WINDOWS = random_windows(20, LENGTH, ITEMS)


def test_blobs_give_back_every_bit() -> None:
    adapter = random_adapter(BACKBONE, [2, 5, 30])
    again = Adapter.from_blobs(adapter.to_blobs())
    assert (again.backbone_digest, again.rank, again.alpha, again.vocab_size) == (BACKBONE.digest, 4, 8, ITEMS)
    assert again.item_ids.tolist() == [2, 5, 30]
    assert again.parameters().keys() == adapter.parameters().keys()
    assert all(torch.equal(again.parameters()[name], value) for name, value in adapter.parameters().items())
    assert again.to_blobs() == adapter.to_blobs()


def test_blobs_are_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    blobs = random_adapter(BACKBONE, [2, 5, 30]).to_blobs()
    code = """
import hashlib, json
from tests.raie_engine.world import random_adapter, random_backbone
blobs = random_adapter(random_backbone(), [2, 5, 30]).to_blobs()
print(json.dumps({role: hashlib.sha256(data).hexdigest() for role, data in sorted(blobs.items())}))
"""
    mine = {role: hashlib.sha256(data).hexdigest() for role, data in sorted(blobs.items())}
    assert json.loads(in_another_process(code)) == mine


def test_transition_counts_come_back_and_are_part_of_every_score() -> None:
    bare = random_adapter(BACKBONE, [2, 5, 30])
    adapter = with_transitions(bare)
    again = Adapter.from_blobs(adapter.to_blobs())
    assert again.to_blobs() == adapter.to_blobs()
    assert adapter.to_blobs().keys() - bare.to_blobs().keys() == {"transitions"}
    scores, alone = (adapter_scores(BACKBONE, scored)(WINDOWS) for scored in (again, bare))
    assert adapter.transitions is not None
    torch.testing.assert_close(scores, adapter.transitions.joined(alone, WINDOWS.items))
    assert not torch.equal(scores.argsort(), alone.argsort())


def test_counts_of_other_items_than_the_adapter_sees_are_refused() -> None:
    blobs = random_adapter(BACKBONE, [2]).to_blobs()
    longer = BACKBONE.with_item_rows(torch.ones(2, 16))
    others = with_transitions(random_adapter(longer, [2])).to_blobs()
    with pytest.raises(DamagedArtifact, match="transition counts of 30 items beside the adapter, found 32"):
        Adapter.from_blobs(blobs | {"transitions": others["transitions"]})


def test_an_adapter_that_trains_on_has_no_transition_counts_until_it_gets_them() -> None:
    start = with_transitions(random_adapter(BACKBONE, [5]))
    assert fresh_adapter(BACKBONE, AdapterConfig(), torch.tensor([7]), 0, start).transitions is None


def test_a_fresh_adapter_changes_no_score() -> None:
    adapter = fresh_adapter(BACKBONE, AdapterConfig(), torch.tensor([1, 2, 3]), seed=4)
    assert torch.equal(adapter_scores(BACKBONE, adapter)(WINDOWS), adapter_scores(BACKBONE, None)(WINDOWS))


def test_a_seed_gives_one_fresh_adapter() -> None:
    first, again, reseeded = (
        fresh_adapter(BACKBONE, AdapterConfig(), torch.tensor([1]), seed).to_blobs() for seed in (4, 4, 5)
    )
    assert first == again
    assert first["lora"] != reseeded["lora"]


def test_the_score_is_what_the_formula_says() -> None:
    """E_k = E + a B, read and scored with; score = h E_k^T + b, item by item."""
    adapter = random_adapter(BACKBONE, [2, 5, 30])
    table = BACKBONE.item_table().clone()
    for slot, item in enumerate([2, 5, 30]):
        table[item] += adapter.item_lora_a[slot] @ adapter.item_lora_b
    edited = type(BACKBONE).from_bytes(*BACKBONE.to_bytes())
    edited.items.weight.copy_(table)
    states = edited.encode(Contexts.of(WINDOWS), AdapterDelta(adapter.lora, adapter.scaling))
    expected = states @ table.T
    for slot, item in enumerate([2, 5, 30]):
        expected[:, item] += adapter.bias[slot]
    scored = adapter_scores(BACKBONE, adapter)(WINDOWS)
    assert scored[:, 0].isneginf().all()
    # 1e-4: single precision, scores of order ten.
    torch.testing.assert_close(scored[:, 1:], expected[:, 1:], rtol=0, atol=1e-4)


def test_rows_looked_up_are_those_of_the_whole_table() -> None:
    adapter = random_adapter(BACKBONE, [2, 5, 30])
    items = torch.from_numpy(WINDOWS.items).long()
    whole = adapter.item_rows(ITEMS)[items]
    torch.testing.assert_close(rows_read(adapter, items), whole, rtol=0, atol=1e-6)
    untouched = ~torch.isin(items, torch.tensor([2, 5, 30]))
    assert whole[untouched].abs().max() == 0
    assert (whole[~untouched] != 0).all()


def test_rows_of_an_older_kind_are_refused() -> None:
    """They were scored with and not read: taken for these, they would score something else."""
    blobs = random_adapter(BACKBONE, [2]).to_blobs()
    facts = {"kind": "item_rows", "backbone": BACKBONE.digest, "visible": ITEMS}
    arrays = {"touched": np.array([2]), "a": np.zeros((1, 3)), "b": np.zeros((3, 16)), "bias": np.zeros(1)}
    with pytest.raises(DamagedArtifact, match="item_rows 2"):
        Adapter.from_blobs(blobs | {"item_rows": pack(facts, arrays)})


def test_an_adapter_without_touched_items_still_scores() -> None:
    adapter = fresh_adapter(BACKBONE, AdapterConfig(), torch.zeros(0, dtype=torch.long), 0)
    again = Adapter.from_blobs(adapter.to_blobs())
    assert adapter_scores(BACKBONE, again)(WINDOWS).shape == (20, ITEMS + 1)


def test_an_adapter_of_another_backbone_is_refused() -> None:
    foreign = random_backbone(seed=1)
    with pytest.raises(WrongBackbone) as refused:
        random_adapter(BACKBONE, [1]).require(foreign)
    assert BACKBONE.digest[:12] in str(refused.value)
    assert foreign.digest[:12] in str(refused.value)
    random_adapter(BACKBONE, [1]).require(BACKBONE.with_item_rows(torch.ones(2, 16)))


def test_an_adapter_that_goes_on_keeps_its_old_rows_and_sees_the_new_items() -> None:
    start = random_adapter(BACKBONE, [5, 9])
    longer = BACKBONE.with_item_rows(torch.ones(2, 16))
    wider = fresh_adapter(longer, AdapterConfig(), torch.tensor([2, 9, 32]), 0, start)
    assert wider.item_ids.tolist() == [2, 5, 9, 32]
    assert (start.vocab_size, wider.vocab_size) == (ITEMS, ITEMS + 2)
    assert torch.equal(wider.item_lora_a[[1, 2]], start.item_lora_a)
    assert torch.equal(wider.bias[[1, 2]], start.bias)
    assert wider.item_lora_a[[0, 3]].abs().max() == 0
    assert wider.lora is start.lora
    before, after = adapter_scores(longer, start)(WINDOWS), adapter_scores(longer, wider)(WINDOWS)
    # 1e-5: the item rows are one product of another shape.
    torch.testing.assert_close(after[:, 1 : ITEMS + 1], before[:, 1 : ITEMS + 1], rtol=0, atol=1e-5)
    assert before[:, ITEMS + 1 :].isneginf().all()
    assert after[:, ITEMS + 1 :].isfinite().all()


def item_rows(**changed: np.ndarray) -> bytes:
    """The blob of an adapter for the items 2, 5 and 30, with some of its arrays replaced."""
    arrays = {
        "touched": np.array([2, 5, 30]),
        "a": np.zeros((3, 3), np.float32),
        "b": np.zeros((3, 16), np.float32),
        "bias": np.zeros(3, np.float32),
    }
    return pack({"kind": "item_rows 2", "backbone": BACKBONE.digest, "visible": ITEMS}, arrays | changed)


def config(**changed: object) -> Callable[[bytes], bytes]:
    return lambda data: json.dumps(json.loads(data) | changed).encode()


@pytest.mark.parametrize(
    ("role", "damage"),
    [
        ("lora", lambda data: data[:-1]),
        ("lora", lambda data: b""),
        ("lora_config", lambda data: data[:-1]),
        ("lora_config", lambda data: b"[]"),
        ("lora_config", lambda data: b"\xff"),
        ("lora_config", config(r="many")),
        ("lora_config", config(r=0)),
        ("item_rows", lambda data: data[:-1]),
        ("item_rows", lambda data: pack({"kind": "windows"}, {})),
        ("item_rows", lambda data: item_rows(touched=np.array([5, 2, 30]))),
        ("item_rows", lambda data: item_rows(touched=np.array([2, 2, 30]))),
        ("item_rows", lambda data: item_rows(touched=np.array([0, 2, 30]))),
        ("item_rows", lambda data: item_rows(touched=np.array([2, 5, 31]))),
        ("item_rows", lambda data: item_rows(bias=np.zeros(2, np.float32))),
        ("item_rows", lambda data: item_rows(a=np.zeros((2, 3), np.float32))),
    ],
)
def test_damaged_blobs_are_refused(role: str, damage: Callable[[bytes], bytes]) -> None:
    blobs = random_adapter(BACKBONE, [2, 5, 30]).to_blobs()
    with pytest.raises(DamagedArtifact):
        Adapter.from_blobs(blobs | {role: damage(blobs[role])})


def test_a_missing_blob_is_refused() -> None:
    blobs = random_adapter(BACKBONE, [2]).to_blobs()
    with pytest.raises(DamagedArtifact, match="lora_config"):
        Adapter.from_blobs({role: data for role, data in blobs.items() if role != "lora_config"})


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: {name: value for name, value in tensors.items() if "query" not in name},
        lambda tensors: tensors | {"base_model.model.other.lora_A.weight": torch.zeros(4, 16)},
        lambda tensors: {name: value[:2].contiguous() for name, value in tensors.items()},
    ],
    ids=["missing layers", "an unknown layer", "another rank"],
)
def test_tensors_that_do_not_fit_the_backbone_are_refused_before_they_score(
    change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]],
) -> None:
    blobs = random_adapter(BACKBONE, [2]).to_blobs()
    blobs["lora"] = save(change(load(blobs["lora"])), {"format": "pt"})
    with pytest.raises(DamagedArtifact, match="restore the blob"):
        Adapter.from_blobs(blobs).require(BACKBONE)


def test_an_adapter_that_saw_more_items_than_there_are_is_refused() -> None:
    longer = BACKBONE.with_item_rows(torch.ones(2, 16))
    with pytest.raises(DamagedArtifact, match="backbone of 30 items, found one for 32"):
        random_adapter(longer, [2]).require(BACKBONE)
