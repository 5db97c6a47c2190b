"""A backbone in two parts: a lower one that no adapter changes, and the last block, where adapters are and items learnt.

Training an adapter passes each window through the lower part once, whatever the number of epochs, and nothing goes back
through it. At two blocks of d = 64 that halves the time of a step, and the deeper the backbone, the more it saves.
What an adapter adds to the rows it reads comes in under the last block: the residual stream would have carried it there.
Legend: n windows, L positions, p places of a window, d hidden size.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from raie_engine.backbones.item_model import ItemModel
from raie_engine.backbones.protocol import Contexts

__all__ = ["SplitModel"]

ROWS_AHEAD = 256
"""Windows that pass at a time: of more, what is between two layers leaves the processor's cache."""
MOST_AHEAD = 2**26
"""Numbers, 256 MiB of them: what more windows would come to is worked out in every step."""


class SplitModel(ItemModel):
    """A subclass says what its lower and its upper part are.

    row_scale: by how much rows of the item table are multiplied where they are read.
    """

    row_scale: float = 1.0

    def lower(self, contexts: Contexts) -> Tensor:
        """[n, L, d]: what comes to the last block of left-justified contexts."""
        raise NotImplementedError

    def upper(self, read: Tensor, contexts: Contexts, places: Tensor | None = None) -> Tensor:
        """The states [n, p, d] at the places [n, p], or at all, of what the last block reads [n, L, d]."""
        raise NotImplementedError

    def states(self, contexts: Contexts, places: Tensor | None = None) -> Tensor:
        below = self.lower(contexts) if contexts.below is None else contexts.below
        return self.upper(self.with_added(below, contexts.items, self.row_scale), contexts, places)

    def states_at(self, contexts: Contexts, places: Tensor) -> Tensor:
        return self.states(contexts, places)

    @torch.no_grad()
    def read_ahead(self, contexts: Contexts) -> Contexts:
        contexts = contexts.left_justified()
        if not 0 < contexts.items.numel() * self.dim <= MOST_AHEAD:
            return contexts
        below = torch.empty(*contexts.items.shape, self.dim)
        for rows in torch.arange(len(contexts)).split(ROWS_AHEAD):
            below[rows] = self.lower(contexts.take(rows))
        return dataclasses.replace(contexts, below=below)
