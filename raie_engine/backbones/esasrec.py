"""eSASRec: SASRec with gated residuals and SwiGLU, which its authors train with a sampled softmax.

    x = x + sigmoid(G x) attention(norm x),   x = x + sigmoid(H x) W3 (silu(W1 y) * W2 y),  y = norm x

Source: Tikhonovich et al., eSASRec, RecSys 2025, arXiv 2508.06450; the layer is that of LiGR, arXiv 2502.03417, the
feed-forward that of Shazeer, arXiv 2002.05202.
Departs from them: the feed-forward is 8/3 as wide as the states, so that a block has about as many weights as SASRec's;
no dropout falls on the attention's weights, without which torch has a fused attention; windows are left-justified.
Legend: n windows, L positions, p places of each window, d hidden size.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from raie.engine.backbones.causal_model import CausalModel
from raie.engine.backbones.dropout import dropped
from raie.engine.backbones.item_model import ModelShape
from raie.engine.backbones.next_item import at_places
from raie.engine.backbones.transformer import small_matrices_

__all__ = ["ESasRec"]


class Block(nn.Module):
    """Pre-norm attention and SwiGLU, each with a residual that a gate opens."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.rate = heads, dropout
        width = -(-8 * dim // 24) * 8  # 8/3 of d, up to a multiple of 8
        self.attention_norm, self.feed_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key, self.value, self.output = (nn.Linear(dim, dim) for _ in range(4))
        self.attention_gate, self.feed_gate = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.up, self.side = nn.Linear(dim, width, bias=False), nn.Linear(dim, width, bias=False)
        self.down = nn.Linear(width, dim, bias=False)

    def forward(self, x: Tensor, places: Tensor | None = None) -> Tensor:
        mixed = self.attended(self.attention_norm(x), places)
        x = at_places(x, places)
        x = x + torch.sigmoid(self.attention_gate(x)) * dropped(mixed, self.rate, self.training)
        read = self.feed_norm(x)
        fed = self.down(F.silu(self.up(read)) * self.side(read))
        return x + torch.sigmoid(self.feed_gate(x)) * dropped(fed, self.rate, self.training)

    def attended(self, x: Tensor, places: Tensor | None) -> Tensor:
        """Causal attention at some positions or at all.

        Args:
            x: [n, L, d].
            places: positions [n, p]; None for all.

        Returns:
            [n, p, d].
        """
        pairs = (self.query, at_places(x, places)), (self.key, x), (self.value, x)
        query, key, value = (linear(read).unflatten(2, (self.heads, -1)).transpose(1, 2) for linear, read in pairs)
        past = None if places is None else torch.arange(x.shape[1]) <= places[:, None, :, None]  # [n, 1, p, L]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=past, is_causal=past is None)
        out: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return out


class ESasRec(CausalModel):
    """The backbone `esasrec`."""

    kind: ClassVar[str] = "esasrec"
    shape: ModelShape

    def __init__(self, shape: ModelShape, dropout: float = 0.0) -> None:
        super().__init__(shape, dropout)
        self.positions = nn.Embedding(shape.length, shape.dim)
        self.blocks = nn.ModuleList(Block(shape.dim, shape.heads, dropout) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.dim)
        small_matrices_(self)
