"""The loss of next-item training: cross-entropy over all items, or an estimate of it over some of them.

The estimate splits the catalogue in two. Items that are a target of the batch are all in its sum; of the others a few
are drawn at random, and each stands for as many as were not drawn. Whatever the targets are, the sum's expectation is
that over all items, so that no item frequencies are needed; and the items that are sampled worst by a uniform draw,
the popular ones, are nearly always targets.
Legend: m positions, d hidden size, v item rows (row 0 is padding), c candidates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from raie.engine.training.cross_entropy import linear_cross_entropy

__all__ = ["Candidates", "candidate_items", "next_item_cross_entropy"]


@dataclass(frozen=True, eq=False)
class Candidates:
    """The items over which a batch's cross-entropy is estimated.

    rows: int64 [c], item rows, none twice but among those drawn.  target: int64 [m], where in `rows` each target is.
    log_weight: [c], the logarithm of how many items each stands for.
    """

    rows: Tensor
    target: Tensor
    log_weight: Tensor


def candidate_items(target: Tensor, items: int, negatives: int) -> Candidates:
    """All targets of a batch, and items drawn from all others.

    The draw depends on the targets alone: it takes nothing from torch's generator, so that parts of a batch can pass
    side by side.

    Args:
        target: int64 [m], item rows.
        items: how many there are.
        negatives: how many are drawn.

    Returns:
        The candidates; every item once, with weight 1, where no more than `negatives` are no targets.
    """
    own, index = target.unique(return_inverse=True)
    others = torch.ones(items + 1, dtype=torch.bool).index_fill_(0, own, False)
    others[0] = False
    rest = others.nonzero().squeeze(1)
    drawn = rest
    if len(rest) > negatives:
        seed = int((target * torch.arange(1, len(target) + 1)).sum())
        drawn = rest[torch.randint(len(rest), (negatives,), generator=torch.Generator().manual_seed(seed))]
    weight = torch.zeros(len(own) + len(drawn))
    weight[len(own) :] = math.log(max(len(rest), 1) / max(len(drawn), 1))
    return Candidates(torch.cat([own, drawn]), index, weight)


def next_item_cross_entropy(
    states: Tensor, table: Tensor, target: Tensor, *, bias: Tensor | None = None, negatives: int = 0
) -> Tensor:
    """Mean cross-entropy of the targets under the scores states table^T + bias, padding left out.

    Args:
        states: [m, d].
        table: [v, d].
        target: int64 [m], item rows.
        bias: [v]; None for none.
        negatives: items drawn beside the targets to estimate it; 0 for the sum over all items.

    Returns:
        The loss.
    """
    ones = states.new_ones(len(states), 1)
    if not negatives:
        rows = None if bias is None else bias[1:].unsqueeze(1)
        return linear_cross_entropy(states, table[1:], target - 1, None if bias is None else ones, rows)
    chosen = candidate_items(target, len(table) - 1, negatives)
    weight = chosen.log_weight.to(table.dtype)
    weight = weight if bias is None else weight + bias[chosen.rows]
    return linear_cross_entropy(
        states, table.index_select(0, chosen.rows), chosen.target, ones, weight.unsqueeze(1)
    )
