"""Gates: for every incoming window exactly one of Update, Expand and Add, as a pure function of the region map.

Legend: n windows, d dimensions, k regions. Angles in radians. Windows pass in chunks whose k scores stay in the
processor's cache, and the runner-up is looked for only where it can change the decision.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from raie.engine.arrays import Floats, Ints
from raie.engine.config import GateConfig
from raie.engine.errors import ConfigError
from raie.engine.regions.kmeans import CHUNK, nearest_centre
from raie.engine.regions.region_map import RegionMap, angles, check_vectors
from raie.engine.regions.von_mises_fisher import log_normaliser

__all__ = [
    "Action",
    "GateDecisions",
    "GatePolicy",
    "NearestGate",
    "PaperGate",
    "PosteriorGate",
    "RadiusGate",
    "gate_from",
    "gate_parameters",
]


class Action(IntEnum):
    """What a window means for the regions."""

    UPDATE = 0
    EXPAND = 1
    ADD = 2


@dataclass(frozen=True, eq=False)
class GateDecisions:
    """One action per window.

    action int8 [n]; region int32 [n], the region it concerns, -1 for Add; nearest int32 [n], the region whose
    centre is nearest (of equally near ones the lower id); angle float32 [n], to that centre.
    """

    action: npt.NDArray[np.int8]
    region: Ints
    nearest: Ints
    angle: Floats

    def __len__(self) -> int:
        return len(self.action)


class GatePolicy(Protocol):
    """Decides which of the three operations every window asks for."""

    name: ClassVar[str]

    def decide(self, region_map: RegionMap, vectors: Floats) -> GateDecisions:
        """The decision for every unit vector [n, d] of the map's routing space.

        Args:
            region_map: of the snapshot.
            vectors: float32 [n, d], routing vectors of norm 1.

        Returns:
            One action per window.
        """
        ...


@dataclass(frozen=True)
class RadiusGate:
    """Inside R_k of the nearest centre: Update. Up to R_max: Expand. Farther from every centre: Add."""

    name: ClassVar[str] = "radius"

    def decide(self, region_map: RegionMap, vectors: Floats) -> GateDecisions:
        """As `GatePolicy.decide`; an angle equal to R_k is an Update, one equal to R_max an Expand.

        Args:
            region_map: of the snapshot.
            vectors: float32 [n, d], routing vectors of norm 1.

        Returns:
            One action per window.
        """
        check_vectors(vectors, region_map)
        rows, cosines = nearest_centre(vectors, region_map.centres)
        angle = angles(cosines)
        action = _by_angle(angle, region_map.radius[rows], region_map.max_radius[rows])
        nearest = region_map.ids[rows]
        return GateDecisions(action, np.where(action == Action.ADD, np.int32(-1), nearest), nearest, angle)


@dataclass(frozen=True)
class NearestGate:
    """Every window updates the region whose centre is nearest; nothing is expanded or added.

    What the other gates' decisions are worth is measured against it.
    """

    name: ClassVar[str] = "nearest"

    def decide(self, region_map: RegionMap, vectors: Floats) -> GateDecisions:
        """As `GatePolicy.decide`.

        Args:
            region_map: of the snapshot.
            vectors: float32 [n, d], routing vectors of norm 1.

        Returns:
            One action per window.
        """
        check_vectors(vectors, region_map)
        rows, cosines = nearest_centre(vectors, region_map.centres)
        nearest = region_map.ids[rows]
        return GateDecisions(np.full(len(rows), Action.UPDATE, np.int8), nearest, nearest, angles(cosines))


@dataclass(frozen=True)
class PaperGate:
    """p = softmax_k(cos(z, c_k) / tau). p* below `high`: Add. Ahead of the second by `margin`: Update. Else:
    Expand.

    Source: arXiv 2603.00638, equations 3 and 4.
    Raises: ConfigError, also from `decide`, when an operation can never happen.
    """

    temperature: float = 0.05
    high: float = 0.5
    margin: float = 0.05
    name: ClassVar[str] = "paper"

    def __post_init__(self) -> None:
        if self.high >= (1 + self.margin) / 2:
            raise ConfigError(
                f"gate.high = {self.high} with gate.margin = {self.margin} makes Expand impossible: p* >= high "
                f"forces a margin of 2 high - 1; high must be below {(1 + self.margin) / 2:g}"
            )

    def decide(self, region_map: RegionMap, vectors: Floats) -> GateDecisions:
        """As `GatePolicy.decide`. p* equal to `high` is not Add, a margin equal to `margin` is Update.

        Args:
            region_map: of the snapshot.
            vectors: float32 [n, d], routing vectors of norm 1.

        Returns:
            One action per window.
        """
        check_vectors(vectors, region_map)
        k = len(region_map.ids)
        reach = 1 / (1 + (k - 1) * np.exp(-2 / self.temperature))  # cosines lie in [-1, 1]
        if self.high <= 1 / k or self.high > reach:
            never = "Add" if self.high <= 1 / k else "Update"
            raise ConfigError(
                f"gate.high = {self.high} makes {never} impossible with {k} regions: p* lies between "
                f"{1 / k:g} and {reach:g}; choose gate.high between them, more regions, or the radius gate"
            )
        factors = np.full(k, 1 / self.temperature, np.float32)
        best = _soft_best(region_map.centres, factors, None, vectors, self.margin, self.high)
        action = np.where(best.leads, Action.UPDATE, Action.EXPAND).astype(np.int8)
        action[best.probability < self.high] = Action.ADD
        return _decisions(region_map, action, best)


@dataclass(frozen=True)
class PosteriorGate:
    """The region is the most probable component of the mixture of von Mises-Fisher distributions.

    Beyond that region's R_max: Add. Inside its R_k and ahead of the runner-up by `margin`: Update. Else: Expand.

    A posterior is relative: a window far from everything still has a region with probability near 1. So Add asks
    an absolute question, whether the window lies in the calibrated tail of its region's own setup windows;
    within one region the log-likelihood falls with the angle, so that tail is the angle beyond R_max. A window
    inside R_k that two regions claim about equally is an Expand, as in equation 4.

    Source: Banerjee et al., JMLR 6 (2005), with log C_d(kappa) and pi_k; arXiv 2603.00638, equation 4.
    Departs from the paper: the normaliser is there, so concentrated regions do not win by being concentrated.
    Raises: ConfigError for a margin above 1, with which Update could never happen.
    """

    margin: float = 0.05
    name: ClassVar[str] = "posterior"

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= 1:
            raise ConfigError(f"gate.margin must lie in [0, 1], found {self.margin}; above 1 Update never happens")

    def decide(self, region_map: RegionMap, vectors: Floats) -> GateDecisions:
        """As `GatePolicy.decide`; an angle equal to R_k or R_max is inside; equal posteriors: the lower id.

        Args:
            region_map: of the snapshot.
            vectors: float32 [n, d], routing vectors of norm 1.

        Returns:
            One action per window.
        """
        check_vectors(vectors, region_map)
        d = region_map.centres.shape[1]
        offsets = np.array([log_normaliser(float(kappa), d) for kappa in region_map.concentration])
        offsets += np.log(region_map.weights)
        offsets -= offsets.max()  # only differences matter, and small numbers keep single precision exact
        best = _soft_best(
            region_map.centres, region_map.concentration, offsets.astype(np.float32), vectors, self.margin
        )
        action = _by_angle(best.angle, region_map.radius[best.row], region_map.max_radius[best.row])
        action[(action == Action.UPDATE) & ~best.leads] = Action.EXPAND
        return _decisions(region_map, action, best)


def gate_from(config: GateConfig) -> GatePolicy:
    """The gate that a configuration names.

    Args:
        config: options of the gate.

    Returns:
        The gate.

    Raises:
        ConfigError: when an operation can never happen.
    """
    if config.policy == "paper":
        return PaperGate(config.temperature, config.high, config.margin)
    if config.policy == "posterior":
        return PosteriorGate(config.margin)
    return NearestGate() if config.policy == "nearest" else RadiusGate()


def gate_parameters(gate: GatePolicy) -> dict[str, Any]:
    """A gate's own thresholds, to be recorded beside its name.

    Args:
        gate: the routing gate.

    Returns:
        Numbers by name.
    """
    return dataclasses.asdict(gate) if dataclasses.is_dataclass(gate) and not isinstance(gate, type) else {}


def _by_angle(angle: Floats, radius: Floats, max_radius: Floats) -> npt.NDArray[np.int8]:
    return (angle > radius).astype(np.int8) + (angle > max_radius).astype(np.int8)


def _decisions(region_map: RegionMap, action: npt.NDArray[np.int8], best: _Best) -> GateDecisions:
    region = np.where(action == Action.ADD, np.int32(-1), region_map.ids[best.row])
    return GateDecisions(action, region, region_map.ids[best.nearest], best.nearest_angle)


@dataclass(frozen=True, eq=False)
class _Best:
    """Of every window: the row of its best region, p* there, whether it leads the second by the margin asked
    for, the
    angle to that region's centre, and the row of the nearest centre with the angle to it; all [n]."""

    row: Ints
    probability: Floats
    leads: npt.NDArray[np.bool_]
    angle: Floats
    nearest: Ints
    nearest_angle: Floats


