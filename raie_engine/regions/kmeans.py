"""Spherical k-means: unit vectors to K unit centres, and a recorded criterion for K.

Legend: n windows, d dimensions, k regions. Centres come from a subsample: every restart runs briefly on a part
of it, the best one is refined on all of it, and all n windows are assigned once at the end. On measured data
more restarts on fewer points beat fewer restarts on more. Every function is deterministic for a seed on one
machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raie.engine.arrays import Floats, Ints
from raie.engine.errors import InputError

__all__ = [
    "KChoice",
    "KMeasurement",
    "choose_k",
    "different_directions",
    "nearest_centre",
    "nearest_two",
    "spherical_kmeans",
]

CHUNK = 4096
"""Windows per matrix product: a chunk's cosines to 64 centres (1 MB) stay in the processor's cache."""

_RESTART_POINTS = 256  # per centre while restarts compete
_SEEDING_POINTS = 32  # per centre while a restart looks for its first centres
_RESTART_STEPS = 10
_REFINE_STEPS = 12
_TOLERANCE = 1e-4  # least relative gain in the mean cosine that is worth another step
_LARGEST_SHARE = 0.9  # a region with more of the windows than this makes the others irrelevant


@dataclass(frozen=True)
class KMeasurement:
    """What one K gave on held-out windows; the shares are those of its largest and its smallest region."""

    k: int
    silhouette: float
    mean_cosine: float
    largest_share: float
    smallest_share: float


@dataclass(frozen=True)
class KChoice:
    """The chosen K, and the measurement of every K tried."""

    k: int
    measured: tuple[KMeasurement, ...]


def nearest_centre(vectors: Floats, centres: Floats) -> tuple[Ints, Floats]:
    """Each vector's nearest centre; of equally near ones the first.

    Args:
        vectors: float32 [n, d], routing vectors of norm 1.
        centres: float32 [k, d], of norm 1.

    Returns:
        Its position int32 [n], and its cosine float32 [n].
    """
    n, k = len(vectors), len(centres)
    labels = np.empty(n, np.int32)
    cosines = np.empty(n, np.float32)
    transposed = np.ascontiguousarray(centres.T)  # [d, k]
    scores = np.empty((min(n, CHUNK), k), np.float32)
    for start in range(0, n, CHUNK):
        part = vectors[start : start + CHUNK]
        block = np.matmul(part, transposed, out=scores[: len(part)])
        best = block.argmax(axis=1)
        labels[start : start + CHUNK] = best
        cosines[start : start + CHUNK] = block[np.arange(len(part)), best]
    return labels, cosines


def nearest_two(vectors: Floats, centres: Floats) -> tuple[Ints, Floats, Floats]:
    """As `nearest_centre`, and the second nearest; k >= 2.

    Args:
        vectors: float32 [n, d], routing vectors of norm 1.
        centres: float32 [k, d], of norm 1.

    Returns:
        The position [n] of the nearest, its cosine [n], and the cosine [n] of the second.
    """
    labels, first = nearest_centre(vectors, centres)
    second = np.empty_like(first)
    for start in range(0, len(vectors), CHUNK):
        block = vectors[start : start + CHUNK] @ centres.T
        block[np.arange(len(block)), labels[start : start + CHUNK]] = -np.inf
        second[start : start + CHUNK] = block.max(axis=1)
    return labels, first, second


def spherical_kmeans(
    vectors: Floats, k: int, seed: int, restarts: int = 5, points_per_centre: int = 1600
) -> tuple[Floats, Ints]:
    """Cluster unit vectors.

    A zero vector has no direction: it is assigned, but no centre comes from it.

    Args:
        vectors: float32 [n, d], routing vectors of norm 1.
        k: how many clusters.
        seed: of everything random in it.
        restarts: how many first centres are tried.
        points_per_centre: vectors per centre that the fit reads.

    Returns:
        Unit centres [k, d], and the position [n] of every vector's nearest one.

    Raises:
        InputError: when the vectors hold fewer than k different directions.

    Source: Dhillon and Modha, Machine Learning 42 (2001); seeding by Arthur and Vassilvitskii (k-means++, 2007) with 1
    - cos as the squared distance.
    """
    generator = np.random.default_rng([seed, k])
    sample = _subsample(vectors, k * points_per_centre, generator)
    sample = sample[sample.any(axis=1)]
    if k < 1 or len(sample) < k:
        raise InputError(
            f"expected {k} windows or more that differ from each other, one for each region, found {len(sample)}: ask "
            "for fewer regions, or give a log with more rows"
        )
    part = sample[: max(k * _RESTART_POINTS, 1)]
    best: tuple[float, Floats] | None = None
    for _ in range(max(1, restarts)):
        points = part[generator.permutation(len(part))[: max(k * _SEEDING_POINTS, k)]]
        fitted = _lloyd(part, _seed_centres(points, vectors, k, generator), _RESTART_STEPS)
        if best is None or fitted[0] > best[0]:
            best = fitted
    assert best is not None
    centres = _lloyd(sample, best[1], _REFINE_STEPS)[1]
    return centres, _assign_without_empty(vectors, centres)


def choose_k(
    vectors: Floats,
    candidates: Sequence[int],
    seed: int,
    *,
    min_share: float = 0.02,
    restarts: int = 5,
    points_per_centre: int = 1600,
) -> KChoice:
    """The K with the highest silhouette on held-out windows, among those whose regions are balanced.

    Centres are fitted on one random half of the windows and measured on the other. The silhouette of a window is 1 -
    a/b, with a and b its distances 1 - cos to the nearest and the second nearest centre. A K with a region above 90 %
    or below `min_share` of the held-out windows is taken only when every K has one. Ties go to the smaller K.

    Args:
        vectors: float32 [n, d], routing vectors of norm 1.
        candidates: values of K.
        seed: of everything random in it.
        min_share: smallest share of the windows that a region may hold.
        restarts: of each fit.
        points_per_centre: of each fit.

    Returns:
        The K and what every K measured; 1 where one half of the windows is too few or too alike for any candidate.

    Source: the simplified silhouette of Hruschka et al. (2004).
    """
    order = np.random.default_rng([seed, 0]).permutation(len(vectors))
    fit_rows, held_rows = np.array_split(order, 2)
    different = different_directions(vectors[fit_rows], min(max(candidates), len(held_rows)))
    usable = sorted({k for k in candidates if 2 <= k <= different})
    if not usable:
        return KChoice(1, ())
    limit = max(usable) * points_per_centre
    fit, held = vectors[fit_rows[:limit]], vectors[held_rows[:limit]]
    measured = tuple(
        _measure(held, spherical_kmeans(fit, k, seed, restarts, points_per_centre)[0]) for k in usable
    )
    balanced = [m for m in measured if m.largest_share <= _LARGEST_SHARE and m.smallest_share >= min_share]
    best = max(balanced or measured, key=lambda m: (m.silhouette, -m.k))
    return KChoice(best.k, measured)


def _measure(held: Floats, centres: Floats) -> KMeasurement:
    labels, first, second = nearest_two(held, centres)
    near, far = 1.0 - first.astype(float), 1.0 - second.astype(float)
    silhouette = np.where(far > 0, 1.0 - near / np.where(far > 0, far, 1.0), 0.0)
    shares = np.bincount(labels, minlength=len(centres)) / len(held)
    return KMeasurement(
        len(centres), float(silhouette.mean()), float(first.mean()), float(shares.max()), float(shares.min())
    )


def _subsample(vectors: Floats, size: int, generator: np.random.Generator) -> Floats:
    """At most `size` rows in random order, so that any leading part of them is a random sample too."""
    n = len(vectors)
    rows = generator.choice(n, size, replace=False) if size < n // 2 else generator.permutation(n)[:size]
    return np.ascontiguousarray(vectors[rows])


def _seed_centres(points: Floats, vectors: Floats, k: int, generator: np.random.Generator) -> Floats:
    """First centres by greedy k-means++: of a few drawn candidates the one that brings the points nearest."""
    trials = 2 + int(math.log(k))
    chosen = [points[int(generator.integers(len(points)))]]
    distance = _distance(points, chosen[0][None])[:, 0]  # [points]
    while len(chosen) < k:
        total = float(distance.sum(dtype=np.float64))
        if total <= 0:
            return _seed_rare(np.stack(chosen), vectors, k)
        drawn = np.searchsorted(np.cumsum(distance, dtype=np.float64), generator.random(trials) * total)
        drawn = np.minimum(drawn, len(points) - 1)
        shrunk = np.minimum(_distance(points, points[drawn]), distance[:, None])  # [points, trials]
        best = int(shrunk.sum(axis=0).argmin())
        chosen.append(points[drawn[best]])
        distance = shrunk[:, best]
    return np.stack(chosen)


def _distance(points: Floats, centres: Floats) -> Floats:
    """1 - cos, with differences below single precision taken as none, so that copies are never chosen as seeds."""
    distance: Floats = 1.0 - points @ centres.T
    distance[distance < 1e-6] = 0.0
    return distance


def _seed_rare(chosen: Floats, vectors: Floats, k: int) -> Floats:
    """Complete the seeds with the farthest of all vectors, where the seeding points were too alike."""
    centres = chosen
    while len(centres) < k:
        distance = np.where(vectors.any(axis=1), _distance(vectors, centres).min(axis=1), 0.0)
        far = int(distance.argmax())
        if distance[far] <= 0:
            raise InputError(
                f"expected at least {k} different windows to make {k} regions, found {len(centres)}; "
                "ask for fewer regions or bring a longer log"
            )
        centres = np.concatenate([centres, vectors[far : far + 1]])
    return centres


def different_directions(vectors: Floats, most: int) -> int:
    """How many of the vectors differ in direction, counted up to `most`; at least 1.

    Args:
        vectors: float32 [n, d], of norm 1 or 0.
        most: where counting ends.

    Returns:
        Of how many regions each can have a window of its own.
    """
    vectors = vectors[vectors.any(axis=1)]
    if not len(vectors):
        return 1
    distance = _distance(vectors, vectors[:1])[:, 0]
    count = 1
    while count < most and distance.max() > 0:
        far = int(distance.argmax())
        distance = np.minimum(distance, _distance(vectors, vectors[far : far + 1])[:, 0])
        count += 1
    return count


def _lloyd(sample: Floats, centres: Floats, steps: int) -> tuple[float, Floats]:
    """The mean cosine and the centres after at most `steps` rounds of assigning and averaging."""
    before = -np.inf
    score = before
    for _ in range(steps):
        sums, counts, score, farthest = _accumulate(sample, centres)
        if score - before < _TOLERANCE * abs(score):
            break
        before = score
        empty = np.flatnonzero(counts == 0)
        moved = _unit_rows(sums, centres)
        moved[empty[: len(farthest)]] = farthest[: len(empty)]
        centres = moved
    return score, centres


def _accumulate(
    sample: Floats, centres: Floats
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], float, Floats]:
    """Sum [k, d] and count [k] per centre, the mean cosine, and up to k vectors far from their centre."""
    k = len(centres)
    sums = np.zeros(centres.shape, np.float64)
    counts = np.zeros(k, np.int64)
    labels, cosines = nearest_centre(sample, centres)
    member = np.zeros((min(len(sample), CHUNK), k), np.float32)
    for start in range(0, len(sample), CHUNK):
        part = sample[start : start + CHUNK]
        here = labels[start : start + CHUNK]
        rows = np.arange(len(part))
        member[rows, here] = 1.0
        sums += member[: len(part)].T @ part  # [k, d]: one product instead of a gather per centre
        member[rows, here] = 0.0
        counts += np.bincount(here, minlength=k)
    far = np.argsort(cosines, kind="stable")[:k] if (counts == 0).any() else np.empty(0, np.int64)
    far = far[cosines[far] < 1.0 - 1e-6]  # a vector on its own centre needs no other
    return sums, counts, float(cosines.mean(dtype=np.float64)), sample[far]


def _unit_rows(sums: npt.NDArray[np.float64], fallback: Floats) -> Floats:
    """Rows scaled to norm 1; a row that cancelled to nothing keeps its former direction."""
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    scaled = np.where(norms > 1e-9, sums / np.where(norms > 1e-9, norms, 1.0), fallback)
    return scaled.astype(np.float32)


def _assign_without_empty(vectors: Floats, centres: Floats) -> Ints:
    """Assign all vectors; a centre that got none moves, in place, onto the vector farthest from its own."""
    for _ in range(len(centres) + 1):
        labels, cosines = nearest_centre(vectors, centres)
        empty = np.flatnonzero(np.bincount(labels, minlength=len(centres)) == 0)
        if not len(empty):
            return labels
        far = int(np.where(vectors.any(axis=1), cosines, 1.0).argmin())
        if cosines[far] >= 1.0 - 1e-6:
            break
        centres[empty[0]] = vectors[far] / np.linalg.norm(vectors[far])
    raise InputError(f"expected {len(centres)} regions with a window each, found fewer; ask for fewer regions")
