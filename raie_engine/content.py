"""The bytes that a setup or an edit adds to a snapshot's content, by role; whatever it does not name stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ContentParts", "RegionFacts"]


@dataclass(frozen=True)
class ContentParts:
    """backbone, space: of a setup only. appended: one more chunk for each of these lists. replaced: shared parts that
    are one blob each. regions: the whole entry of every region that changes.
    """

    backbone: Mapping[str, bytes] = field(default_factory=dict)
    space: bytes | None = None
    appended: Mapping[str, bytes] = field(default_factory=dict)
    replaced: Mapping[str, bytes] = field(default_factory=dict)
    regions: Mapping[int, Mapping[str, bytes]] = field(default_factory=dict)


@dataclass(frozen=True)
class RegionFacts:
    """What happened to one region, as the registry's tables and a reader want it. Angles in radians."""

    region: int
    action: str
    windows: int
    centre_shift: float
    radius: float
    concentration: float
    count: int
    centre: tuple[float, ...]
    metrics: Mapping[str, Any]