def _soft_best(
    centres: Floats, factors: Floats, offsets: Floats | None, vectors: Floats, margin: float, least: float = 0.0
) -> _Best:
    """The first largest score factors_k cos(z, c_k) + offsets_k of every window; no offsets: factors are all
    equal.

    The probabilities other than p* sum to 1 - p*, so a p* of (1 + margin) / 2 leads by the margin whatever the
    runner-up is; only below that, and from `least` on, is the runner-up looked for.
    """
    n = len(vectors)
    row, nearest = np.empty(n, np.int32), np.empty(n, np.int32)
    probability, leads = np.empty(n, np.float32), np.empty(n, np.bool_)
    cosine, nearest_cosine = np.empty(n, np.float32), np.empty(n, np.float32)
    transposed = np.ascontiguousarray(centres.T)  # [d, k]
    for start in range(0, n, CHUNK):
        part = slice(start, min(start + CHUNK, n))
        here = np.arange(part.stop - start)
        cosines = vectors[part] @ transposed  # [chunk, k]
        near = best = cosines.argmax(axis=1)
        scores = cosines * factors
        if offsets is not None:
            scores += offsets
            best = scores.argmax(axis=1)
        row[part], cosine[part] = best, cosines[here, best]
        nearest[part], nearest_cosine[part] = near, cosines[here, near]
        scores -= scores[here, best][:, None]
        np.exp(scores, out=scores)
        p = 1.0 / scores.sum(axis=1)
        probability[part], leads[part] = p, True
        close = np.flatnonzero((p < (1 + margin) / 2) & (p >= least))
        if len(close):
            rest = scores[close]
            rest[np.arange(len(close)), best[close]] = 0.0
            leads[start + close] = p[close] * (1.0 - rest.max(axis=1)) >= margin
    return _Best(row, probability, leads, angles(cosine), nearest, angles(nearest_cosine))
