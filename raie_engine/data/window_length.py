"""How many context items a window has, where nobody chose: by how long the histories of a log are.

Legend: n interactions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from raie.engine.arrays import stable_order
from raie.engine.config import LENGTHS, WindowConfig
from raie.engine.data.interactions import Interactions

__all__ = ["WHOLE_HISTORIES", "LengthChoice", "choose_length", "earlier_items"]

WHOLE_HISTORIES = 0.8
"""The share of interactions whose whole history a context has to hold."""


@dataclass(frozen=True)
class LengthChoice:
    """The length of the windows, and why.

    length: context items. chosen_by: "option" or "histories". shares: of each length that was measured, the share of
    the interactions with a history whose whole history it holds; {} where there is none.
    """

    length: int
    chosen_by: str
    shares: dict[int, float]

    def configured(self, config: WindowConfig) -> WindowConfig:
        """The configuration with this length.

        Args:
            config: how windows are cut.

        Returns:
            The configuration; a stride of 0 becomes half of the length.
        """
        return replace(config, length=self.length)


def choose_length(interactions: Interactions, config: WindowConfig) -> LengthChoice:
    """The smallest of LENGTHS that holds the whole history of most interactions; the longest where none does.

    Args:
        interactions: the setup slice, in time order.
        config: how windows are cut; a length that it names is taken.

    Returns:
        The choice.
    """
    history = np.bincount(interactions.user)
    later = np.maximum(history - 1, 0)  # interactions of each user with one before them
    count = int(later.sum())
    shares = {length: int(np.minimum(later, length).sum()) / count for length in LENGTHS} if count else {}
    if config.length:
        return LengthChoice(config.length, "option", shares)
    usable = [length for length in LENGTHS if length >= max(config.min_length, config.stride)]
    whole = [length for length in usable if not shares or shares[length] >= WHOLE_HISTORIES]
    return LengthChoice(whole[0] if whole else usable[-1], "histories", shares)


def earlier_items(interactions: Interactions) -> NDArray[np.int64]:
    """How many interactions of its user lie before each.

    Args:
        interactions: n of them, in time order.

    Returns:
        int64 [n], by row.
    """
    order = stable_order(interactions.user)
    user = interactions.user[order]
    first = np.flatnonzero(np.append(True, user[1:] != user[:-1])) if len(user) else order[:0]
    count = np.diff(np.append(first, len(user)))
    earlier = np.empty(len(user), np.int64)
    earlier[order] = np.arange(len(user)) - np.repeat(first, count)
    return earlier
