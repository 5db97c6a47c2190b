"""A causal language model whose items are tokens, as the model that transformers loads: no code of ours reads it.

The vocabulary is the decoder's words and then one token for each row of the item table, padding first, so that item row i
is token `words + i`. The head scores items with the same rows, and words with 0: the decoder's own head is left behind.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from raie.engine.backbones.causal_lm import NO_TOKEN, CausalLm
from raie.engine.backbones.model_folder import bare_causal_model
from raie.engine.errors import ConfigError

__all__ = ["item_tokens", "outline", "token_model_files"]


def outline(backbone: CausalLm) -> tuple[str, str, str]:
    """The names in the model of transformers: of the decoder, of the embedding, and of the head.

    Args:
        backbone: a causal language model.

    Returns:
        Dotted names.

    Raises:
        ConfigError: for a model that reads a token otherwise than as its row of the embedding.
    """
    with torch.device("meta"):
        model = _bare(backbone)
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    names = {id(module): name for name, module in model.named_modules()}
    if type(embedding) is not nn.Embedding or type(head) is not nn.Linear:
        raise ConfigError(
            "expected a language model that reads a token as its row of an embedding and scores with a linear head, "
            f"found {type(embedding).__name__} and {type(head).__name__}; this kind of model cannot be exported"
        )
    return model.base_model_prefix, names[id(embedding)], names[id(head)]


def _bare(backbone: CausalLm) -> Any:
    return bare_causal_model(backbone.shape.decoder, len(backbone.words) + len(backbone.item_table()))


@torch.no_grad()
def token_model_files(backbone: CausalLm) -> dict[str, bytes]:
    """The folder that transformers loads.

    Args:
        backbone: a causal language model, with a row for every item.

    Returns:
        Bytes by file name: config.json, model.safetensors and, where the backbone has one, tokenizer.json.

    Raises:
        ConfigError: as of `outline`.
    """
    prefix, embedding, head = outline(backbone)
    model, table = _bare(backbone), backbone.item_table()
    rows = torch.cat([backbone.words, table])
    state = {f"{prefix}.{name}": value for name, value in backbone.decoder.state_dict().items()}
    scored = {f"{embedding}.weight": rows, f"{head}.weight": torch.cat([torch.zeros_like(backbone.words), table])}
    if model.get_output_embeddings().bias is not None:
        scored[f"{head}.bias"] = rows.new_zeros(len(rows))
    model.load_state_dict({**state, **scored})
    config = json.loads(model.config.to_json_string()) | {
        "architectures": [type(model).__name__],
        "dtype": "float32",
    }
    weights = {name: value.contiguous().clone() for name, value in model.state_dict().items()}
    files = {
        "config.json": json.dumps(config, indent=2, sort_keys=True).encode(),
        "model.safetensors": save_tensors(weights, metadata={"format": "pt"}),
    }
    if backbone.shape.tokenizer is not None:
        files["tokenizer.json"] = backbone.shape.tokenizer.encode()
    return files


def item_tokens(backbone: CausalLm) -> list[list[int]]:
    """The tokens that stand for each item row in a window: those of its title, then its own.

    Args:
        backbone: a causal language model, with a row for every item.

    Returns:
        Lists of tokens, of row 1 first.
    """
    titles: Tensor = torch.cat([backbone.titles, backbone.appended_titles])[1:]
    first = len(backbone.words)
    return [
        [*(token for token in row if token != NO_TOKEN), first + item]
        for item, row in enumerate(titles.tolist(), 1)
    ]
