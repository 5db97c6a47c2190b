"""GRU4Rec as a backbone of one's own: what a user's file looks like."""

from __future__ import annotations

from torch import Tensor, nn

from raie_engine.backbones import Contexts, ItemModel, ModelShape


class Backbone(ItemModel):
    """A recurrent network over the items. Source: Hidasi et al., arXiv 1511.06939."""

    def __init__(self, shape: ModelShape, dropout: float = 0.0) -> None:
        super().__init__(shape, dropout)
        self.recurrent = nn.GRU(shape.dim, shape.dim, shape.layers, batch_first=True, dropout=dropout)
        self.output = nn.Linear(shape.dim, shape.dim)
        nn.init.normal_(self.items.weight, std=0.1)

    def states(self, contexts: Contexts) -> Tensor:
        read, _ = self.recurrent(self.embedded(contexts.items))
        return self.output(read)
