"""The folder of a causal language model, as Hugging Face lays them out: looked at first, then loaded without a network.

Whatever would be fetched, would run, or would be dropped in silence is refused in one line before anything trains:
kernels from a hub, quantized weights, git-LFS pointers, adapters beside the model or inside its weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from tokenizers import Tokenizer
from transformers import CONFIG_MAPPING, AutoModel, AutoModelForCausalLM
from transformers.utils import logging

from raie.engine.errors import ConfigError

__all__ = ["bare_causal_model", "bare_decoder", "offline", "read_decoder", "read_tokenizer", "require_known_words"]

_POINTER = b"version https://git-lfs"
_PEFT = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
_BUILT_IN = {
    "attn_implementation": (None, "eager", "sdpa", "flex_attention"),
    "experts_implementation": (None, "eager", "batched_mm", "grouped_mm"),
}
"""Ways to compute that are part of transformers itself; any other is a kernel, of a hub or of another package."""
_UNREADABLE = {
    "quantization_config": "quantized weights",
    "compression_config": "quantized weights",
    "kernel_config": "kernels from a hub",
    "use_kernels": "kernels from a hub",
    "fusion_config": "layers that are changed while they load",
    "distributed_config": "a model spread over several devices",
    "transformers_weights": "weights under another name",
}
"""Keys of config.json that mean something else than the plain weights beside it, and what."""
_NO_PART = ("_name_or_path", "name_or_path")
"""Where a model lay on somebody's machine is no part of it."""
_CODE = ("auto_map", "custom_pipelines")
_RECOMPUTED = re.compile(r"(\.inv_freq|(attn|attention)\.(masked_)?bias)$")
"""What older checkpoints carry in their layers and every model computes itself: rotations and causal masks."""


def read_decoder(folder: Path) -> tuple[dict[str, Any], Any]:
    """The config.json of a model folder, and the decoder with its weights in single precision.

    Args:
        folder: the folder.

    Returns:
        the fields that go into the backbone's configuration, and transformers' module.

    Raises:
        ConfigError: for a folder that does not hold the whole of a causal language model, in one line.
    """
    expected = f"expected the folder of a causal language model with config.json and safetensors in {folder}"
    if not folder.is_dir():
        raise ConfigError(f"{expected}, found {'a file' if folder.exists() else 'nothing'}; set backbone.path")
    try:
        _require_whole(folder)
        fields = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if not isinstance(fields, dict):
            raise ValueError("a config.json that is no object")
        fields = {name: value for name, value in fields.items() if name not in _NO_PART}
        decoder, info = _loaded(folder, fields)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        RuntimeError,
        AttributeError,
        ImportError,
        SafetensorError,
    ) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{expected}, found: {reason:.300}") from error
    if info["missing_keys"] or info["mismatched_keys"]:
        raise ConfigError(f"{expected}, found weights that lack {sorted(info['missing_keys'])[:3]}")
    if dropped := _dropped(info["unexpected_keys"]):
        raise ConfigError(f"{expected}, found {dropped}")
    return fields, decoder


def bare_decoder(fields: Mapping[str, Any]) -> Any:
    """transformers' module of these fields of config.json, with weights that are yet to be set.

    Args:
        fields: of config.json.

    Returns:
        The module.

    Raises:
        ValueError: where they make none, or would fetch something.
    """
    with offline():
        return AutoModel.from_config(_decoder_config(fields), trust_remote_code=False, dtype=torch.float32)


def bare_causal_model(fields: Mapping[str, Any], words: int) -> Any:
    """transformers' causal model around such a decoder, with a head of its own over so many words.

    Args:
        fields: of config.json.
        words: rows of the embedding and of the head.

    Returns:
        The module, with weights that are yet to be set.

    Raises:
        ValueError: where they make none, or would fetch something.
    """
    sized = {**fields, "vocab_size": words, "tie_word_embeddings": False}
    with offline():
        return AutoModelForCausalLM.from_config(
            _decoder_config(sized), trust_remote_code=False, dtype=torch.float32
        )


