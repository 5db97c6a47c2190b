"""Dropout from random bytes: torch draws a number per activation, which takes a sixth of a training step.

Legend: n activations.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["dropped"]

_LEVELS = 256


def dropped(x: Tensor, rate: float, training: bool) -> Tensor:
    """Activations of which a share is zero and the others are scaled up, so that their mean stays.

    Args:
        x: of any shape.
        rate: the share, to the nearest 256th.
        training: whether any are dropped.

    Returns:
        As x.
    """
    level = min(round(rate * _LEVELS), _LEVELS - 1)
    if not training or not level:
        return x
    words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
    drawn = words.view(torch.uint8)[: x.numel()].view(x.shape)
    return x * (drawn >= level).to(x.dtype).mul_(_LEVELS / (_LEVELS - level))
