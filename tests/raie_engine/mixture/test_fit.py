"""The fit of weights: its slopes against differences, and what it imports."""

from __future__ import annotations

import pytest
import torch

from raie.engine.mixture.fit import _Candidates, _Numbers
from raie.engine.mixture.repeats import AGES
from tests.raie_engine.world import in_another_process


def _some_candidates(n: int = 7, c: int = 9, f: int = 3) -> _Candidates:
    random = torch.Generator().manual_seed(1)
    lifts = 5 * torch.rand(f, n, c, generator=random, dtype=torch.float64)
    none = torch.arange(c) >= torch.randint(1, c - 2, (n, 1), generator=random)
    age = torch.randint(0, AGES + 1, (n, c), generator=random)
    return _Candidates(lifts, age, torch.rand(n, c, generator=random, dtype=torch.float64), none)


def test_the_slope_of_the_loss_is_that_of_differences() -> None:
    candidates, random = _some_candidates(), torch.Generator().manual_seed(2)
    values = torch.randn(2 * 3 + AGES + 1, generator=random, dtype=torch.float64)
    _, slope = _Numbers(values).loss(candidates)
    for index in range(len(values)):
        step = torch.zeros_like(values)
        step[index] = 1e-6
        above, below = (_Numbers(values + sign * step).loss(candidates)[0] for sign in (1, -1))
        assert float(slope[index]) == pytest.approx((above - below) / 2e-6, abs=1e-7)


def test_candidates_that_is_narrowed_says_the_same() -> None:
    wide, numbers = _some_candidates(), _Numbers.start(3)
    narrow = wide.narrowed()
    assert narrow.lifts.shape[2] == int((~wide.none).sum(dim=1).max()) < wide.lifts.shape[2]
    assert numbers.loss(narrow)[0] == pytest.approx(numbers.loss(wide)[0], rel=1e-12)
    torch.testing.assert_close(numbers.loss(narrow)[1], numbers.loss(wide)[1])
    nothing = _some_candidates(n=0).narrowed()
    assert numbers.loss(nothing)[0] == 0


def test_a_fit_imports_no_compiler() -> None:
    """torch's own optimisers do, and it takes longer than the fit of a small log."""
    code = """
import sys
from tests.raie_engine.mixture.test_mixture import _fitted, _log
_fitted(_log(repeat=0.3, follow=0.3))
print("torch._dynamo" in sys.modules)
"""
    assert in_another_process(code) == "False"
