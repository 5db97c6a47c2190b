"""The routing space takes out what all windows share, belongs to one backbone, and survives its bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raie.engine.errors import DamagedArtifact, InputError, NotFinite, WrongBackbone
from raie.engine.regions.space import RoutingSpace, fit_space

BACKBONE = "b" * 64


def encodings(n: int = 500, d: int = 12, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (5.0 + generator.standard_normal((n, d)) * np.linspace(3, 1, d)).astype(np.float32)


def test_a_shared_direction_no_longer_makes_all_windows_look_alike() -> None:
    raw = encodings()
    alike = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    centred = fit_space(raw, 0, BACKBONE).project(raw)
    assert np.linalg.norm(alike.mean(axis=0)) > 0.8
    assert np.linalg.norm(centred.mean(axis=0)) < 0.1
    np.testing.assert_allclose(np.linalg.norm(centred, axis=1), 1.0, atol=1e-6)


def test_removed_components_are_the_largest_ones_and_leave_no_trace() -> None:
    raw = encodings(n=4000)
    space = fit_space(raw, 2, BACKBONE)
    top = np.linalg.svd(raw - raw.mean(axis=0), full_matrices=False)[2][:2]
    np.testing.assert_allclose(np.abs(space.components @ top.T), np.eye(2), atol=1e-3)
    assert np.abs(space.project(raw) @ space.components.T).max() < 1e-5


def test_an_encoding_equal_to_the_mean_stays_without_direction() -> None:
    space = fit_space(encodings(), 0, BACKBONE)
    assert not space.project(space.mean[None]).any()


def test_not_finite_encodings_are_refused_with_the_number_of_windows() -> None:
    raw = encodings()
    space = fit_space(raw, 0, BACKBONE)
    raw[3, 1], raw[7, 0] = np.nan, np.inf
    with pytest.raises(NotFinite, match="2 of 500"):
        fit_space(raw, 0, BACKBONE)
    with pytest.raises(NotFinite, match="2 of 500"):
        space.project(raw)


def test_encodings_of_another_backbone_are_refused() -> None:
    space = fit_space(encodings(), 0, BACKBONE)
    space.require_backbone(BACKBONE)
    with pytest.raises(
        WrongBackbone, match="expected encodings of backbone bbbbbbbbbbbb, found backbone cccccccccccc"
    ):
        space.require_backbone("c" * 64)
    with pytest.raises(WrongBackbone, match="12"):
        space.project(encodings(d=13))


def test_too_many_components_are_refused() -> None:
    with pytest.raises(InputError, match="remove_components = 12"):
        fit_space(encodings(), 12, BACKBONE)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 20), st.integers(2, 8), st.integers(0, 1), st.integers(0, 99))
def test_a_space_read_from_its_bytes_is_the_same_space(n: int, d: int, removed: int, seed: int) -> None:
    space = fit_space(encodings(n, d, seed), min(removed, n - 1), BACKBONE)
    again = RoutingSpace.from_bytes(space.to_bytes())
    assert again.digest == space.digest
    raw = encodings(5, d, seed + 1)
    assert again.project(raw).tobytes() == space.project(raw).tobytes()


def test_cut_or_foreign_bytes_are_refused() -> None:
    data = fit_space(encodings(), 0, BACKBONE).to_bytes()
    for damaged in (data[:-3], data.replace(b"routing_space", b"routing_spice"), b"", b"{}"):
        with pytest.raises(DamagedArtifact):
            RoutingSpace.from_bytes(damaged)
