"""The normaliser and the concentration against other implementations and against samples with a known kappa."""

from __future__ import annotations

import math

import numpy as np
import pytest

from raie.engine.errors import InputError
from raie.engine.regions.von_mises_fisher import CONCENTRATION_RANGE, concentration, log_bessel, log_normaliser


@pytest.mark.parametrize("order", [0.0, 0.5, 1.0, 3.0, 15.0, 31.0, 39.0, 40.0, 63.0, 255.0])
@pytest.mark.parametrize("x", [1e-3, 0.1, 1.0, 5.0, 20.0, 300.0, 1e4, 1e6])
def test_log_bessel_agrees_with_scipy_wherever_scipy_does_not_underflow(order: float, x: float) -> None:
    ive = pytest.importorskip("scipy.special").ive
    scaled = float(ive(order, x))
    if scaled < 1e-280:
        pytest.skip("scipy underflows here")
    assert log_bessel(order, x) == pytest.approx(math.log(scaled) + x, rel=1e-9, abs=1e-9)


def test_the_normaliser_in_three_dimensions_is_the_one_known_in_closed_form() -> None:
    for kappa in (0.01, 1.0, 30.0):
        known = math.log(kappa / (4 * math.pi * math.sinh(kappa)))
        assert log_normaliser(kappa, 3) == pytest.approx(known, abs=1e-10)


def test_the_density_integrates_to_one_on_the_circle() -> None:
    angle = np.linspace(0, 2 * np.pi, 4001)[:-1]
    for kappa in (0.5, 40.0):
        density = np.exp(log_normaliser(kappa, 2) + kappa * np.cos(angle))
        assert density.mean() * 2 * np.pi == pytest.approx(1.0, abs=1e-9)


def test_the_normaliser_stays_finite_where_the_bessel_function_itself_would_overflow_or_vanish() -> None:
    for kappa in CONCENTRATION_RANGE:
        for dimensions in (2, 64, 4096):
            assert math.isfinite(log_normaliser(kappa, dimensions))


def test_a_concentrated_region_pays_for_its_concentration_far_from_its_centre() -> None:
    tight, wide = (log_normaliser(kappa, 64) + kappa * 0.2 for kappa in (300.0, 30.0))
    assert tight < wide


def test_the_normaliser_refuses_a_sphere_or_a_concentration_that_does_not_exist() -> None:
    with pytest.raises(InputError, match="at least 2 dimensions"):
        log_normaliser(1.0, 1)
    with pytest.raises(InputError, match="kappa > 0"):
        log_normaliser(0.0, 8)


def test_the_concentration_of_sampled_windows_is_found_again() -> None:
    # On S^2 the cosine to the centre has the inverse 1 + log(u + (1 - u) exp(-2 kappa)) / kappa (Ulrich, 1984).
    u = np.random.default_rng(0).random(200_000)
    for kappa in (2.0, 20.0):
        cosine = 1 + np.log(u + (1 - u) * np.exp(-2 * kappa)) / kappa
        assert concentration(float(cosine.mean()), 3) == pytest.approx(kappa, rel=0.05)


def test_the_concentration_never_leaves_its_range() -> None:
    low, high = CONCENTRATION_RANGE
    assert [concentration(r, 64) for r in (-0.5, 0.0, 1.0, 1.0 + 1e-7)] == [low, low, high, high]
