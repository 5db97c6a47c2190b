"""New regions from the windows that belong nowhere: cluster them, and keep what looks like a region.

Legend: m pending windows, d dimensions. Angles in radians. A cluster becomes a region when it is large enough, not
much looser than the loosest region there is, and its centre lies outside the region whose centre is nearest. A cluster
whose centre lies inside that region is its fringe: its windows go to the nearest region as Expand. All else
stays pending.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raie.engine.arrays import Floats, Ints
from raie.engine.config import RegionConfig
from raie.engine.errors import InputError
from raie.engine.regions.kmeans import nearest_centre, spherical_kmeans
from raie.engine.regions.region_map import RegionMap, angles, region_shape

__all__ = ["NewRegion", "propose_regions"]

_LOOSENESS = 1.25
"""A new region's radius may be this many times the largest R_max: the new is not yet learned and lies wider."""

_TRIM = 3.0 * 1.4826  # median absolute deviations; the factor makes them standard deviations of a normal spread


@dataclass(frozen=True, eq=False)
class NewRegion:
    """A region that the map lacks: centre float32 [d], R and R_max in radians, kappa, the rows of its windows,
    and the
    existing region nearest to it, whose adapter it starts from."""

    centre: Floats
    radius: float
    max_radius: float
    concentration: float
    rows: npt.NDArray[np.int64]
    nearest: int


def propose_regions(
    region_map: RegionMap, vectors: Floats, config: RegionConfig, *, min_region: int, max_added: int, seed: int
) -> tuple[tuple[NewRegion, ...], Ints]:
    """The new regions, largest first.

    Args:
        region_map: of the snapshot.
        vectors: [m, d], of the pending windows.
        config: the options.
        min_region: smallest new region, in windows.
        max_added: most new regions.
        seed: of everything random in it.

    Returns:
        The regions, and for each pending vector int32 [m] the existing region it goes to, -1 for none.

    Source: arXiv 2603.00638, equation 6.

    Departs from the paper: clusters too close to each other are merged and outliers trimmed, so that K of the
    clustering need not be known; a cluster must pass the tests above before it is a region.
    """
    released = np.full(len(vectors), -1, np.int32)
    added: list[NewRegion] = []
    for rows in _merged(vectors, _clusters(vectors, min_region, max_added, seed), config.quantile):
        kept = _trimmed(vectors, rows)
        if len(kept) < min_region:
            continue
        centre = _direction(vectors[kept])
        near = angles(region_map.centres @ centre)
        row = int(near.argmin())
        if near[row] <= region_map.radius[row]:
            released[kept] = region_map.ids[nearest_centre(vectors[kept], region_map.centres)[0]]
            continue
        shape = region_shape(
            vectors[kept], centre, config.quantile, config.max_quantile, config.slack, float(near[row]) / 2
        )
        if shape[0] <= _LOOSENESS * region_map.max_radius.max() and len(added) < max_added:
            added.append(NewRegion(centre, *shape, kept, int(region_map.ids[row])))
    return tuple(added), released


def _clusters(vectors: Floats, min_region: int, max_added: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """Rows of each cluster: twice as many as may be added, so that outliers need not share one with a region."""
    directed = np.flatnonzero(vectors.any(axis=1))
    for k in range(min(2 * max_added, 2 * len(directed) // min_region), 0, -1):
        try:
            labels = spherical_kmeans(vectors[directed], k, seed)[1]
        except InputError:
            continue  # fewer different windows than clusters: ask for one less
        return [directed[labels == cluster] for cluster in range(k)]
    return []


def _merged(
    vectors: Floats, clusters: list[npt.NDArray[np.int64]], quantile: float
) -> list[npt.NDArray[np.int64]]:
    """The clusters, largest first; one whose centre and a larger one's lie within both their radii joins it."""
    groups: list[npt.NDArray[np.int64]] = []
    for rows in sorted(clusters, key=len, reverse=True):
        centre, radius = _direction(vectors[rows]), _spread(vectors[rows], quantile)
        for number, group in enumerate(groups):
            apart = float(angles(_direction(vectors[group]) @ centre))
            if apart <= min(radius, _spread(vectors[group], quantile)):
                groups[number] = np.sort(np.concatenate([group, rows]))
                break
        else:
            groups.append(rows)
    return sorted(groups, key=len, reverse=True)


def _trimmed(vectors: Floats, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The rows without those much farther from the centre than most: k-means hands every outlier to some cluster."""
    spread = angles(vectors[rows] @ _direction(vectors[rows]))
    middle = np.median(spread)
    deviation = np.median(np.abs(spread - middle))
    inside: npt.NDArray[np.int64] = rows[spread <= middle + _TRIM * deviation + 1e-3]
    return inside


def _spread(members: Floats, quantile: float) -> float:
    return float(np.quantile(angles(members @ _direction(members)), quantile))


def _direction(members: Floats) -> Floats:
    """The mean direction [d]; of vectors that cancel out, the first one's."""
    total = members.sum(axis=0, dtype=np.float64)
    norm = float(np.linalg.norm(total))
    return np.asarray(total / norm if norm > 1e-9 else members[0], np.float32)
