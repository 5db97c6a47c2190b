"""Where the marks of a page's charts stand: pure geometry in the units of each drawing, to one digit.

A mark differs by shape and by words, and by colour only besides.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from raie.registry.promotion.impact_report import Change

if TYPE_CHECKING:
    from raie.review.region_map import MapPoint

__all__ = [
    "Axis",
    "IntervalMark",
    "MapMark",
    "TradeCross",
    "TradeMark",
    "axis_of",
    "interval_mark",
    "map_marks",
    "trade_cross",
    "trade_marks",
]

INTERVAL_WIDTH = 180.0
"""Of the drawing of one interval; its height is the row's."""
MAP_WIDTH, MAP_HEIGHT, MAP_EDGE = 480.0, 360.0, 48.0
"""Of a map, and how far its centres stay from the edge."""
TRADE_SIZE, TRADE_EDGE = 360.0, 44.0
"""Of the square in which retention stands against adaptation."""
_LARGEST_RADIUS, _LEAST_RADIUS = 64.0, 5.0
"""Of the circle of a region with all windows, and of one with next to none."""
MOST_NAMES = 40
"""With more regions a map names those that differ, and with more of those none: its tooltips and tables name them."""
_NOTICED = 4.0
"""A centre that moved less than this is not shown as moved."""


@dataclass(frozen=True)
class Axis:
    """A range of changes that holds 0."""

    low: float
    high: float

    def at(self, value: float, width: float, edge: float = 6.0) -> float:
        """Where a change stands on a line of a width, with room at both ends."""
        part = (value - self.low) / (self.high - self.low)
        return round(edge + part * (width - 2 * edge), 1)


@dataclass(frozen=True)
class IntervalMark:
    """A change with its interval on a line; zero: where no change stands."""

    zero: float
    x: float
    low: float
    high: float


@dataclass(frozen=True)
class MapMark:
    """A region on a map.

    Attributes:
        radius: Of its circle; shapes other than circles have the same area.
        shape: Points of the outline; "" for a circle.
        label, below: How far below the centre the baselines of the number and of the mark's word are.
        named, worded: Whether the map has room for its number, and for the word of its mark.
        moved_from: Where its centre was; None where it did not move to speak of.
    """

    region: int
    mark: str
    x: float
    y: float
    radius: float
    shape: str
    label: float
    below: float
    named: bool
    worded: bool
    moved_from: tuple[float, float] | None = None


@dataclass(frozen=True)
class TradeMark:
    """Where regions stand that changed alike; name: their numbers."""

    name: str
    x: float
    y: float


def axis_of(changes: Iterable[Change]) -> Axis:
    """The range that holds all changes with their intervals, and 0."""
    ends = [end for change in changes for end in (change.mean, change.low, change.high) if end is not None]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    return Axis(low, high) if high - low > 1e-9 else Axis(-1.0, 1.0)


def interval_mark(change: Change, axis: Axis) -> IntervalMark:
    """Where a change and its interval stand; an unknown end is where the mean is."""
    at = [
        axis.at(change.mean if end is None else end, INTERVAL_WIDTH)
        for end in (change.mean, change.low, change.high)
    ]
    return IntervalMark(axis.at(0.0, INTERVAL_WIDTH), *at)


def map_marks(points: Sequence[MapPoint], before: Mapping[int, MapPoint] | None = None) -> tuple[MapMark, ...]:
    """The marks of one map: regions that differ lie over the others, and small ones over large ones.

    Args:
        points: The regions.
        before: Region -> where it was, for a map that shows what moved.
    """
    ordered = sorted(points, key=lambda point: (point.mark != "same", -point.share, point.region))
    differing = {point.region for point in points if point.mark != "same"}
    named = next((group for group in ({p.region for p in points}, differing) if len(group) <= MOST_NAMES), set())
    marks = [_map_mark(point, (before or {}).get(point.region)) for point in ordered]
    return tuple(replace(m, named=m.region in named, worded=len(points) <= MOST_NAMES) for m in marks)


