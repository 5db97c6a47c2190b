"""The region map: which parts of the routing space hold which preferences, and how tight each part is.

Legend: n windows, d dimensions, k regions, c removed components. Angles in radians. A region's state holds nothing
that another region could change, so a region an edit leaves alone keeps its bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import numpy.typing as npt

from raie.engine.arrays import Floats, Ints
from raie.engine.bytes.arrays import pack, unpack
from raie.engine.config import RegionConfig
from raie.engine.errors import DamagedArtifact, InputError, NotFinite, WrongBackbone
from raie.engine.regions.kmeans import KChoice, choose_k, nearest_centre, spherical_kmeans
from raie.engine.regions.von_mises_fisher import concentration

__all__ = [
    "LEAST_RADIUS",
    "RegionMap",
    "angles",
    "assign",
    "check_vectors",
    "choose_regions",
    "fit_regions",
    "region_shape",
    "region_state",
]

LEAST_RADIUS = 1e-3
"""Radius of a region whose windows all coincide; single precision cannot tell angles below 3.5e-4 from zero."""


@dataclass(frozen=True, eq=False)
class RegionMap:
    """All regions of one snapshot, in one routing space.

    ids int32 [k], ascending, never reused; centres float32 [k, d], norm 1; radius R and max_radius R_max float32
    [k] in [0, pi]; concentration kappa float32 [k], above 0; count int64 [k], windows so far; space: the digest
    of the routing space, in which alone centres and vectors may be compared.

    Raises: DamagedArtifact when one of these does not hold.
    """

    ids: Ints
    centres: Floats
    radius: Floats
    max_radius: Floats
    concentration: Floats
    count: npt.NDArray[np.int64]
    space: str

    def __post_init__(self) -> None:
        k = len(self.ids)
        with np.errstate(over="ignore", invalid="ignore"):
            norms = np.linalg.norm(self.centres, axis=-1)
        problems = {
            "at least one region": k > 0,
            "ascending region ids": bool((np.diff(self.ids) > 0).all()),
            "one row per region in every array": all(
                len(getattr(self, f.name)) == k for f in fields(self) if f.name != "space"
            ),
            "centres of norm 1": bool((np.abs(norms - 1) < 1e-4).all()),
            "0 <= R <= R_max <= pi": bool(
                (
                    (self.radius >= 0) & (self.radius <= self.max_radius) & (self.max_radius <= np.float32(np.pi))
                ).all()
            ),
            "concentrations above 0": bool(
                (self.concentration > 0).all() and np.isfinite(self.concentration).all()
            ),
            "counts above 0": bool((self.count > 0).all()),
        }
        broken = [name for name, holds in problems.items() if not holds]
        if broken:
            raise DamagedArtifact(
                f"a region map needs {', '.join(broken)}; found another; restore it from a snapshot"
            )

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """pi_k [k], each region's share of all windows so far; sums to 1."""
        return np.asarray(self.count / self.count.sum(), np.float64)

    @cached_property
    def digest(self) -> str:
        """sha256 over every region's state, in the order of their ids."""
        whole = hashlib.sha256()
        for region in self.ids.tolist():
            whole.update(region_state(self, region))
        return whole.hexdigest()

    def position(self, region: int) -> int:
        """The row of a region id.

        Args:
            region: its id.

        Returns:
            The row.

        Raises:
            InputError: for an id that the map does not hold.
        """
        row = int(np.searchsorted(self.ids, region))
        if row == len(self.ids) or self.ids[row] != region:
            raise InputError(f"expected one of the regions {self.ids.tolist()}, found {region}")
        return row

    def require_space(self, space: str) -> None:
        """Checks that vectors and centres are of one routing space.

        Args:
            space: digest of the routing space.

        Raises:
            WrongBackbone: for another space.
        """
        if space != self.space:
            raise WrongBackbone(
                f"expected vectors of routing space {self.space[:12]}, found {space[:12]}; "
                "encode the windows again with this snapshot's backbone and space"
            )

    @classmethod
    def from_states(cls, states: Mapping[int, bytes], space: str) -> RegionMap:
        """The map whose regions have these states.

        Args:
            states: bytes by region id.
            space: digest of the routing space.

        Returns:
            The map.

        Raises:
            DamagedArtifact: for bytes that hold no such value.
            WrongBackbone: for another space.
        """
        read = [_read_state(states[region], region, space) for region in sorted(states)]
        if not read:
            raise DamagedArtifact("expected at least one region's state, found none")
        if len({row["centres"].shape for row in read}) != 1:
            raise DamagedArtifact("expected the regions' centres in one space, found other numbers of dimensions")
        stack = {name: np.concatenate([row[name] for row in read]) for name in _STATE_ARRAYS}
        return cls(ids=np.array(sorted(states), np.int32), space=space, **stack)


_STATE_ARRAYS = {
    "centres": np.float32,
    "radius": np.float32,
    "max_radius": np.float32,
    "concentration": np.float32,
    "count": np.int64,
}
_STATE_AXES = {name: "1d" if name == "centres" else "1" for name in _STATE_ARRAYS}


def region_state(region_map: RegionMap, region: int) -> bytes:
    """One region's state, lossless and equal in any process; it depends on no other region.

    Args:
        region_map: of the snapshot.
        region: its id.

    Returns:
        Bytes that depend on no other region.
    """
    row = region_map.position(region)
    arrays = {
        name: np.asarray(getattr(region_map, name)[row : row + 1], kind) for name, kind in _STATE_ARRAYS.items()
    }
    return pack({"kind": "region", "region": region, "space": region_map.space}, arrays)


