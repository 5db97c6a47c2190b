"""The layers of one transformer block, which SASRec, BERT4Rec and TiSASRec put together in their own ways.

Legend: n windows, L positions, p places of each window, d hidden size, h heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from raie.engine.backbones.dropout import dropped
from raie.engine.backbones.next_item import at_places

__all__ = ["BlockLayers", "small_matrices_"]


class BlockLayers(nn.Module):
    """Linear layers and norms of attention and of a feed-forward of four times the size; a subclass is the block.

    The last block of a model is asked for the states at some places alone: every position is read, but only those ask
    and are fed forward.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.rate = heads, dropout
        self.attention_norm, self.feed_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key, self.value, self.output = (nn.Linear(dim, dim) for _ in range(4))
        self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def queries_keys_values(self, x: Tensor, places: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries at some positions, keys and values at all.

        Args:
            x: [n, L, d].
            places: positions [n, p]; None for all.

        Returns:
            Queries [n, h, p, d/h], keys and values [n, h, L, d/h].
        """
        pairs = (self.query, at_places(x, places)), (self.key, x), (self.value, x)
        query, key, value = (linear(read).unflatten(2, (self.heads, -1)).transpose(1, 2) for linear, read in pairs)
        return query, key, value

    def joined(self, mixed: Tensor) -> Tensor:
        """The attention's result from what the heads mixed.

        Args:
            mixed: [n, h, p, d/h].

        Returns:
            [n, p, d].
        """
        return dropped(self.output(mixed.transpose(1, 2).flatten(2)), self.rate, self.training)

    def fed(self, x: Tensor) -> Tensor:
        """The feed-forward's result.

        Args:
            x: [n, p, d].

        Returns:
            [n, p, d].
        """
        return dropped(self.down(F.gelu(self.up(x))), self.rate, self.training)


def small_matrices_(model: nn.Module) -> None:
    """Draw every matrix anew from N(0, 0.02), as BERT does, and leave row 0 of `model.items`, the padding, zero.

    Args:
        model: the backbone.
    """
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.02)
    with torch.no_grad():
        model.items.weight[0] = 0  # type: ignore[union-attr,operator]
