"""Which places of a context training and scoring read, and which item each of them should predict.

For backbones whose state j has read the items 0..j alone.
Legend: n windows, L positions, p places of each window, m real ones of all.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from raie.engine.backbones.protocol import Contexts

__all__ = ["at_places", "last_places", "successors", "trained_places", "where_real"]


def at_places(values: Tensor, places: Tensor | None) -> Tensor:
    """The values at some positions.

    Args:
        values: [n, L, ..].
        places: positions [n, p]; None for all.

    Returns:
        [n, p, ..]; all of them without places.
    """
    if places is None:
        return values
    first = int(places[0, 0]) if len(places) else 0
    alike = torch.arange(first, first + places.shape[1]).expand_as(places)
    if torch.equal(places, alike):  # windows of one length: a copy of a slice takes a fraction of the time
        return values[:, first : first + places.shape[1]].contiguous()
    return values[torch.arange(len(values)).unsqueeze(1), places]


def where_real(values: Tensor, real: Tensor) -> Tensor:
    """The values that are real.

    Args:
        values: [n, p, ..].
        real: mask [n, p].

    Returns:
        [m, ..].
    """
    return values.flatten(0, 1) if bool(real.all()) else values[real]


def last_places(lengths: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The last positions of left-justified sequences.

    Of a shorter sequence the first ones do not: they stand for place 0.

    Args:
        lengths: int64 [n], items of each.
        count: p, how many positions.

    Returns:
        Positions [n, p], and which of them exist [n, p]; those that do not stand for position 0.
    """
    places = lengths.unsqueeze(1) - count + torch.arange(count)
    return places.clamp(min=0), places >= 0


def trained_places(contexts: Contexts, lengths: Tensor, positions: int, most: int) -> tuple[Tensor, Tensor]:
    """The last positions that training predicts at: as many as the contexts have targets, or else `positions`.

    Args:
        contexts: of n windows.
        lengths: int64 [n], items of each that are predicted from or masked.
        positions: how many, where the contexts do not say it.
        most: how many there are at most.

    Returns:
        Positions [n, p], and which of them are trained [n, p].
    """
    targets = contexts.targets
    count = min(positions if targets is None else int(targets.max()) if len(targets) else 1, most)
    places, real = last_places(lengths, count)
    if targets is not None:
        real &= torch.arange(count) >= count - targets.unsqueeze(1)
    return places, real


def successors(contexts: Contexts, target: Tensor) -> Tensor:
    """What each position should predict: the next item of the window, then its target; 0 after that. [n, L].

    Args:
        contexts: left-justified, of at least one item each.
        target: int64 [n], the item row after each context.

    Returns:
        Item rows [n, L].
    """
    following = F.pad(contexts.items[:, 1:], (0, 1))
    following[torch.arange(len(target)), contexts.lengths - 1] = target
    return following
