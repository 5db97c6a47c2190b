"""An exported adapter gives plain PEFT the same hidden states, comes back bit for bit, and a wrong folder is one line."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from raie.engine.adapter_folder.base_model import base_files, base_names, load_base
from raie.engine.adapter_folder.card import card
from raie.engine.adapter_folder.files import (
    ADAPTER_FILE,
    CONFIG_FILE,
    FACTS_FILE,
    ITEM_ROWS_FILE,
    FolderFacts,
    adapter_files,
    read_adapter,
    read_facts,
)
from raie.engine.backbones import Backbone, Contexts, backbone_class
from raie.engine.config import AdapterConfig, BackboneConfig
from raie.engine.data.catalogue import Catalogue
from raie.engine.errors import ConfigError, EngineError, InputError, NotFinite, WrongBackbone
from raie.engine.training.adapter import Adapter, AdapterDelta, fresh_adapter
from tests.raie_engine.backbones.language_model import language_model
from tests.raie_engine.world import (
    ITEMS,
    LENGTH,
    random_adapter,
    random_backbone,
    random_windows,
    with_transitions,
)

MORE = 2
CATALOGUE = Catalogue(items=tuple(f"item {row}" for row in range(1, ITEMS + MORE + 1)))
CONTEXTS = Contexts.of(random_windows(12, LENGTH, ITEMS + MORE))
TOLERANCE = 1e-5

with warnings.catch_warnings():
    # What peft's and transformers' own imports warn of is not ours to fix.
    warnings.simplefilter("ignore")
    from peft import PeftModel
    from transformers import AutoModelForCausalLM


def items_backbone() -> Backbone:
    rows = torch.randn(MORE, 16, generator=torch.Generator().manual_seed(3))
    return random_backbone().with_item_rows(rows)


def facts_of(backbone: Backbone, adapter: Adapter, **changed: Any) -> FolderFacts:
    names = base_names(backbone)
    values = {"model": "recsys", "snapshot": "0" * 64, "region": 3, "version": 2, "backbone": backbone.digest}
    values |= {
        "base": "base",
        "base_digest": names.digest,
        "layout": names.layout,
        "vocab_size": adapter.vocab_size,
    }
    return FolderFacts(**values | {"files": {}} | changed)  # type: ignore[arg-type]


def written(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def put_on(model: Any, folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PeftModel.from_pretrained(model, str(folder)).eval()


def read(folder: Path, backbone: Backbone) -> Adapter:
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return read_adapter(files, facts_of(backbone, read_back(files)), backbone, base_names(backbone))


def read_back(files: dict[str, bytes]) -> Any:
    return read_facts(files[FACTS_FILE])


def exported(folder: Path, backbone: Backbone, adapter: Adapter) -> Path:
    files = adapter_files(adapter, base_names(backbone), "base")
    return written(folder, {**files, FACTS_FILE: facts_of(backbone, adapter).to_bytes()})


def test_plain_peft_gives_the_same_states_on_the_exported_sasrec(tmp_path: Path) -> None:
    backbone = items_backbone()
    adapter = random_adapter(backbone, [2, 5, 30, ITEMS + 1])
    base = written(tmp_path / "base", base_files(backbone, CATALOGUE))
    model = put_on(load_base(base), exported(tmp_path / "adapter", backbone, adapter))
    with torch.no_grad():
        theirs = model(CONTEXTS.items)
    delta = AdapterDelta(adapter.lora, adapter.scaling, adapter.item_rows(ITEMS + MORE))
    ours, frozen = backbone.encode(CONTEXTS, delta), backbone.encode(CONTEXTS)
    without_items = backbone.encode(CONTEXTS, AdapterDelta(adapter.lora, adapter.scaling))
    assert min((ours - frozen).abs().max(), (ours - without_items).abs().max()) > 0.1, (
        "an adapter that does nothing"
    )
    torch.testing.assert_close(theirs, ours, rtol=0, atol=TOLERANCE)
    rows = [json.loads(line) for line in (base / "items.jsonl").read_text().splitlines()]
    assert rows[4] == {"row": 5, "item": "item 5"}


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_plain_peft_gives_the_same_states_on_the_exported_language_model(kind: str, tmp_path: Path) -> None:
    """From the files alone: transformers loads the base, PEFT the adapter, and the files say what a window is."""
    config = BackboneConfig(
        kind="causal_lm", path=str(language_model(tmp_path / "llm", kind=kind)), prompt="a user has seen"
    )
    begun = backbone_class("causal_lm").begin(config, ITEMS, LENGTH, titles=["first film", "", "the second film"])
    backbone = begun.eval().requires_grad_(False).with_item_rows(torch.full((MORE, 16), 0.05), ["third film"])
    adapter = random_adapter(backbone, [1, 3, ITEMS + 1])
    base = written(tmp_path / "base", base_files(backbone, CATALOGUE))
    folder = exported(tmp_path / "adapter", backbone, adapter)
    facts = json.loads((base / "raie_base.json").read_text())
    tokens_of = [json.loads(line)["tokens"] for line in (base / "items.jsonl").read_text().splitlines()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = AutoModelForCausalLM.from_pretrained(base)
    model = put_on(plain, folder)
    delta = AdapterDelta(adapter.lora, adapter.scaling, adapter.item_rows(ITEMS + MORE))
    ours = backbone.encode(CONTEXTS, delta)
    scores = ours @ (backbone.item_table() + adapter.item_rows(ITEMS + MORE)).T
    for row, items in enumerate(CONTEXTS.items):
        tokens = [*facts["prompt"], *(t for item in items[items != 0].tolist() for t in tokens_of[item - 1])]
        with torch.no_grad():
            answer = model(torch.tensor([tokens]), output_hidden_states=True)
        torch.testing.assert_close(answer.hidden_states[-1][0, -1], ours[row], rtol=0, atol=TOLERANCE)
        scored = answer.logits[0, -1, facts["first_item_token"] :]
        torch.testing.assert_close(scored, scores[row], rtol=0, atol=1e-4)
    assert (ours - backbone.encode(CONTEXTS)).abs().max() > 0.1
    assert read(folder, backbone).to_blobs() == adapter.to_blobs()


@pytest.mark.parametrize(
    "made",
    [
        lambda backbone: random_adapter(backbone, [2, 5, 30]),
        lambda backbone: with_transitions(random_adapter(backbone, [2, 5, 30])),
        lambda backbone: random_adapter(backbone, []),
        lambda backbone: random_adapter(random_backbone(), [2]),
        lambda backbone: fresh_adapter(backbone, AdapterConfig(alpha=3), torch.tensor([1, 9]), seed=4),
        lambda backbone: fresh_adapter(backbone, AdapterConfig(item_rank=0), torch.tensor([1, 9]), seed=4),
    ],
    ids=["items", "transitions", "no items", "fewer items", "untrained", "no item rows"],
)
def test_an_adapter_comes_back_bit_for_bit(made: Callable[[Backbone], Adapter], tmp_path: Path) -> None:
    backbone = items_backbone()
    adapter = made(backbone)
    folder = exported(tmp_path / "adapter", backbone, adapter)
    assert read(folder, backbone).to_blobs() == adapter.to_blobs()
    model = put_on(load_base(written(tmp_path / "base", base_files(backbone, CATALOGUE))), folder)
    delta = AdapterDelta(adapter.lora, adapter.scaling, adapter.item_rows(ITEMS + MORE))
    with torch.no_grad():
        torch.testing.assert_close(model(CONTEXTS.items), backbone.encode(CONTEXTS, delta), rtol=0, atol=TOLERANCE)


def test_an_adapter_that_peft_trained_on_and_saved_comes_in(tmp_path: Path) -> None:
    backbone = items_backbone()
    folder = exported(tmp_path / "adapter", backbone, random_adapter(backbone, [2, 5]))
    base = load_base(written(tmp_path / "base", base_files(backbone, CATALOGUE)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PeftModel.from_pretrained(base, str(folder), is_trainable=True)
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
        for _ in range(2):
            model(torch.tensor([[2, 7, 0]])).square().sum().backward()
            optimizer.step()
        model.save_pretrained(str(tmp_path / "saved"), save_embedding_layers=False)
    (tmp_path / "saved" / FACTS_FILE).write_bytes((folder / FACTS_FILE).read_bytes())
    adapter = read(tmp_path / "saved", backbone)
    assert adapter.item_ids.tolist() == [2, 5, 7]
    with torch.no_grad():
        theirs = model.eval()(CONTEXTS.items)
    delta = AdapterDelta(adapter.lora, adapter.scaling, adapter.item_rows(ITEMS + MORE))
    torch.testing.assert_close(theirs, backbone.encode(CONTEXTS, delta), rtol=0, atol=TOLERANCE)


def config(**changed: object) -> Callable[[dict[str, bytes]], object]:
    return lambda files: files.update({CONFIG_FILE: json.dumps(json.loads(files[CONFIG_FILE]) | changed).encode()})


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[dict[str, bytes]], object]:
    def damage(files: dict[str, bytes]) -> None:
        values = load(files[ADAPTER_FILE])
        change(values)
        files[ADAPTER_FILE] = save(values, {"format": "pt"})

    return damage


LAYER = "base_model.model.blocks.0.query.lora_A.weight"
ROWS = "base_model.model.items.lora_embedding_A"


def column(row: int) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda values: values[ROWS][:, row].fill_(1.0)


WRONG: dict[str, tuple[Callable[[dict[str, bytes]], object], str]] = {
    "no facts": (lambda files: files.update({FACTS_FILE: b"{}"}), "expected the facts"),
    "facts that are a list": (lambda files: files.update({FACTS_FILE: b"[]"}), "expected the facts"),
    "no config": (lambda files: files.pop(CONFIG_FILE), f"expected {CONFIG_FILE} in the folder"),
    "no tensors": (lambda files: files.pop(ADAPTER_FILE), f"expected {ADAPTER_FILE} in the folder"),
    "no JSON": (lambda files: files.update({CONFIG_FILE: b"r = 4"}), f"expected {CONFIG_FILE} as JSON"),
    "no safetensors": (lambda files: files.update({ADAPTER_FILE: b"pickle"}), "expected safetensors"),
    "another kind": (config(peft_type="IA3"), "found 'IA3'"),
    "a rank that is none": (config(r="4"), "expected r as a whole number"),
    "another rank": (config(r=8), "of shape [8, 16]"),
    "DoRA": (config(use_dora=True), "found use_dora"),
    "biases": (config(bias="all"), "found bias"),
    "a pattern that is none": (config(rank_pattern={"items": "x"}), "expected numbers by layer"),
    "a layer less": (tensors(lambda values: values.pop(LAYER)), "found none; it belongs to another model"),
    "a layer more": (
        tensors(lambda v: v.update({"other.lora_A.weight": torch.zeros(1)})),
        "found 'other.lora_A.weight' too",
    ),
    "half precision": (tensors(lambda v: v.update({LAYER: v[LAYER].half()})), "found float16 in"),
    "another shape": (tensors(lambda v: v.update({LAYER: v[LAYER][:, :3].contiguous()})), "found [4, 3]"),
    "not a number": (tensors(lambda v: v[LAYER].fill_(float("nan"))), "found NaN or infinity"),
    "the padding": (tensors(column(0)), "found one of row 0 to 30"),
    "an item it does not know": (tensors(column(ITEMS + MORE)), f"found one of row 2 to {ITEMS + MORE}"),
    "more rows": (tensors(lambda v: v.update({ROWS: torch.zeros(3, 99)})), "found shape [3, 99]"),
    "rows of another kind": (lambda files: files.update({ITEM_ROWS_FILE: b"rows"}), "expected item rows"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_a_folder_is_said_in_one_line(name: str) -> None:
    backbone = items_backbone()
    adapter = random_adapter(random_backbone(), [2, 5, 30])
    files = adapter_files(adapter, base_names(backbone), "base")
    files[FACTS_FILE] = facts_of(backbone, adapter).to_bytes()
    damage, words = WRONG[name]
    damage(files)
    with pytest.raises(EngineError) as refused:
        read_adapter(files, read_facts(files[FACTS_FILE]), backbone, base_names(backbone))
    assert words in str(refused.value)
    assert str(refused.value).startswith("expected ")
    assert "\n" not in str(refused.value)
    assert isinstance(refused.value, InputError | NotFinite)


def test_an_adapter_of_another_backbone_does_not_come_in() -> None:
    backbone, foreign = items_backbone(), random_backbone(seed=1)
    adapter = random_adapter(foreign, [2])
    files = adapter_files(adapter, base_names(foreign), "base")
    with pytest.raises(
        WrongBackbone, match=f"expected an adapter of backbone {backbone.digest[:12]}, found one of"
    ):
        read_adapter(files, facts_of(foreign, adapter), backbone, base_names(backbone))


def test_the_files_are_the_same_bytes_again_and_the_base_is_named_by_its_rows() -> None:
    backbone = items_backbone()
    adapter = random_adapter(backbone, [2, 5])
    assert adapter_files(adapter, base_names(backbone), "base") == adapter_files(
        adapter, base_names(backbone), "base"
    )
    assert base_names(backbone).digest != base_names(random_backbone()).digest


def test_the_card_says_what_does_not_travel_and_escapes_what_people_typed() -> None:
    backbone = items_backbone()
    adapter = with_transitions(random_adapter(backbone, [2]))
    name = 'x"\n---\nlicense: mit <script>alert(1)</script> [a](http://b) | `c`'
    text = card(facts_of(backbone, adapter, model=name, base=name), adapter, mixed=True).decode()
    front, _, body = text.removeprefix("---\n").partition("\n---\n")
    assert json.loads(front.splitlines()[0].removeprefix("base_model: ")) == name.replace("\n", " ")
    assert front.splitlines()[1] == "base_model_relation: adapter"
    assert not any(line.startswith("license") for line in text.splitlines())
    assert "<script>" not in body
    assert "](http" not in body
    for left_out in ("bias of each item", "transition counts", "mixture", "Which users"):
        assert left_out in body
    assert backbone.digest in body


def test_a_language_model_that_scales_its_embedding_is_refused(tmp_path: Path) -> None:
    folder = language_model(tmp_path / "llm", kind="gemma3_text", head_dim=8)
    config = BackboneConfig(kind="causal_lm", path=str(folder))
    backbone = backbone_class("causal_lm").begin(config, ITEMS, LENGTH).eval().requires_grad_(False)
    with pytest.raises(ConfigError, match="this kind of model cannot be exported"):
        base_names(backbone)
