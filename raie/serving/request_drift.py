"""Drift as a server sees it: the shares of regions that were served, beside those that the snapshot was set up with."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raie.engine.data.windows import concatenate
from raie.engine.edit.drift_report import LEAST_ERRORS
from raie.engine.model import ModelView
from raie.engine.regions.region_map import assign
from raie.errors import UsageError
from raie.serving.request_log import read_requests

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = ["RequestDrift", "ServedRegion", "drift_of_requests", "served_regions"]


@dataclass(frozen=True)
class ServedRegion:
    """One region as it was served.

    Attributes:
        region: Its id.
        requests: Histories that it answered.
        share_before: Of the held-out windows of the setup.
        share_now: Of the histories that were served, cold ones aside.
        errors: By how many standard errors the share changed; NaN where there is nothing to compare.
        drifted: Whether by more than three.
    """

    region: int
    requests: int
    share_before: float
    share_now: float
    errors: float
    drifted: bool


@dataclass(frozen=True)
class RequestDrift:
    """What a log of requests says of a snapshot.

    Attributes:
        snapshot: Its id.
        requests: Histories that it answered.
        cold: Those of which it knew no item.
        unknown_items: Items that it did not know.
        other_snapshots: Histories that other snapshots answered, which do not count.
        stability_index: The population stability index of the shares; above 0.2 is a shift.
        regions: Every region of the snapshot.
    """

    snapshot: str
    requests: int
    cold: int
    unknown_items: int
    other_snapshots: int
    stability_index: float
    regions: tuple[ServedRegion, ...]

    @property
    def drifted(self) -> tuple[int, ...]:
        """The regions whose share changed."""
        return tuple(region.region for region in self.regions if region.drifted)

    def to_mapping(self) -> dict[str, Any]:
        """Plain values; NaN where a number does not exist."""
        return {
            **asdict(self),
            "regions": [asdict(region) for region in self.regions],
            "drifted": list(self.drifted),
        }


def drift_of_requests(workspace: Workspace, log: str | Path, *, ref: str | None = None) -> RequestDrift:
    """Compare the shares of regions that were served with those of a snapshot's held-out windows.

    Args:
        workspace: Where the model lives.
        log: The file or the folder that `raie serve --log-requests` wrote.
        ref: The snapshot; None for the one that answered most of the requests.

    Raises:
        UsageError: There is no such log, or the snapshot answered none of it.
        RegistryError: There is no such snapshot, or the database or the store refuses.
    """
    table = read_requests(Path(log))
    by_snapshot = Counter(table["snapshot"].to_pylist())
    if not by_snapshot:
        raise UsageError(f"expected a request in {log}, found none")
    registry = workspace.registry()
    snapshot = registry.resolve(workspace.model, ref or by_snapshot.most_common(1)[0][0])
    if not by_snapshot[snapshot.id]:
        raise UsageError(
            f"expected requests that snapshot {snapshot.id[:12]} answered in {log}, found none: leave --ref out"
        )
    view = ModelView(snapshot.content, registry.get, workspace.backbone_file)
    mine = table.filter([name == snapshot.id for name in table["snapshot"].to_pylist()])
    answered = [region for region in mine["region"].to_pylist() if region is not None]
    regions = served_regions(_held_out(view), Counter(answered))
    return RequestDrift(
        snapshot=snapshot.id,
        requests=len(mine),
        cold=len(mine) - len(answered),
        unknown_items=sum(mine["ignored"].to_pylist()),
        other_snapshots=len(table) - len(mine),
        stability_index=_stability(regions),
        regions=regions,
    )


def _held_out(view: ModelView) -> dict[int, int]:
    """Held-out windows of the setup in each region."""
    older = concatenate([view.validation, view.holdout])
    assigned = assign(view.region_map, view.vectors(older))
    return {int(region): int((assigned == region).sum()) for region in view.region_map.ids}


def served_regions(before: Mapping[int, int], now: Mapping[int, int]) -> tuple[ServedRegion, ...]:
    """Every region, with its shares and how sure it is that they differ.

    Args:
        before: Windows of every region.
        now: Histories that were served, by region.
    """
    n, m = sum(before.values()), sum(now.values())
    regions = []
    for region, windows in sorted(before.items()):
        requests = now.get(region, 0)
        errors = _errors(windows, n, requests, m)
        drifted = abs(errors) > LEAST_ERRORS
        shares = (windows / n if n else math.nan, requests / m if m else math.nan)
        regions.append(ServedRegion(region, requests, *shares, errors, drifted))
    return tuple(regions)


def _errors(windows: int, n: int, requests: int, m: int) -> float:
    """Standard errors between two shares, as of two samples of one share; NaN where either sample is empty."""
    if not n or not m:
        return math.nan
    pooled = (windows + requests) / (n + m)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return (requests / m - windows / n) / error if error > 0 else 0.0


def _stability(regions: tuple[ServedRegion, ...]) -> float:
    """The sum of (now - before) log(now / before); an empty share counts as one in ten thousand."""
    before, now = (np.array([getattr(r, name) for r in regions]) for name in ("share_before", "share_now"))
    before, now = np.maximum(before, 1e-4), np.maximum(now, 1e-4)
    return float(((now - before) * np.log(now / before)).sum())
