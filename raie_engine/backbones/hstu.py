"""HSTU: attention without a softmax, so that how much of a kind was read is not normalised away.

    U, V, Q, K = silu(F1 norm(x)),   A = silu(Q K^T + b) / (items read),   x = x + F2(norm(A V) * U)

Source: Zhai et al., "Actions Speak Louder than Words", ICML 2024, arXiv 2402.17152, equations 1 to 3. b is a bias per
head and distance in positions.
Departs from it: A is divided by the items that a position has read and not by the longest context, so that a window
means the same whatever the length of a model is; b knows no times, so that a history without them can be read.
Legend: n windows, L positions, p places of each window, d hidden size, h heads.
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

__all__ = ["Hstu"]


class Block(nn.Module):
    """Pointwise attention over past positions, gated by what its own position reads, with a residual."""

    def __init__(self, dim: int, heads: int, length: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.rate = heads, dropout
        self.norm, self.mixed_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.gate, self.value, self.query, self.key = (nn.Linear(dim, dim) for _ in range(4))
        self.output = nn.Linear(dim, dim)
        self.distance = nn.Parameter(torch.zeros(heads, length))

    def forward(self, x: Tensor, places: Tensor | None = None) -> Tensor:
        read = self.norm(x)
        asking = at_places(read, places)
        query, key, value = (
            F.silu(linear(part)).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for linear, part in ((self.query, asking), (self.key, read), (self.value, read))
        )
        weights = self.weights(query @ key.transpose(2, 3), places)
        mixed = self.mixed_norm((weights @ value).transpose(1, 2).flatten(2))  # [n, p, d]
        out = self.output(dropped(mixed * F.silu(self.gate(asking)), self.rate, self.training))
        return at_places(x, places) + out

    def weights(self, scores: Tensor, places: Tensor | None) -> Tensor:
        """What each place reads of each position, 0 of later ones.

        Args:
            scores: [n, h, p, L].
            places: positions [n, p]; None for all.

        Returns:
            [n, h, p, L].
        """
        length = scores.shape[3]
        asking = torch.arange(length).unsqueeze(0) if places is None else places
        apart = asking.unsqueeze(2) - torch.arange(length)  # [n, p, L]
        bias = self.distance[:, apart.clamp(min=0)].transpose(0, 1)  # [n, h, p, L]
        share = (apart >= 0) / (asking + 1).unsqueeze(2)
        return F.silu(scores + bias) * share.unsqueeze(1)


class Hstu(CausalModel):
    """The backbone `hstu`."""

    kind: ClassVar[str] = "hstu"
    shape: ModelShape

    def __init__(self, shape: ModelShape, dropout: float = 0.0) -> None:
        super().__init__(shape, dropout)
        self.positions = nn.Embedding(shape.length, shape.dim)
        self.blocks = nn.ModuleList(
            Block(shape.dim, shape.heads, shape.length, dropout) for _ in range(shape.layers)
        )
        self.norm = nn.LayerNorm(shape.dim)
        for table in (self.items, self.positions):
            nn.init.normal_(table.weight, std=0.02)
        with torch.no_grad():
            self.items.weight[0] = 0
