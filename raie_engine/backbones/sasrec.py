"""SASRec: a causal transformer over a user's last items, trained with full cross-entropy at every position.

Source: Kang and McAuley, arXiv 1808.09781; the loss is that of Klenitskiy and Vasilev, arXiv 2309.07602.
Departs from them: windows are left-justified, so a prefix of a window looks exactly like a shorter window, causal
attention needs no padding mask, and a left-padded window gives the same states as a right-padded one.
Legend: n windows, L positions, p places of each window, d hidden size.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from raie.engine.backbones.causal_model import CausalModel
from raie.engine.backbones.item_model import ModelShape
from raie.engine.backbones.next_item import at_places
from raie.engine.backbones.transformer import BlockLayers, small_matrices_

__all__ = ["SasRec"]


class Block(BlockLayers):
    """Pre-norm attention and feed-forward, each with a residual."""

    def forward(self, x: Tensor, places: Tensor | None = None) -> Tensor:
        query, key, value = self.queries_keys_values(self.attention_norm(x), places)
        past = None if places is None else torch.arange(x.shape[1]) <= places[:, None, :, None]  # [n, 1, p, L]
        rate = self.rate if self.training else 0.0
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=past, is_causal=past is None, dropout_p=rate
        )
        x = at_places(x, places) + self.joined(mixed)
        return x + self.fed(self.feed_norm(x))


class SasRec(CausalModel):
    """The backbone `sasrec`."""

    kind: ClassVar[str] = "sasrec"
    shape: ModelShape

    def __init__(self, shape: ModelShape, dropout: float = 0.0) -> None:
        super().__init__(shape, dropout)
        self.positions = nn.Embedding(shape.length, shape.dim)
        self.blocks = nn.ModuleList(Block(shape.dim, shape.heads, dropout) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.dim)
        small_matrices_(self)
