"""Gates against the bare matrix product, and clustering against scikit-learn: ratios printed, never asserted."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import pytest

from raie.engine.regions.gate import GatePolicy, PaperGate, PosteriorGate, RadiusGate
from raie.engine.regions.kmeans import spherical_kmeans
from raie.engine.regions.region_map import RegionMap

pytestmark = pytest.mark.benchmark

N, D, K = 1_000_000, 128, 64


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((100, D), dtype=np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    made = centres[generator.integers(100, size=N)] + 0.2 * generator.standard_normal((N, D), dtype=np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made


@pytest.fixture(scope="module")
def region_map(vectors: np.ndarray) -> RegionMap:
    return RegionMap(
        ids=np.arange(K, dtype=np.int32),
        centres=np.ascontiguousarray(vectors[:K]),
        radius=np.full(K, 1.1, np.float32),
        max_radius=np.full(K, 1.3, np.float32),
        concentration=np.full(K, 60, np.float32),
        count=np.full(K, 10),
        space="s",
    )


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


@pytest.mark.parametrize("gate", [RadiusGate(), PaperGate(), PosteriorGate()], ids=lambda gate: gate.name)
def test_a_million_windows_through_a_gate(gate: GatePolicy, vectors: np.ndarray, region_map: RegionMap) -> None:
    pairs = [
        (
            seconds(lambda: gate.decide(region_map, vectors)),
            seconds(lambda: [vectors[i : i + 4096] @ region_map.centres.T for i in range(0, N, 4096)]),
        )
        for _ in range(5)
    ]
    ratio = statistics.median(ours / product for ours, product in pairs)
    print(f"\n{gate.name} gate: {ratio:.2f} x the matrix product (goal 2), {pairs[-1][0]:.2f} s")


def test_a_million_windows_into_64_regions(vectors: np.ndarray) -> None:
    cluster = pytest.importorskip("sklearn.cluster")
    cosine: dict[str, float] = {}

    def ours() -> None:
        centres, labels = spherical_kmeans(vectors, K, seed=0)
        cosine["ours"] = float(np.einsum("nd,nd->n", vectors, centres[labels]).mean())

    def theirs() -> None:
        model = cluster.KMeans(K, n_init=1, random_state=0).fit(vectors)
        centres = model.cluster_centers_ / np.linalg.norm(model.cluster_centers_, axis=1, keepdims=True)
        cosine["sklearn"] = float(np.einsum("nd,nd->n", vectors, centres[model.labels_]).mean())

    mine, peer = seconds(ours), seconds(theirs)
    print(f"\nclustering: {mine / peer:.2f} of scikit-learn's time (goal 0.2), {mine:.2f} s against {peer:.2f} s")
    print(f"mean cosine {cosine['ours']:.4f} against {cosine['sklearn']:.4f}")