def read_tokenizer(folder: Path) -> str | None:
    """The text of tokenizer.json; None where the folder has none.

    Args:
        folder: the folder.

    Returns:
        The text.

    Raises:
        ConfigError: for a file that is something else.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    try:
        text = file.read_bytes().decode()
        if "model" in json.loads(text):
            _tokenizer(text)
            return text
    except (ValueError, TypeError):
        pass
    raise ConfigError(f"expected the tokenizer of a model in {file}, found something else; copy it again")


def require_known_words(tokenizer: str, words: int) -> None:
    """Checks that the decoder has an embedding of every token.

    An item's token counts on from the last word, so a token beyond it would be read as an item.

    Args:
        tokenizer: the text of tokenizer.json.
        words: rows of the decoder's embedding.

    Raises:
        ConfigError: for a token without an embedding.
    """
    token, largest = max(
        _tokenizer(tokenizer).get_vocab(with_added_tokens=True).items(), key=lambda entry: entry[1]
    )
    if largest >= words:
        raise ConfigError(
            f"expected a tokenizer.json for the {words} words that the model in backbone.path has embeddings of, found "
            f"token {token!r:.40} with number {largest}; bring the tokenizer that the model was saved with, or the model "
            "after its embeddings were resized"
        )


@contextmanager
def offline() -> Iterator[None]:
    """transformers without its progress bars and reports, on a hub client that makes no request.

    `local_files_only` speaks of weights alone: a kernel, or an adapter's base model, is asked for elsewhere.
    """
    verbosity, bars, was_offline = (
        logging.get_verbosity(),
        logging.is_progress_bar_enabled(),
        constants.HF_HUB_OFFLINE,
    )
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = was_offline
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _loaded(folder: Path, fields: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The decoder by the way transformers loads any, and its report of what did not fit."""
    with offline():
        decoder, info = AutoModel.from_pretrained(
            folder,
            config=_decoder_config(fields),
            local_files_only=True,
            adapter_kwargs={"local_files_only": True},
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    return decoder, info


def _decoder_config(fields: Mapping[str, Any]) -> Any:
    """transformers' configuration of these fields of config.json. Raises: ValueError where they make none."""
    kind = fields.get("model_type")
    if kind not in CONFIG_MAPPING or fields.get("is_encoder_decoder"):
        code = "; code that a folder brings never runs" if any(fields.get(key) for key in _CODE) else ""
        raise ValueError(f"a model of type {kind!r}, which is not one of a decoder alone{code}")
    _require_plain(fields)
    try:
        # A model that transformers knows needs no code of its own, and so none is named to it.
        return CONFIG_MAPPING[kind].from_dict({name: value for name, value in fields.items() if name not in _CODE})
    except StrictDataclassError as error:
        raise ValueError(str(error)) from error


def _require_plain(fields: Mapping[str, Any]) -> None:
    """Raises: ValueError for a key, at any depth, that asks for more than the plain weights in the folder."""
    for name, value in fields.items():
        if value and name in _UNREADABLE:
            raise ValueError(f"{name} in config.json, which means {_UNREADABLE[name]}; save the model without")
        _require_built_in(name, value)
        for element in value if isinstance(value, list) else [value]:
            if isinstance(element, Mapping):
                _require_plain(element)


def _require_built_in(name: str, value: object) -> None:
    known = _BUILT_IN.get(name.lstrip("_").removesuffix("_internal"))
    for chosen in value.values() if isinstance(value, Mapping) else [value]:
        if known is not None and chosen not in known:
            raise ValueError(
                f"{name} = {chosen!r:.80} in config.json, which a hub or another package would have to give; nothing is "
                "fetched: delete that key, or set it to eager"
            )


def _require_whole(folder: Path) -> None:
    """Raises: ValueError for a folder of an adapter, and for one whose large files were never downloaded."""
    adapter = next((name for name in _PEFT if (folder / name).exists()), None)
    if adapter is not None:
        alone = (
            "an adapter of PEFT alone" if not (folder / "config.json").exists() else "an adapter beside the model"
        )
        raise ValueError(
            f"{adapter}, {alone}; merge it into its base model (PEFT: merge_and_unload, then save_pretrained) and name "
            "that folder, or take the adapter's files away"
        )
    for file in sorted(folder.iterdir()):
        if file.suffix in (".json", ".safetensors") and file.is_file() and _begins(file, _POINTER):
            raise ValueError(
                f"{file.name}, a git-LFS pointer instead of the file; run `git lfs pull` there, or download it"
            )


def _begins(file: Path, beginning: bytes) -> bool:
    with file.open("rb") as stream:
        return stream.read(len(beginning)) == beginning


def _dropped(unexpected: Iterable[str]) -> str:
    """What the weights of the decoder's own layers hold that the decoder does not, in words; "" where nothing.

    A head over words, or another one, stands outside of the numbered layers and is left behind on purpose.
    """
    inside = sorted(name for name in unexpected if re.search(r"\.\d+\.", name) and not _RECOMPUTED.search(name))
    if not inside:
        return ""
    if any(".lora_" in name or ".base_layer." in name for name in inside):
        return (
            f"LoRA weights that were never merged, such as {inside[0]}; merge them (PEFT: merge_and_unload, then "
            "save_pretrained)"
        )
    return f"weights that its config.json has no place for, such as {inside[0]}; bring the configuration they belong to"


def _tokenizer(text: str) -> Tokenizer:
    try:
        return Tokenizer.from_str(text)
    except Exception as error:
        # The library has no exception of its own.
        if type(error) is Exception:
            raise ValueError(str(error)) from error
        raise
