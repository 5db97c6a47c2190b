"""The region map: what is always true of it, and that a region's bytes are its own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raie.engine.config import RegionConfig
from raie.engine.errors import ConfigError, DamagedArtifact, InputError, NotFinite, WrongBackbone
from raie.engine.regions.region_map import RegionMap, assign, choose_regions, fit_regions, region_state

SPACE = "a" * 64


def vectors_around(sizes: list[int], *, d: int = 8, spread: float = 0.15, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    vectors = np.eye(d)[truth] + spread * generator.standard_normal((len(truth), d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def random_map(k: int, d: int, seed: int) -> RegionMap:
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((k, d))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    radius = generator.uniform(0.1, 1.0, k).astype(np.float32)
    return RegionMap(
        ids=np.sort(generator.choice(1000, k, replace=False)).astype(np.int32),
        centres=centres.astype(np.float32),
        radius=radius,
        max_radius=radius * np.float32(1.2),
        concentration=generator.uniform(1, 100, k).astype(np.float32),
        count=generator.integers(1, 1000, k),
        space=SPACE,
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 5), st.floats(0.0, 1.0), st.integers(0, 1000))
def test_what_is_always_true_of_a_fitted_map(k: int, spread: float, seed: int) -> None:
    vectors = vectors_around([30] * 5, spread=spread, seed=seed)
    region_map, regions = fit_regions(vectors, RegionConfig(regions=k), seed, SPACE)
    assert region_map.ids.tolist() == list(range(k))
    np.testing.assert_allclose(np.linalg.norm(region_map.centres, axis=1), 1.0, atol=1e-5)
    assert (region_map.radius > 0).all()
    assert (region_map.radius <= region_map.max_radius).all()
    assert (region_map.max_radius <= np.float32(np.pi)).all()
    assert (region_map.concentration > 0).all()
    assert region_map.weights.sum() == pytest.approx(1.0)
    assert region_map.count.tolist() == np.bincount(regions, minlength=k).tolist()
    np.testing.assert_array_equal(assign(region_map, vectors), regions)


def test_the_radius_is_the_quantile_of_the_members_angles() -> None:
    vectors = vectors_around([2000, 1000, 500])
    region_map, regions = fit_regions(vectors, RegionConfig(regions=3, quantile=0.8), 0, SPACE)
    assert region_map.count.tolist() == [2000, 1000, 500]
    for k in range(3):
        angle = np.arccos(vectors[regions == k] @ region_map.centres[k])
        assert (angle <= region_map.radius[k]).mean() == pytest.approx(0.8, abs=0.003)
        assert (angle <= region_map.max_radius[k]).mean() >= 0.985


def test_slack_widens_the_outer_radius_but_not_beyond_the_midpoint_to_the_nearest_other_region() -> None:
    vectors = vectors_around([400, 400], spread=0.05)
    tight, _ = fit_regions(vectors, RegionConfig(regions=2, slack=1.0), 0, SPACE)
    loose, _ = fit_regions(vectors, RegionConfig(regions=2, slack=3.0), 0, SPACE)
    huge, _ = fit_regions(vectors, RegionConfig(regions=2, slack=50.0), 0, SPACE)
    midpoint = np.arccos(tight.centres[0] @ tight.centres[1]) / 2
    assert (tight.max_radius < loose.max_radius).all()
    np.testing.assert_allclose(loose.max_radius, 3 * loose.radius, rtol=1e-5)
    np.testing.assert_allclose(huge.max_radius, midpoint, rtol=1e-4)


def test_identical_windows_make_a_region_with_a_radius_that_angles_can_be_compared_to() -> None:
    vectors = np.repeat(np.eye(4, dtype=np.float32)[:2], 30, axis=0)
    region_map, _ = fit_regions(vectors, RegionConfig(regions=2), 0, SPACE)
    assert (region_map.radius == np.float32(1e-3)).all()
    assert np.isfinite(region_map.concentration).all()


def test_the_criterion_decides_when_the_number_of_regions_is_left_open() -> None:
    vectors = vectors_around([200, 200, 200])
    config = RegionConfig(max_regions=5)
    choice = choose_regions(vectors, config, 0)
    assert choice.k == len(fit_regions(vectors, config, 0, SPACE)[0].ids) == 3
    assert len(fit_regions(vectors, config, 0, SPACE, regions=2)[0].ids) == 2


@pytest.mark.parametrize(
    "options",
    [
        {"max_quantile": 0.9},
        {"quantile": 1.0},
        {"slack": 0.9},
        {"min_share": 0.5},
        {"regions": -1},
        {"max_regions": 1},
        {"restarts": 0},
    ],
)
def test_region_options_that_cannot_work_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"regions\."):
        RegionConfig(**options)  # type: ignore[arg-type]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(2, 9), st.integers(0, 1000))
def test_a_map_put_together_from_its_states_is_the_same_map(k: int, d: int, seed: int) -> None:
    region_map = random_map(k, d, seed)
    states = {region: region_state(region_map, region) for region in region_map.ids.tolist()}
    again = RegionMap.from_states(states, SPACE)
    assert again.digest == region_map.digest
    for field in dataclasses.fields(RegionMap):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(region_map, field.name))


def test_a_regions_state_does_not_change_when_another_region_does() -> None:
    region_map = random_map(4, 6, 0)
    count = region_map.count.copy()
    count[1] += 999
    recounted = dataclasses.replace(region_map, count=count)
    changed = [region_state(region_map, r) != region_state(recounted, r) for r in region_map.ids.tolist()]
    assert changed == [False, True, False, False]


def test_a_state_filed_under_another_region_or_space_or_damaged_is_refused() -> None:
    region_map = random_map(2, 6, 0)
    first, second = region_map.ids.tolist()
    state = region_state(region_map, first)
    with pytest.raises(DamagedArtifact, match=f"state of region {second}"):
        RegionMap.from_states({second: state}, SPACE)
    with pytest.raises(WrongBackbone, match="routing space"):
        RegionMap.from_states({first: state}, "f" * 64)
    with pytest.raises(DamagedArtifact):
        RegionMap.from_states({first: state[:-1]}, SPACE)
    with pytest.raises(DamagedArtifact, match="at least one"):
        RegionMap.from_states({}, SPACE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": np.array([3, 3], np.int32)}, "ascending region ids"),
        ({"centres": np.full((2, 6), 0.1, np.float32)}, "norm 1"),
        ({"radius": np.array([4, 4], np.float32)}, "R <= R_max"),
        ({"concentration": np.array([0, 1], np.float32)}, "concentrations above 0"),
        ({"count": np.array([1])}, "one row per region"),
    ],
)
def test_a_map_that_breaks_an_invariant_cannot_be_made(change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DamagedArtifact, match=message):
        dataclasses.replace(random_map(2, 6, 0), **change)  # type: ignore[arg-type]


def test_vectors_that_cannot_be_compared_with_the_map_are_refused() -> None:
    region_map = random_map(3, 6, 0)
    with pytest.raises(WrongBackbone, match=r"\[n, 6\]"):
        assign(region_map, np.zeros((2, 5), np.float32))
    with pytest.raises(NotFinite, match="1 of 2"):
        assign(region_map, np.array([[0] * 6, [np.nan] * 6], np.float32))
    with pytest.raises(WrongBackbone, match="encode the windows again"):
        region_map.require_space("f" * 64)


def test_windows_as_near_to_two_regions_go_to_the_lower_id() -> None:
    region_map = dataclasses.replace(random_map(2, 2, 0), centres=np.eye(2, dtype=np.float32))
    assert assign(region_map, np.full((1, 2), np.sqrt(0.5), np.float32))[0] == region_map.ids[0]


def test_a_region_the_map_does_not_hold_is_named() -> None:
    with pytest.raises(InputError, match="found 5000"):
        region_state(random_map(2, 4, 0), 5000)
