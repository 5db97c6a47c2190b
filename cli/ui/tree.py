"""Where the lines of a history go: a forest of snapshots, newest first, as lanes of text.

The trunk (the head and its ancestors) keeps the first lane; a snapshot that was cherry-picked beside it opens another,
which runs down to its parent and joins it there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Row", "branches", "graph"]


@dataclass(frozen=True)
class Row:
    """The lanes beside one snapshot. joins: a line above it where branches end here, or None.

    node: beside its own line.  below: beside the lines of detail under it.
    """

    joins: str | None
    node: str
    below: str


def graph(nodes: Iterable[tuple[str, str | None]], trunk: str | None) -> list[Row]:
    """Lanes for snapshots.

    Args:
        nodes: (id, parent) pairs, every child before its parent. A parent that is not among them leaves its lane open
            at the end: the history goes on.
        trunk: The id of the head, which has the first lane.

    Returns:
        One row per node, in their order.
    """
    lanes: list[str | None] = [trunk]
    begun: set[int] = set()
    rows = []
    for node, parent in nodes:
        ending = [lane for lane, expected in enumerate(lanes) if expected == node]
        own = ending[0] if ending else _free(lanes)
        joins = _joins(lanes, ending) if len(ending) > 1 else None
        for lane in ending[1:]:
            lanes[lane] = None
            begun.discard(lane)
        begun.add(own)
        mark = "●" if own == 0 else "○"
        lanes[own] = node
        line = _render(lanes, begun, {own: mark})
        lanes[own] = parent
        while lanes and lanes[-1] is None:
            begun.discard(len(lanes) - 1)
            lanes.pop()
        rows.append(Row(joins, line, _render(lanes, begun, {})))
    return rows


def _free(lanes: list[str | None]) -> int:
    """The first lane beside the trunk that nobody uses; a new one where there is none."""
    for lane in range(1, len(lanes)):
        if lanes[lane] is None:
            return lane
    lanes.append(None)
    return len(lanes) - 1


def _render(lanes: Sequence[str | None], begun: set[int], marks: dict[int, str]) -> str:
    live = (marks.get(i) or ("│" if lane is not None and i in begun else " ") for i, lane in enumerate(lanes))
    return " ".join(live).rstrip()


def _joins(lanes: Sequence[str | None], ending: Sequence[int]) -> str:
    """The line in which every lane that ends here runs into the first of them."""
    first, last = ending[0], ending[-1]
    drawn = []
    for lane, expected in enumerate(lanes):
        if lane in ending:
            drawn.append("├" if lane == first else "╯" if lane == last else "┴")
        elif first < lane < last:
            drawn.append("─" if expected is None else "┼")
        else:
            drawn.append(" " if expected is None else "│")
        drawn.append("─" if first <= lane < last else " ")
    return "".join(drawn).rstrip()


def branches(items: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """Items as branches of one stem.

    Args:
        items: (line, the lines that hang below it) pairs.

    Returns:
        The lines, each behind its piece of the stem.
    """
    lines = []
    for index, (line, below) in enumerate(items):
        is_last = index == len(items) - 1
        lines.append(f"{'└─' if is_last else '├─'} {line}")
        lines.extend(f"{'  ' if is_last else '│ '} {hanging}" for hanging in below)
    return lines
