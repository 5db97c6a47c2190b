"""BERT4Rec: a bidirectional transformer that fills in masked items; at inference a mask stands after the last item.

Source: Sun et al., arXiv 1904.06690; layers and their order are those of BERT. Trained with cross-entropy over all items,
as long as validation gains: Petrov and Macdonald, arXiv 2207.02808, found that most reports stopped far too early.
Departs from them: masks fall on the last `positions` items of a window and its target, the ones that every backbone
here is trained to predict, and each window has at least one; a masked item is always shown as the mask; no dropout falls
on the attention's weights, without which a step with windows of 200 takes half the time; scores have no bias per item,
because item rows belong to adapters.
Legend: n windows, L positions, p places of each window, d hidden size, m masked places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from raie.engine.backbones.dropout import dropped
from raie.engine.backbones.item_model import ItemModel, ModelShape
from raie.engine.backbones.next_item import at_places, trained_places
from raie.engine.backbones.protocol import Contexts, Delta
from raie.engine.backbones.transformer import BlockLayers, small_matrices_

__all__ = ["Bert4Rec", "Bert4RecShape"]

MASK = -1
"""Stands for the mask among item rows."""


@dataclass(frozen=True)
class Bert4RecShape(ModelShape):
    """mask_share: of the places that training may mask, how many it does."""

    mask_share: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.mask_share <= 1:
            raise ValueError(f"mask_share must lie in (0, 1], found {self.mask_share}")


class Block(BlockLayers):
    """Attention in both directions and feed-forward, each with a residual and then a norm."""

    def forward(self, x: Tensor, real: Tensor, places: Tensor | None = None) -> Tensor:
        """One block, at all positions or at some.

        Args:
            x: [n, L, d].
            real: [n, 1, 1, L], the positions that may be read.
            places: positions [n, p]; None for all.

        Returns:
            [n, L, d], or [n, p, d].
        """
        query, key, value = self.queries_keys_values(x, places)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=real)
        x = self.attention_norm(at_places(x, places) + self.joined(mixed))
        return self.feed_norm(x + self.fed(x))


class Bert4Rec(ItemModel):
    """The backbone `bert4rec`."""

    kind: ClassVar[str] = "bert4rec"
    shape_type = Bert4RecShape
    shape: Bert4RecShape

    def __init__(self, shape: Bert4RecShape, dropout: float = 0.0) -> None:
        super().__init__(shape, dropout)
        d = shape.dim
        self.positions = nn.Embedding(shape.length + 1, d)  # one more, for the mask behind a full context
        self.mask = nn.Parameter(torch.empty(1, d))
        self.norm = nn.LayerNorm(d)
        self.blocks = nn.ModuleList(Block(d, shape.heads, dropout) for _ in range(shape.layers))
        self.head, self.head_norm = nn.Linear(d, d), nn.LayerNorm(d)
        small_matrices_(self)

    def encode(self, contexts: Contexts, delta: Delta | None = None) -> Tensor:
        contexts = contexts.left_justified()
        items = self._followed_by(contexts, torch.tensor(MASK))
        return self.under(delta).filled_in(items, contexts.lengths.unsqueeze(1)).squeeze(1)

    def examples(
        self, contexts: Contexts, target: Tensor, positions: int, delta: Delta | None = None
    ) -> tuple[Tensor, Tensor]:
        contexts = contexts.left_justified()
        items = self._followed_by(contexts, target)
        places, real = trained_places(contexts, contexts.lengths + 1, positions, items.shape[1])
        chosen = self._drawn(real & (places > 0))
        masked = torch.zeros_like(items, dtype=torch.bool).scatter(1, places, chosen)
        states = self.under(delta).filled_in(items.masked_fill(masked, MASK), places)
        return states[chosen], at_places(items, places)[chosen]

    def filled_in(self, items: Tensor, places: Tensor) -> Tensor:
        """The states at some positions of items with masks among them.

        Args:
            items: item rows [n, L + 1], MASK for a mask.
            places: positions [n, p].

        Returns:
            [n, p, d].
        """
        rows = torch.where((items == MASK).unsqueeze(2), self.mask, self.embedded(items.clamp(min=0)))
        x = self.norm(rows + self.positions.weight[: items.shape[1]])
        x = dropped(x, self.rate, self.training)
        real = (items != 0)[:, None, None, :]
        *lower, last = self.blocks
        for block in lower:
            x = block(x, real)
        out: Tensor = self.head_norm(F.gelu(self.head(last(x, real, places))))
        return out

    @staticmethod
    def _followed_by(contexts: Contexts, last: Tensor) -> Tensor:
        """Left-justified contexts with `last`, of each or of all, behind their last real item: [n, L + 1]."""
        items = F.pad(contexts.items, (0, 1))
        items[torch.arange(len(items)), contexts.lengths] = last
        return items

    def _drawn(self, candidate: Tensor) -> Tensor:
        """Which of the candidates [n, p], whose last is the target, are masked."""
        masked = candidate & (torch.rand(candidate.shape) < self.shape.mask_share)
        # Where chance masks none, the target alone is: a window as it looks at inference.
        masked[:, -1] |= ~masked.any(dim=1)
        return masked
