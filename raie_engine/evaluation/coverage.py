"""How many of a slice's interactions are evaluated, and why the others are not.

Legend: n interactions.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from raie.engine.data.interactions import Interactions, between
from raie.engine.data.window_length import earlier_items
from raie.engine.data.windows import Windows

__all__ = ["Coverage", "coverage_of"]


@dataclass(frozen=True)
class Coverage:
    """interactions: of the slice. evaluated: those that are asked for. first: left out, because their user has no earlier
    interaction. new_items: of those evaluated, the ones with an item that the model does not know then; sure misses.
    """

    interactions: int
    evaluated: int
    first: int
    new_items: int

    @property
    def outside_windows(self) -> int:
        """Left out by how windows are cut; none with windows.context "history"."""
        return self.interactions - self.evaluated - self.first

    @property
    def share(self) -> float:
        """Of the interactions, those evaluated; 0 for none."""
        return self.evaluated / self.interactions if self.interactions else 0.0

    def to_mapping(self) -> dict[str, int]:
        """Plain values."""
        return {**asdict(self), "outside_windows": self.outside_windows}


def coverage_of(interactions: Interactions, after: int | None, windows: Windows, known_items: int) -> Coverage:
    """What of the interactions after a time is evaluated in these windows.

    Args:
        interactions: the log up to the end of the slice, in time order.
        after: epoch seconds, the end of the slice before; None for the whole log.
        windows: those that evaluate, one target each.
        known_items: the last item row that the evaluated model knows.

    Returns:
        The counts.
    """
    new = len(between(interactions, after, None))
    start = len(interactions) - new
    return Coverage(
        interactions=new,
        evaluated=len(windows),
        first=int((earlier_items(interactions)[start:] == 0).sum()),
        new_items=int((windows.target > known_items).sum()),
    )
