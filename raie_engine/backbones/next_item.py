"""Which item each position of a window should predict, for backbones whose state j has read the items 0..j alone.

Legend: n windows, L positions, d hidden size, m trained positions.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from raie_engine.backbones.protocol import Contexts

__all__ = ["last_states", "successors", "trained_positions"]


def last_states(states: Tensor, contexts: Contexts) -> Tensor:
    """The state [n, d] at the last real item of each left-justified context, of states [n, L, d]."""
    return states[torch.arange(len(states)), contexts.lengths.clamp(min=1) - 1]


def successors(contexts: Contexts, target: Tensor) -> Tensor:
    """What each position should predict: the next item of the window, then its target; 0 after that. [n, L].

    contexts: left-justified, of at least one item each.
    """
    following = F.pad(contexts.items[:, 1:], (0, 1))
    following[torch.arange(len(target)), contexts.lengths - 1] = target
    return following


def trained_positions(states: Tensor, contexts: Contexts, target: Tensor, positions: int) -> tuple[Tensor, Tensor]:
    """(states [m, d], following items [m]) of the last `positions` real positions of each left-justified context."""
    length = contexts.lengths.unsqueeze(1)
    place = torch.arange(contexts.items.shape[1])
    read = (place < length) & (place >= length - positions)
    return states[read], successors(contexts, target)[read]
