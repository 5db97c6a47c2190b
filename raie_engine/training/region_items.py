"""What one region's adapter makes of items, for some rows of a batch that other regions share.

Rows pass in pieces of a fixed size, filled up with zeros, so that how many of them a batch holds changes no bit. Only the
items that the adapter updates take part.
Legend: n rows, L positions, d hidden size, t updated items, r rank of the item rows, h positions that hold one of them,
v item rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from raie.engine.training.adapter import Adapter

__all__ = ["ItemUpdates"]

STATE_ROWS, ITEM_ROWS = 16, 64
"""States, and positions of contexts, that a product takes: with fewer rows it sums in another order than with a block."""
WIDTH = 16
"""Updated items are filled up to a multiple of this: a product with few columns sums in another order."""


@dataclass(frozen=True, eq=False)
class ItemUpdates:
    """The low-rank item embedding update of an adapter, ready to be read and scored with."""

    adapter: Adapter

    def add_to_scores(self, scores: Tensor, states: Tensor) -> None:
        """Add what the update makes of the scores of its items.

        Args:
            scores: [n, v], of the frozen item table; changed in place.
            states: [n, d].
        """
        adapter = self.adapter
        if not len(adapter.item_ids):
            return
        low = _in_pieces(_filled_up(states, STATE_ROWS), adapter.item_lora_b.T, STATE_ROWS)
        low = torch.cat([low, low.new_ones(len(low), 1)], dim=1)  # [n and more, r + 1]
        added = _in_pieces(low, self._scored.T, STATE_ROWS)[: len(states), : len(adapter.item_ids)]
        scores.index_add_(1, adapter.item_ids, added)

    def read_into(self, added: Tensor, items: Tensor) -> None:
        """Write the update of the rows that are read for items.

        Args:
            added: zeros [n, L, d]; changed in place.
            items: item rows [n, L].
        """
        adapter = self.adapter
        slots = torch.searchsorted(adapter.item_ids, items).clamp_(max=len(adapter.item_ids) - 1)
        own = adapter.item_ids[slots] == items  # [n, L]
        low = adapter.item_lora_a[slots[own]]  # [h, r]
        added[own] = _in_pieces(_filled_up(low, ITEM_ROWS), adapter.item_lora_b, ITEM_ROWS)[: len(low)]

    @cached_property
    def _scored(self) -> Tensor:
        """a_k and the bias beside it, filled up with zeros: [t, r + 1]."""
        own = torch.cat([self.adapter.item_lora_a, self.adapter.bias.unsqueeze(1)], dim=1)
        return _filled_up(own, WIDTH)


def _filled_up(rows: Tensor, size: int) -> Tensor:
    """Rows [n, a], and zeros up to a multiple of `size` rows."""
    return F.pad(rows, (0, 0, 0, -len(rows) % size))


def _in_pieces(rows: Tensor, factor: Tensor, size: int) -> Tensor:
    """The product of rows [n, a] and a factor [a, b], `size` rows at a time: [n, b]."""
    out = rows.new_empty(len(rows), factor.shape[1])
    for start in range(0, len(rows), size):
        torch.mm(rows[start : start + size], factor, out=out[start : start + size])
    return out