def _read_state(data: bytes, region: int, space: str) -> dict[str, npt.NDArray[np.generic]]:
    header, arrays = unpack(data, "region", dict(_STATE_ARRAYS), _STATE_AXES)
    if header.get("region") != region:
        raise DamagedArtifact(f"expected the state of region {region}, found that of {header.get('region')}")
    if header.get("space") != space:
        raise WrongBackbone(
            f"expected region {region} in routing space {space[:12]}, found {str(header.get('space'))[:12]}"
        )
    return arrays


def assign(region_map: RegionMap, vectors: Floats) -> Ints:
    """The id [n] of the region whose centre is nearest; of equally near ones the lower id.

    Args:
        region_map: of the snapshot.
        vectors: float32 [n, d], routing vectors of norm 1.

    Returns:
        int32 [n].
    """
    check_vectors(vectors, region_map)
    return region_map.ids[nearest_centre(vectors, region_map.centres)[0]]


def angles(cosines: npt.NDArray[np.floating]) -> Floats:
    """Angles in radians of cosines that rounding may have pushed past 1.

    Args:
        cosines: any shape.

    Returns:
        float32 of the same shape.
    """
    return np.asarray(np.arccos(np.clip(cosines, -1.0, 1.0)), np.float32)


def check_vectors(vectors: Floats, region_map: RegionMap) -> None:
    """Checks vectors before a decision.

    Args:
        vectors: [n, d].
        region_map: of the snapshot.

    Raises:
        WrongBackbone: for another number of dimensions.
        NotFinite: with the number of bad rows.
    """
    d = region_map.centres.shape[1]
    if vectors.ndim != 2 or vectors.shape[1] != d:
        raise WrongBackbone(f"expected vectors [n, {d}] of the map's routing space, found shape {vectors.shape}")
    # A row holding NaN or infinity has a sum that is not finite, and summing is one pass without a copy.
    bad = int((~np.isfinite(vectors.sum(axis=1))).sum())
    if bad:
        raise NotFinite(
            f"expected finite routing vectors, found {bad} of {len(vectors)} rows with NaN or infinity"
        )


def choose_regions(vectors: Floats, config: RegionConfig, seed: int) -> KChoice:
    """What every K from 2 to config.max_regions measures on these windows, and which one is taken.

    Of windows that are too few or too alike to measure any, all are one region.

    Args:
        vectors: float32 [n, d], routing vectors of norm 1.
        config: the options.
        seed: of everything random in it.

    Returns:
        The K and what every K measured.
    """
    return choose_k(
        vectors,
        range(2, config.max_regions + 1),
        seed,
        min_share=config.min_share,
        restarts=config.restarts,
        points_per_centre=config.points_per_centre,
    )


def fit_regions(
    vectors: Floats, config: RegionConfig, seed: int, space: str, regions: int = 0
) -> tuple[RegionMap, Ints]:
    """Cluster the setup windows into regions 0 to K-1.

    R_k is the q-quantile of the members' angles to c_k, and kappa_k follows from their mean cosine. R_max is the
    max_quantile of the angles, or slack times R_k if that is larger and does not pass the midpoint to the nearest
    other centre: data may lie beyond the midpoint (in many dimensions it does), invented room may not.

    Args:
        vectors: float32 [n, d], routing vectors of norm 1.
        config: the options.
        seed: of everything random in it.
        space: digest of the routing space.
        regions: K; 0 for config.regions, or else what `choose_regions` takes.

    Returns:
        The map, and each window's region int32 [n].

    Raises:
        InputError: for too few different windows.

    Source: arXiv 2603.00638, phase 1; Banerjee et al. (2005) for kappa.

    Departs from the paper: R_max is calibrated per region instead of being one constant.
    """
    k = regions or config.regions or choose_regions(vectors, config, seed).k
    centres, labels = spherical_kmeans(vectors, k, seed, config.restarts, config.points_per_centre)
    order = np.argsort(
        -np.bincount(labels, minlength=k), kind="stable"
    )  # largest first: ids mean something to a reader
    centres, labels = centres[order], np.argsort(order).astype(np.int32)[labels]
    midpoint = _nearest_other(centres) / 2
    rows = [np.flatnonzero(labels == region) for region in range(k)]
    shapes = [
        region_shape(vectors[rows[i]], centres[i], config.quantile, config.max_quantile, config.slack, midpoint[i])
        for i in range(k)
    ]
    radius, max_radius, kappa = (np.array(column, np.float32) for column in zip(*shapes, strict=True))
    count = np.array([len(members) for members in rows], np.int64)
    return RegionMap(np.arange(k, dtype=np.int32), centres, radius, max_radius, kappa, count, space), labels


def region_shape(
    members: Floats, centre: Floats, quantile: float, max_quantile: float, slack: float, midpoint: float
) -> tuple[float, float, float]:
    """The shape of a region from its windows.

    Args:
        members: float32 [n, d], their vectors.
        centre: float32 [d].
        quantile: q of R_k.
        max_quantile: of R_max.
        slack: R_max is at least slack times R_k on this side of the midpoint.
        midpoint: radians, half the way to the nearest other centre.

    Returns:
        R_k and R_max in radians, and kappa.
    """
    cosines = (members @ centre).astype(np.float64)
    spread = angles(cosines)
    radius = max(float(np.quantile(spread, quantile)), LEAST_RADIUS)
    max_radius = max(float(np.quantile(spread, max_quantile)), min(slack * radius, midpoint), radius)
    limit = float(np.float32(np.pi))
    return min(radius, limit), min(max_radius, limit), concentration(float(cosines.mean()), members.shape[1])


def _nearest_other(centres: Floats) -> Floats:
    """The angle [k] from each centre to the nearest other one; pi for a centre that is alone."""
    cosines = centres @ centres.T
    np.fill_diagonal(cosines, -1.0)
    return angles(cosines.max(axis=1))
