"""A causal language model from a local Hugging Face folder, with every item as a token of its own.

A window is read as one text: the prompt, then for each item the tokens of its title, where it has one, and the item's own
token. The state at an item's token has read everything up to it and predicts the next item. An item's token has one row,
read and scored with: the row of the item table, isolated like that of every other backbone. The model's own head over
words is left behind.
Source: items as added tokens as in OpenP5, Xu et al., arXiv 2306.11134.
Departs from it: scores are a softmax over items alone, all positions of a window train, and nothing is generated.

Only safetensors are read, and code in the folder never runs. The configuration of the decoder and the tokenizer become
part of the backbone's own, the weights part of its weights, so a snapshot needs neither the folder nor a network.
Legend: n windows, L positions, d hidden size, t tokens per title, T tokens per window, w words in the vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from raie.engine.backbones.item_model import ItemModel
from raie.engine.backbones.linear_layers import linear_shapes
from raie.engine.backbones.model_folder import bare_decoder, read_decoder, read_tokenizer, require_known_words
from raie.engine.backbones.protocol import Contexts, Shape
from raie.engine.config import BackboneConfig
from raie.engine.errors import ConfigError

__all__ = ["CausalLm", "CausalLmShape"]

NO_TOKEN = -1


@dataclass(frozen=True)
class CausalLmShape:
    """dim: of the decoder. decoder: its config.json. prompt: token ids in front of every window. title_tokens: t.

    tokenizer: the text of tokenizer.json, None where the folder has none.
    """

    items: int
    length: int
    dim: int
    decoder: Mapping[str, Any]
    prompt: Sequence[int]
    title_tokens: int
    tokenizer: str | None

    def __post_init__(self) -> None:
        if min(self.items, self.length, self.dim) < 1 or self.title_tokens < 0:
            raise ValueError(f"sizes must be at least 1, found {self.items}, {self.length} and {self.dim}")

    @property
    def tokens(self) -> int:
        """T: the same for every window, because products of another shape round differently."""
        return len(self.prompt) + self.length * (self.title_tokens + 1)


class CausalLm(ItemModel):
    """The backbone `causal_lm`."""

    kind: ClassVar[str] = "causal_lm"
    reads_titles: ClassVar[bool] = True
    shape_type = CausalLmShape
    shape: CausalLmShape
    decoder: Any
    titles: Tensor
    appended_titles: Tensor

    def __init__(self, shape: CausalLmShape, dropout: float = 0.0) -> None:
        super().__init__(shape, dropout)
        self.decoder = bare_decoder(shape.decoder)
        self.register_buffer("titles", torch.full((shape.items + 1, shape.title_tokens), NO_TOKEN))
        self.register_buffer("appended_titles", self.titles[:0], persistent=False)

    @property
    def words(self) -> Tensor:
        """The decoder's own word embeddings: [w, d]."""
        weight: Tensor = self.decoder.get_input_embeddings().weight
        return weight

    @property
    def lora_targets(self) -> dict[str, Shape]:
        return {f"decoder.{name}": shape for name, shape in linear_shapes(self.decoder).items()}

    def states(self, contexts: Contexts) -> Tensor:
        tokens, item_slots = self._read(contexts.items)
        is_item = tokens >= len(self.words)
        words = F.embedding(tokens.masked_fill(is_item, 0), self.words)
        items = self.embedded((tokens - len(self.words)).clamp(min=0))
        inputs = torch.where(is_item.unsqueeze(2), items, words)  # [n, T, d]
        read: Tensor = self.decoder(inputs_embeds=inputs, use_cache=False).last_hidden_state
        return read.gather(1, item_slots.unsqueeze(2).expand(-1, -1, self.dim))

    def _read(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Left-justified items [n, L] as tokens [n, T], items counting on from w, and where each item's own one stands.

        Titles have different lengths and leave no gap; whatever is behind the last item is never read.
        """
        n, start, total = len(items), len(self.shape.prompt), self.shape.tokens
        titles = torch.cat([self.titles, self.appended_titles])[items]  # [n, L, t]
        count = (titles != NO_TOKEN).sum(dim=2)
        item_slots = start + (count + 1).cumsum(dim=1) - 1  # [n, L]
        title_slots = (item_slots - count).unsqueeze(2) + torch.arange(titles.shape[2])  # [n, L, t]
        tokens = torch.full((n, total + 1), len(self.words))  # one place more, for what a title does not fill
        tokens[:, :start] = torch.tensor(self.shape.prompt, dtype=torch.long)
        tokens.scatter_(1, title_slots.masked_fill(titles == NO_TOKEN, total).flatten(1), titles.flatten(1))
        tokens.scatter_(1, item_slots, items + len(self.words))
        return tokens[:, :total], item_slots

    def with_item_rows(self, rows: Tensor, titles: Sequence[str] = ()) -> Self:
        known = _title_tokens(self.shape.tokenizer, titles, len(rows), self.shape.title_tokens)
        return self._with_buffers(appended=rows, appended_titles=known)

    @classmethod
    def begin(
        cls, config: BackboneConfig, items: int, length: int, *, titles: Sequence[str] = (), seed: int = 0
    ) -> Self:
        """The model of the folder `backbone.path`; its decoder trains too, unless `freeze_decoder` says that it does
        not.

        Args:
            config: names the folder.
            items: catalogue size.
            length: context items.
            titles: of the items.
            seed: of everything random in it.

        Returns:
            The model; the parameters that train require a gradient.

        Raises:
            ConfigError: for a folder that holds no causal model, and for a window that is too long for it.
        """
        folder = Path(config.path)
        fields, decoder = read_decoder(folder)
        tokenizer = read_tokenizer(folder)
        if tokenizer is not None:
            require_known_words(tokenizer, decoder.get_input_embeddings().num_embeddings)
        if tokenizer is None and (config.prompt or any(titles)):
            raise ConfigError(
                f"expected tokenizer.json in {folder} to read a prompt or titles, found none; add it, or leave "
                "backbone.prompt empty and set backbone.title_tokens = 0"
            )
        shape = CausalLmShape(
            items=items,
            length=length,
            dim=decoder.get_input_embeddings().embedding_dim,
            decoder=fields,
            prompt=[] if tokenizer is None else Tokenizer.from_str(tokenizer).encode(config.prompt).ids,
            title_tokens=config.title_tokens if any(titles) else 0,
            tokenizer=tokenizer,
        )
        _require_room(shape, decoder)
        model = cls.fresh(shape, seed=seed)
        model.decoder.load_state_dict(decoder.state_dict())
        model.decoder.requires_grad_(not config.freeze_decoder)
        model._place_items(titles)
        return model

    @torch.no_grad()
    def _place_items(self, titles: Sequence[str]) -> None:
        """Set the titles; item rows begin as small as words are, and at the mean of the words of their title."""
        self.titles[1:] = _title_tokens(self.shape.tokenizer, titles, self.shape.items, self.shape.title_tokens)
        self.items.weight *= self.words.std()
        known = (self.titles != NO_TOKEN).unsqueeze(2)
        words = F.embedding(self.titles.clamp(min=0), self.words) * known  # [v, t, d]
        self.items.weight += words.sum(dim=1) / known.sum(dim=1).clamp(min=1)
        self.items.weight[0] = 0


def _title_tokens(tokenizer: str | None, titles: Sequence[str], items: int, most: int) -> Tensor:
    """The first `most` tokens of each title, NO_TOKEN behind them, for as many items: [items, most]."""
    tokens = torch.full((items, most), NO_TOKEN)
    if tokenizer is None or not most:
        return tokens
    reader = Tokenizer.from_str(tokenizer)
    reader.no_padding()
    for row, read in enumerate(reader.encode_batch(list(titles[:items]), add_special_tokens=False)):
        ids = read.ids[:most]
        tokens[row, : len(ids)] = torch.tensor(ids, dtype=torch.long)
    return tokens


def _require_room(shape: CausalLmShape, decoder: nn.Module) -> None:
    most = getattr(decoder.config, "max_position_embeddings", None)
    if most is not None and shape.tokens > most:
        raise ConfigError(
            f"expected windows of at most {most} tokens, which the model in backbone.path can read, found up to "
            f"{shape.tokens}: a prompt of {len(shape.prompt)} and {shape.length} items of {shape.title_tokens + 1}; "
            "lower windows.length, backbone.title_tokens or backbone.prompt"
        )
