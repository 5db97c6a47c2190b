"""TiSASRec: SASRec whose attention also knows how much time lies between two items.

Source: Li, Wang and McAuley, "Time Interval Aware Self-Attention for Sequential Recommendation", WSDM 2020,
doi 10.1145/3336191.3371786: every pair of positions has a key and a value for its interval, beside those of the absolute
position, and heads and layers share them.
Departs from the paper: intervals fall into classes of equal width on a logarithmic scale of seconds, not into multiples
of a user's shortest interval. A logarithm separates minutes from months with few classes, and needs nothing that a window
does not hold. The block around the attention is SASRec's.
Legend: n windows, L positions, p places of each window, d hidden size, h heads, b interval classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from raie.engine.backbones.dropout import dropped
from raie.engine.backbones.item_model import ItemModel, ModelShape
from raie.engine.backbones.next_item import at_places
from raie.engine.backbones.protocol import Contexts
from raie.engine.backbones.transformer import BlockLayers, small_matrices_
from raie.engine.errors import InputError

__all__ = ["TiSasRec", "TiSasRecShape", "interval_classes"]

LONGEST_S = 2.0**28
"""Eight and a half years, in seconds: longer intervals are in the last class."""


@dataclass(frozen=True)
class TiSasRecShape(ModelShape):
    """intervals: number of classes of time intervals."""

    intervals: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.intervals < 2:
            raise ValueError(f"intervals must be at least 2, found {self.intervals}")


def interval_classes(times: Tensor, classes: int) -> Tensor:
    """The class of the interval between each two times; no time at all is 0.

    Args:
        times: epoch seconds [n, L].
        classes: how many.

    Returns:
        int64 [n, L, L].
    """
    apart = (times.unsqueeze(2) - times.unsqueeze(1)).abs().double()
    share = torch.log1p(apart) / torch.log1p(torch.tensor(LONGEST_S, dtype=torch.double))
    return (share * (classes - 1)).ceil().long().clamp(max=classes - 1)


class Block(BlockLayers):
    """Pre-norm attention over positions and intervals and feed-forward, each with a residual."""

    def forward(
        self, x: Tensor, positions: Tensor, intervals: Tensor, classes: Tensor, places: Tensor | None = None
    ) -> Tensor:
        """One block, at all positions or at some.

        Args:
            x: [n, L, d].
            positions: keys and values of positions [2, L, d].
            intervals: keys and values of intervals [2, b, d].
            classes: of the intervals, [n, L, L].
            places: positions [n, p]; None for all.

        Returns:
            [n, L, d], or [n, p, d].
        """
        place_key, place_value = self._by_head(positions)  # [h, L, d/h]
        time_key, time_value = self._by_head(intervals)  # [h, b, d/h]
        query, key, value = self.queries_keys_values(self.attention_norm(x), places)
        classes = at_places(classes, places).unsqueeze(1).expand(-1, self.heads, -1, -1)  # [n, h, p, L]
        # q (k + p + t)^T without a key per pair: the products with all b intervals are made once and looked up.
        scores = query @ (key + place_key).transpose(2, 3) + (query @ time_key.transpose(1, 2)).gather(3, classes)
        asking = torch.arange(x.shape[1]) if places is None else places[:, None]  # [L] or [n, 1, p]
        future = torch.arange(x.shape[1]) > asking.unsqueeze(-1)
        share = (scores / query.shape[3] ** 0.5).masked_fill(future, float("-inf")).softmax(dim=3)
        share = dropped(share, self.rate, self.training)
        by_class = share.new_zeros(*share.shape[:3], intervals.shape[1]).scatter_add(3, classes, share)
        x = at_places(x, places) + self.joined(share @ (value + place_value) + by_class @ time_value)
        return x + self.fed(self.feed_norm(x))

    def _by_head(self, pair: Tensor) -> Tensor:
        """[2, L, d] to [2, h, L, d/h]."""
        return pair.view(2, pair.shape[1], self.heads, -1).transpose(1, 2)


class TiSasRec(ItemModel):
    """The backbone `tisasrec`."""

    kind: ClassVar[str] = "tisasrec"
    reads_times: ClassVar[bool] = True
    shape_type = TiSasRecShape
    shape: TiSasRecShape

    def __init__(self, shape: TiSasRecShape, dropout: float = 0.0) -> None:
        super().__init__(shape, dropout)
        self.places = nn.Parameter(torch.empty(2, shape.length, shape.dim))
        self.intervals = nn.Parameter(torch.empty(2, shape.intervals, shape.dim))
        self.blocks = nn.ModuleList(Block(shape.dim, shape.heads, dropout) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.dim)
        small_matrices_(self)

    def states_at(self, contexts: Contexts, places: Tensor) -> Tensor:
        return self.states(contexts, places)

    def states(self, contexts: Contexts, places: Tensor | None = None) -> Tensor:
        items = contexts.items
        if contexts.times is None:
            raise InputError(
                "expected windows with the times of their items, found none: this backbone reads time intervals; "
                "cut the windows with windows.times = true, or give a log instead of a list of items"
            )
        classes = interval_classes(contexts.times, self.shape.intervals)
        positions = dropped(self.places[:, : items.shape[1]], self.rate, self.training)
        intervals = dropped(self.intervals, self.rate, self.training)
        x = dropped(self.embedded(items) * self.dim**0.5, self.rate, self.training)
        *lower, last = self.blocks
        for block in lower:
            x = block(x, positions, intervals, classes)
        out: Tensor = self.norm(last(x, positions, intervals, classes, places))
        return out
