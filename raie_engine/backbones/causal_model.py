"""What SASRec, eSASRec and HSTU share: rows with positions, causal blocks one after the other, and a norm.

Legend: n windows, L positions, p places of each window, d hidden size.
"""

from __future__ import annotations

from torch import Tensor, nn

from raie.engine.backbones.dropout import dropped
from raie.engine.backbones.item_model import ItemModel
from raie.engine.backbones.protocol import Contexts

__all__ = ["CausalModel"]


class CausalModel(ItemModel):
    """A subclass makes the layers: `positions`, `blocks` of which the last is asked for some places alone, and `norm`."""

    positions: nn.Embedding
    blocks: nn.ModuleList
    norm: nn.LayerNorm

    def states_at(self, contexts: Contexts, places: Tensor) -> Tensor:
        return self.states(contexts, places)

    def states(self, contexts: Contexts, places: Tensor | None = None) -> Tensor:
        items = contexts.items
        x = self.embedded(items) * self.dim**0.5 + self.positions.weight[: items.shape[1]]
        x = dropped(x, self.rate, self.training)
        *lower, last = self.blocks
        for block in lower:
            x = block(x)
        out: Tensor = self.norm(last(x, places))
        return out
