"""A tiny model of random weights, Llama-like unless said, with a tokenizer, in a folder such as people download."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

__all__ = ["WORDS", "language_model"]

WORDS = [
    "<unk>",
    "<s>",
    "a",
    "user",
    "has",
    "seen",
    "the",
    "first",
    "second",
    "third",
    "film",
    "new",
    "one",
    "two",
]


def language_model(folder: Path, *, kind: str = "llama", seed: int = 0, **options: Any) -> Path:
    """The folder, with config.json, model.safetensors and tokenizer.json. options: of the configuration of this kind."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tokenizers import Tokenizer, models, pre_tokenizers, processors
        from transformers import CONFIG_MAPPING, AutoModelForCausalLM
        from transformers.utils import logging

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"num_key_value_heads": 1, "max_position_embeddings": 128, "vocab_size": len(WORDS)}
    logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**sizes | options)).save_pretrained(folder)
    logging.enable_progress_bar()
    tokenizer = Tokenizer(models.WordLevel({token: row for row, token in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