def _map_mark(point: MapPoint, before: MapPoint | None) -> MapMark:
    x, y = _on_map(point)
    radius = round(max(_LEAST_RADIUS, _LARGEST_RADIUS * math.sqrt(point.share)), 1)
    was = None if before is None else _on_map(before)
    moved = was is not None and math.dist(was, (x, y)) >= _NOTICED
    return MapMark(
        region=point.region,
        mark=point.mark,
        x=x,
        y=y,
        radius=radius,
        shape=_shape(point.mark, x, y, radius),
        label=4.5 if radius >= 10 else -radius - 4,
        below=round(_reach(point.mark, radius) + 13, 1),
        named=True,
        worded=True,
        moved_from=was if moved else None,
    )


def _on_map(point: MapPoint) -> tuple[float, float]:
    across, up = (size / 2 - MAP_EDGE for size in (MAP_WIDTH, MAP_HEIGHT))
    return round(MAP_WIDTH / 2 + point.x * across, 1), round(MAP_HEIGHT / 2 - point.y * up, 1)


def _corner(radius: float) -> float:
    """How far the corners of a square are from its centre that has the area of a circle of this radius."""
    return radius * math.sqrt(math.pi / 2)


def _reach(mark: str, radius: float) -> float:
    """How far a mark goes down from its centre."""
    return {"changed": _corner(radius), "added": _corner(radius) / math.sqrt(2)}.get(mark, radius)


_CORNERS: Mapping[str, tuple[int, float]] = {"changed": (4, -math.pi / 2), "added": (4, -math.pi / 4)}
"""Mark -> the corners of its shape, and the angle of the first: a diamond and a square."""


def _shape(mark: str, x: float, y: float, radius: float) -> str:
    """The outline of a mark with the area of a circle of this radius; "" for a circle."""
    if mark not in _CORNERS:
        return ""
    (corners, first), reach = _CORNERS[mark], _corner(radius)
    turns = (first + 2 * math.pi * number / corners for number in range(corners))
    return " ".join(f"{x + reach * math.cos(turn):.1f},{y + reach * math.sin(turn):.1f}" for turn in turns)


def trade_marks(changes: Mapping[str, tuple[float, float]], axis: Axis) -> tuple[TradeMark, ...]:
    """Where regions stand: what they lost or gained on setup windows across, on new windows upwards.

    Args:
        changes: Name -> the change on setup windows and on new windows.
        axis: Of both directions.
    """
    together: dict[tuple[float, float], list[str]] = {}
    for name, (old, new) in changes.items():
        together.setdefault((_along(axis, old), _up(axis, new)), []).append(name)
    return tuple(TradeMark(", ".join(names), *at) for at, names in together.items())


def _along(axis: Axis, value: float) -> float:
    return axis.at(value, TRADE_SIZE, TRADE_EDGE)


def _up(axis: Axis, value: float) -> float:
    return round(TRADE_SIZE - axis.at(value, TRADE_SIZE, TRADE_EDGE), 1)


@dataclass(frozen=True)
class TradeCross:
    """The whole, and the ends of its two intervals; an unknown end is where the mean is."""

    x: float
    y: float
    left: float
    right: float
    bottom: float
    top: float


def trade_cross(retention: Change, adaptation: Change, axis: Axis) -> TradeCross:
    """Where the whole stands: its change on setup windows across, on new windows upwards."""

    def ends(change: Change) -> tuple[float, float]:
        return (
            change.mean if change.low is None else change.low,
            change.mean if change.high is None else change.high,
        )

    (left, right), (bottom, top) = ends(retention), ends(adaptation)
    return TradeCross(
        _along(axis, retention.mean),
        _up(axis, adaptation.mean),
        _along(axis, left),
        _along(axis, right),
        _up(axis, bottom),
        _up(axis, top),
    )
