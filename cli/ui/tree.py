"""Where the lines of a history go: a forest of snapshots, newest first, as lanes of text.

The trunk (the head and its ancestors) keeps the first lane; a snapshot that was composed beside it opens another,
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
    """Lanes for (id, parent) pairs, every child before its parent; `trunk` is the head's id.

    A parent that is not among the nodes leaves its lane open at the end: the history goes on.
    """
    lanes: list[str | None] = [trunk]
    begun: set[int] = set()
    rows = []
    for node, parent in nodes:
        waiting = [lane for lane, expected in enumerate(lanes) if expected == node]
        place = waiting[0] if waiting else _free(lanes)
        joins = _joins(lanes, waiting) if len(waiting) > 1 else None
        for lane in waiting[1:]:
            lanes[lane] = None
            begun.discard(lane)
        begun.add(place)
        mark = "●" if place == 0 else "○"
        lanes[place] = node
        line = _draw(lanes, begun, {place: mark})
        lanes[place] = parent
        while lanes and lanes[-1] is None:
            begun.discard(len(lanes) - 1)
            lanes.pop()
        rows.append(Row(joins, line, _draw(lanes, begun, {})))
    return rows


def _free(lanes: list[str | None]) -> int:
    """The first lane beside the trunk that nobody uses; a new one where there is none."""
    for lane in range(1, len(lanes)):
        if lanes[lane] is None:
            return lane
    lanes.append(None)
    return len(lanes) - 1


def _draw(lanes: Sequence[str | None], begun: set[int], marks: dict[int, str]) -> str:
    live = (marks.get(i) or ("│" if lane is not None and i in begun else " ") for i, lane in enumerate(lanes))
    return " ".join(live).rstrip()


def _joins(lanes: Sequence[str | None], waiting: Sequence[int]) -> str:
    """The line in which every waiting lane runs into the first of them."""
    first, last = waiting[0], waiting[-1]
    drawn = []
    for lane, expected in enumerate(lanes):
        if lane in waiting:
            drawn.append("├" if lane == first else "╯" if lane == last else "┴")
        elif first < lane < last:
            drawn.append("─" if expected is None else "┼")
        else:
            drawn.append(" " if expected is None else "│")
        drawn.append("─" if first <= lane < last else " ")
    return "".join(drawn).rstrip()


def branches(items: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """Items as branches of one stem: each has its line and the lines that hang below it."""
    lines = []
    for place, (line, below) in enumerate(items):
        is_last = place == len(items) - 1
        lines.append(f"{'└─' if is_last else '├─'} {line}")
        lines.extend(f"{'  ' if is_last else '│ '} {hanging}" for hanging in below)
    return lines
