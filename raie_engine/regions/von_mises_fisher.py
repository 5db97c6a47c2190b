"""The von Mises-Fisher distribution on the unit sphere: its concentration and its normaliser.

The density of a unit vector z in d dimensions is C_d(kappa) exp(kappa cos(z, c)). Without log C_d(kappa) the most
concentrated region wins every comparison, so the normaliser is computed here, for any d, without overflow.
"""

from __future__ import annotations

import math

import numpy as np

from raie.engine.errors import InputError

__all__ = ["CONCENTRATION_RANGE", "concentration", "log_bessel", "log_normaliser"]

CONCENTRATION_RANGE = (1e-3, 1e6)
"""Smallest and largest kappa ever estimated: a uniform region, and one point seen in single precision."""

_EXPANSION_ORDER = 40.0
"""Order nu above which four terms of the uniform expansion are exact to about 1e-12 relative."""


def concentration(mean_cosine: float, dimensions: int) -> float:
    """kappa of windows whose mean cosine to their centre is `mean_cosine`, within CONCENTRATION_RANGE.

    Args:
        mean_cosine: of windows to their centre.
        dimensions: d.

    Returns:
        kappa.

    Source: Banerjee et al., JMLR 6 (2005), equation 4.4: kappa = r (d - r^2) / (1 - r^2).
    """
    low, high = CONCENTRATION_RANGE
    r = min(max(float(mean_cosine), 0.0), 1.0)
    if r == 1.0:
        return high
    return min(max(r * (dimensions - r * r) / (1.0 - r * r), low), high)


def log_normaliser(kappa: float, dimensions: int) -> float:
    """log C_d(kappa) = (d/2 - 1) log kappa - (d/2) log 2 pi - log I_{d/2-1}(kappa).

    Args:
        kappa: concentration.
        dimensions: d.

    Returns:
        The logarithm.

    Raises:
        InputError: for fewer than 2 dimensions or kappa <= 0.

    Source: Banerjee et al. (2005), equation 2.2.
    """
    if dimensions < 2 or not kappa > 0:
        raise InputError(f"expected at least 2 dimensions and kappa > 0, found d = {dimensions}, kappa = {kappa}")
    order = dimensions / 2 - 1
    return order * math.log(kappa) - dimensions / 2 * math.log(2 * math.pi) - log_bessel(order, kappa)


def log_bessel(order: float, x: float) -> float:
    """log I_order(x), the modified Bessel function of the first kind, for order >= 0 and x > 0.

    Small orders are reached from two high ones by I_{v-1} = I_{v+1} + (2v/x) I_v, stable in that direction.

    Args:
        order: at least 0.
        x: above 0.

    Returns:
        The logarithm.
    """
    steps = max(0, math.ceil(_EXPANSION_ORDER - order))
    top = order + steps
    if steps == 0:
        return _log_bessel_expansion(top, x)
    log_value = _log_bessel_expansion(top, x)
    ratio = math.exp(_log_bessel_expansion(top + 1, x) - log_value)  # I_{v+1} / I_v
    for v in top - np.arange(steps, dtype=float):
        growth = ratio + 2.0 * float(v) / x  # I_{v-1} / I_v
        log_value += math.log(growth)
        ratio = 1.0 / growth
    return log_value


def _log_bessel_expansion(order: float, x: float) -> float:
    """Source: NIST DLMF 10.41.3 with U_1 to U_4 of 10.41.9 (uniform in x for a large order)."""
    z = x / order
    root = math.hypot(1.0, z)
    p = 1.0 / root
    eta = root + math.log(z / (1.0 + root))
    p2 = p * p
    terms = (
        p * (3 - 5 * p2) / 24,
        p2 * (81 + p2 * (-462 + 385 * p2)) / 1152,
        p * p2 * (30375 + p2 * (-369603 + p2 * (765765 - 425425 * p2))) / 414720,
        p2 * p2
        * (4465125 + p2 * (-94121676 + p2 * (349922430 + p2 * (-446185740 + p2 * 185910725))))
        / 39813120,
    )  # fmt: skip
    series = 1.0 + sum(term / order ** (n + 1) for n, term in enumerate(terms))
    return order * eta - 0.5 * math.log(2 * math.pi * order) - 0.5 * math.log(root) + math.log(series)
