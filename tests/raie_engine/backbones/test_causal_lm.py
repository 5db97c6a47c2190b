"""A language model from a folder: what it reads, what it refuses, and what it takes along into a snapshot."""

from __future__ import annotations

import json
import socket
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from raie.engine.backbones import Contexts, ItemModel, backbone_class, load_backbone, require_contract
from raie.engine.config import BackboneConfig
from raie.engine.errors import ConfigError, DamagedArtifact
from raie.engine.training.adapter import AdapterDelta
from raie.engine.training.train_backbone import train_backbone
from tests.raie_engine.backbones.language_model import WORDS, language_model
from tests.raie_engine.world import random_adapter, random_windows, successor_windows

ITEMS, LENGTH = 30, 6
TITLES = ["first film", "", "the second film has no end"]
CONTEXTS = Contexts.of(random_windows(12, LENGTH, ITEMS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return language_model(tmp_path_factory.mktemp("model"))


def begun(folder: Path, titles: list[str] | None = None, **options: Any) -> ItemModel:
    config = BackboneConfig(kind="causal_lm", path=str(folder), **options)
    return backbone_class("causal_lm").begin(config, ITEMS, LENGTH, titles=titles or [])


def transformers_states(folder: Path, model: ItemModel, tokens: list[int]) -> torch.Tensor:
    """Hidden states [T, d] of the folder's own model, its vocabulary grown by the items as people do it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import AutoModelForCausalLM

        theirs = AutoModelForCausalLM.from_pretrained(folder)
        theirs.resize_token_embeddings(len(WORDS) + ITEMS + 1, mean_resizing=False)
    with torch.no_grad():
        theirs.get_input_embeddings().weight[len(WORDS) :] = model.items.weight
        return theirs(torch.tensor([tokens]), output_hidden_states=True).hidden_states[-1][0]


@pytest.mark.parametrize("titled", [False, True], ids=["items alone", "titles"])
def test_states_are_those_of_transformers_with_items_as_added_tokens(folder: Path, titled: bool) -> None:
    model = begun(folder, TITLES if titled else None, prompt="a user has seen", title_tokens=3).eval()
    token_of = {name: row for row, name in enumerate(WORDS)}
    tokens = [token_of[name] for name in ("<s>", "a", "user", "has", "seen")]
    titles = {1: ["first", "film"], 3: ["the", "second", "film"]} if titled else {}
    places = []
    for item in (3, 1, 2, 30):
        tokens += [*(token_of[name] for name in titles.get(item, [])), len(WORDS) + item]
        places.append(len(tokens) - 1)
    expected = transformers_states(folder, model, tokens)[places]
    states = model.states(Contexts(torch.tensor([[3, 1, 2, 30, 0, 0]])))[0, :4]
    torch.testing.assert_close(states, expected, rtol=0, atol=1e-5)


def test_an_item_row_begins_at_the_mean_of_the_words_of_its_title(folder: Path) -> None:
    model, bare = begun(folder, TITLES), begun(folder)
    words = model.words[[WORDS.index("first"), WORDS.index("film")]].mean(dim=0)  # type: ignore[attr-defined]
    torch.testing.assert_close(model.items.weight[1], bare.items.weight[1] + words)
    assert torch.equal(model.items.weight[2], bare.items.weight[2])
    assert model.items.weight[0].abs().max() == 0


def test_an_appended_item_is_read_with_its_title(folder: Path) -> None:
    model = begun(folder, TITLES).eval().requires_grad_(False)
    row = torch.zeros(1, model.dim)
    named, renamed, bare = (model.with_item_rows(row, titles) for titles in (["one film"], ["two film"], []))
    items = Contexts(torch.tensor([[1, ITEMS + 1, 2]]))
    assert not torch.equal(named.encode(items), renamed.encode(items))
    assert not torch.equal(named.encode(items), bare.encode(items))
    assert named.digest == bare.digest == model.digest


def test_nothing_is_fetched_and_the_folder_is_not_needed_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("it asked the network")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    copy = language_model(tmp_path / "model")
    model = begun(copy, TITLES).eval()
    config, weights = model.to_bytes()
    for file in copy.iterdir():
        file.unlink()
    again = load_backbone(config, weights)
    assert torch.equal(again.encode(CONTEXTS), model.encode(CONTEXTS))
    assert str(copy) not in config.decode()


def test_configuration_tokenizer_and_weights_are_all_in_the_digest(folder: Path, tmp_path: Path) -> None:
    digests = {begun(folder).digest, begun(folder, prompt="a user").digest, begun(folder, TITLES).digest}
    digests.add(begun(language_model(tmp_path / "seed", seed=1)).digest)
    digests.add(begun(language_model(tmp_path / "norm", rms_norm_eps=1e-5)).digest)
    second = language_model(tmp_path / "words")
    text = (second / "tokenizer.json").read_text()
    (second / "tokenizer.json").write_text(text.replace("third", "fourth"))
    digests.add(begun(second).digest)
    assert len(digests) == 6


@pytest.mark.parametrize("frozen", [False, True])
def test_item_rows_train_and_the_decoder_only_where_it_is_not_frozen(folder: Path, frozen: bool) -> None:
    config = BackboneConfig(kind="causal_lm", path=str(folder), freeze_decoder=frozen, epochs=1, batch=32)
    windows = successor_windows(60, 0)
    before = begun(folder).state_dict()
    model, _ = train_backbone(windows, windows.take(slice(0, 0)), ITEMS, config, positions=3, seed=0)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert "items.weight" in changed
    assert any(name.startswith("decoder.layers") for name in changed) != frozen


def test_gpt_2_whose_linear_layers_are_of_another_kind_carries_adapters_too(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from peft import PeftModel
        from transformers import GPT2Config, GPT2LMHeadModel

        options = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "vocab_size": 20}
        GPT2LMHeadModel(GPT2Config(**options)).save_pretrained(tmp_path / "model")
        model = begun(tmp_path / "model").eval().requires_grad_(False)
        require_contract(model.eval())
        model.eval()
        assert {name.split(".")[-1] for name in model.lora_targets} == {"c_attn", "c_proj", "c_fc"}
        adapter = random_adapter(model, [2])
        blobs = adapter.to_blobs()
        (tmp_path / "adapter_model.safetensors").write_bytes(blobs["lora"])
        (tmp_path / "adapter_config.json").write_bytes(blobs["lora_config"])
        copy = type(model).from_bytes(*model.to_bytes())
        theirs = PeftModel.from_pretrained(copy, str(tmp_path)).eval().base_model.model.encode(CONTEXTS)
    ours = model.encode(CONTEXTS, AdapterDelta(adapter.lora, adapter.scaling))
    assert (ours - model.encode(CONTEXTS)).abs().max() > 0.1
    assert (ours - theirs).abs().max() == 0


# --- What is refused


def emptied(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickled(folder: Path) -> None:
    emptied(folder)
    torch.save({}, folder / "pytorch_model.bin")


def cut_short(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100])


def configured(**changed: object) -> Any:
    def change(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changed))

    return change


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def with_code(folder: Path) -> None:
    configured(model_type="mine", auto_map={"AutoModel": "mine.Model", "AutoConfig": "mine.Config"})(folder)
    (folder / "mine.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")


def with_weights(name: str, *shape: int) -> Any:
    """The model with weights of this name beside its own."""

    def change(folder: Path) -> None:
        file = folder / "model.safetensors"
        save_file(load_file(file) | {name: torch.zeros(shape)}, file, {"format": "pt"})

    return change


def pointer_to(name: str) -> Any:
    """What a clone without git-LFS has instead of a file."""

    def change(folder: Path) -> None:
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"
        (folder / name).write_text(pointer)

    return change


def with_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": "who/what"})
    )
    save_file({"base_model.model.layers.0.self_attn.q_proj.lora_A.weight": torch.zeros(2, 16)}, adapter_of(folder))


def adapter_of(folder: Path) -> Path:
    return folder / "adapter_model.safetensors"


def adapter_alone(folder: Path) -> None:
    with_adapter(folder)
    emptied(folder)
    without_config(folder)


Q_PROJ = "model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (pointer_to("model.safetensors"), "model.safetensors, a git-LFS pointer.*git lfs pull"),
        (pointer_to("config.json"), "config.json, a git-LFS pointer"),
        (pointer_to("tokenizer.json"), "tokenizer.json, a git-LFS pointer"),
        (with_adapter, "adapter_config.json, an adapter beside the model; merge it"),
        (adapter_alone, "adapter_config.json, an adapter of PEFT alone; merge it"),
        (with_weights(f"{Q_PROJ}.lora_A.weight", 2, 16), "LoRA weights that were never merged"),
        (with_weights(f"{Q_PROJ}.bias", 16), f"no place for, such as {Q_PROJ}.bias"),
        (configured(attn_implementation="kernels-community/flash-attn2"), "fetched"),
        (configured(_attn_implementation={"": "who/kernel@main:attend"}), "fetched"),
        (configured(attn_implementation="flash_attention_2"), "set it to eager"),
        (configured(experts_implementation="sonicmoe"), "set it to eager"),
        (configured(text_config={"attn_implementation": "who/kernel"}), "fetched"),
        (configured(use_kernels=True), "kernels from a hub"),
        (
            configured(quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}),
            "quantized weights",
        ),
        (configured(transformers_weights="adapter_model.bin"), "weights under another name"),
    ],
    ids=lambda text: text[:40] if isinstance(text, str) else "",
)
def test_what_would_be_fetched_or_dropped_is_refused_with_the_way_out_and_no_socket_is_opened(
    change: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = language_model(tmp_path / "model")
    change(folder)
    monkeypatch.setattr(socket, "socket", unreachable)
    monkeypatch.setattr(socket, "create_connection", unreachable)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(ConfigError, match=said) as refused:
        begun(folder)
    assert "\n" not in str(refused.value)


def unreachable(*_: object, **__: object) -> None:
    raise AssertionError("it opened a socket")


def test_a_configuration_in_the_store_that_asks_for_a_kernel_fetches_nothing_either(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, weights = begun(folder).to_bytes()
    fields = json.loads(config)
    fields["decoder"]["attn_implementation"] = "who/kernel"
    monkeypatch.setattr(socket, "socket", unreachable)
    with pytest.raises(DamagedArtifact, match="nothing is fetched"):
        load_backbone(json.dumps(fields).encode(), weights)


def test_a_known_model_that_names_code_of_its_own_is_read_without_running_it(tmp_path: Path) -> None:
    folder = language_model(tmp_path / "model")
    plain = begun(folder).encode(CONTEXTS)
    configured(auto_map={"AutoModel": "mine.Model", "AutoConfig": "who/what--mine.Config"})(folder)
    (folder / "mine.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    model = begun(folder)
    assert torch.equal(load_backbone(*model.to_bytes()).encode(CONTEXTS), plain)
    assert not (folder / "ran").exists()


def test_a_token_that_the_decoder_has_no_embedding_of_would_be_read_as_an_item_and_is_refused(
    tmp_path: Path,
) -> None:
    folder = language_model(tmp_path / "model")
    added = {"id": len(WORDS), "content": "[PAD]", "special": True}
    added |= dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"added_tokens": [added]}))
    with pytest.raises(ConfigError, match=rf"{len(WORDS)} words .* token '\[PAD\]' with number {len(WORDS)}"):
        begun(folder)
    (folder / "tokenizer.json").write_text('{"model": 3}')
    with pytest.raises(ConfigError, match="expected the tokenizer of a model"):
        begun(folder)


SIZES = {"num_hidden_layers": 1, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
WINDOWED = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0}
MODELS = {
    "qwen2": SIZES,
    "qwen2 whose attention slides": SIZES | WINDOWED | {"tie_word_embeddings": True},
    "qwen3": SIZES | {"head_dim": 8},
    "mistral": SIZES | {"head_dim": 8},
    "gemma": SIZES | {"head_dim": 8},
    "phi": SIZES,
    "gpt_neox": SIZES,
    "opt": SIZES | {"word_embed_proj_dim": 16, "ffn_dim": 32},
}


@pytest.mark.parametrize("name", MODELS)
def test_what_is_trained_can_be_read_back_bit_by_bit(name: str, tmp_path: Path) -> None:
    """Known before hours of training: nothing that a configuration says may fit the model, but not its bytes."""
    model = begun(language_model(tmp_path / "model", kind=name.split()[0], **MODELS[name]))
    require_contract(model)
    again = load_backbone(*model.eval().to_bytes())
    assert again.digest == model.digest
    assert torch.equal(
        again.encode(CONTEXTS) @ again.item_table().T, model.encode(CONTEXTS) @ model.item_table().T
    )


@pytest.mark.parametrize(
    "change",
    [
        emptied,
        pickled,
        cut_short,
        without_config,
        with_code,
        configured(num_hidden_layers=3),
        configured(hidden_size=8),
        configured(hidden_size="wide"),
        configured(model_type="no_such_model"),
        configured(is_encoder_decoder=True),
    ],
    ids=[
        "no weights",
        "pickled weights",
        "weights cut short",
        "no configuration",
        "code of its own",
        "weights that lack a layer",
        "weights of another size",
        "a size that is text",
        "an unknown type",
        "an encoder",
    ],
)
def test_a_folder_that_holds_no_such_model_is_refused_in_one_line(change: Any, tmp_path: Path) -> None:
    folder = language_model(tmp_path / "model")
    change(folder)
    with pytest.raises(ConfigError, match="expected the folder of a causal language model") as refused:
        begun(folder)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500
    assert not (folder / "ran").exists()


def test_a_path_that_is_no_folder_is_refused_and_never_taken_for_a_name_on_a_hub(tmp_path: Path) -> None:
    for path in ("gpt2", tmp_path / "nowhere", Path(__file__)):
        with pytest.raises(ConfigError, match=r"set backbone\.path"):
            begun(Path(path))


def test_a_model_that_reads_the_future_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import BertConfig, BertModel

        options = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 20}
        BertModel(BertConfig(**options, intermediate_size=32)).save_pretrained(tmp_path)
    config, windows = BackboneConfig(kind="causal_lm", path=str(tmp_path)), successor_windows(10, 0)
    with pytest.raises(ConfigError, match="has read a later item"):
        train_backbone(windows, windows, ITEMS, config, positions=3, seed=0)


def test_windows_that_are_too_long_for_the_model_are_refused_with_the_sum(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"at most 128 tokens.*found up to 247: a prompt of 1 and 6 items of 41"):
        begun(folder, TITLES, title_tokens=40)


def test_a_prompt_or_titles_need_a_tokenizer_and_items_alone_need_none(tmp_path: Path) -> None:
    folder = language_model(tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    for options in ({"prompt": "a user"}, {"titles": TITLES}):
        with pytest.raises(ConfigError, match=r"expected tokenizer\.json"):
            begun(folder, **options)
    require_contract(begun(folder))
    (folder / "tokenizer.json").write_text("[]")
    with pytest.raises(ConfigError, match="expected the tokenizer of a model"):
        begun(folder)


def test_without_title_tokens_titles_are_not_read(folder: Path) -> None:
    assert begun(folder, TITLES, title_tokens=0).digest == begun(folder).digest
    config = BackboneConfig(kind="causal_lm", path=str(folder))
    with pytest.raises(ConfigError, match="title_tokens"):
        replace(config, title_tokens=-1)
