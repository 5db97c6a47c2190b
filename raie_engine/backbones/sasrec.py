"""SASRec: a causal transformer over a user's last items, trained with full cross-entropy at every position.

Source: Kang and McAuley, arXiv 1808.09781; the loss is that of Klenitskiy and Vasilev, arXiv 2309.07602.
Departs from them: windows are left-justified, so a prefix of a window looks exactly like a shorter window, causal
attention needs no padding mask, and a left-padded window gives the same states as a right-padded one.
Legend: n windows, L positions, d hidden size.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from raie_engine.backbones.item_model import ItemModel, ModelShape
from raie_engine.backbones.protocol import Contexts
from raie_engine.backbones.transformer import BlockLayers, small_matrices_

__all__ = ["SasRec"]


class Block(BlockLayers):
    """Pre-norm attention and feed-forward, each with a residual."""

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.queries_keys_values(self.attention_norm(x))
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True, dropout_p=self.attention_rate)
        x = x + self.joined(mixed)
        return x + self.fed(self.feed_norm(x))


class SasRec(ItemModel):
    """The backbone `sasrec`."""

    kind: ClassVar[str] = "sasrec"
    shape: ModelShape

    def __init__(self, shape: ModelShape, dropout: float = 0.0) -> None:
        super().__init__(shape, dropout)
        self.positions = nn.Embedding(shape.length, shape.dim)
        self.blocks = nn.ModuleList(Block(shape.dim, shape.heads, dropout) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.dim)
        small_matrices_(self)

    def states(self, contexts: Contexts) -> Tensor:
        items = contexts.items
        x = self.embedded(items) * self.dim**0.5 + self.positions.weight[: items.shape[1]]
        x = F.dropout(x, self.rate, self.training)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm(x)
        return out
