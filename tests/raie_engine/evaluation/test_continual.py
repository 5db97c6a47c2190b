"""Measures of adapting and forgetting, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from raie.engine.evaluation.continual import (
    average_forgetting,
    backward_transfer,
    final,
    forward_transfer,
    intransigence,
    plasticity,
    prequential,
    retention,
)

# Two edits: rows are states, columns are the setup, slices 1 and 2, and the last one.
A = np.array([[0.50, 0.20, 0.10, 0.05], [0.40, 0.60, 0.20, 0.10], [0.45, 0.30, 0.70, 0.15]])
JOINT = np.array([[0.50, 0.20, 0.10, 0.05], [0.50, 0.65, 0.20, 0.10], [0.50, 0.60, 0.80, 0.15]])
NEXT_SLICE = np.array([0.20, 0.20, 0.15])
NEVER = np.array([0.20, 0.10, 0.05])


def test_every_measure_is_what_its_formula_says() -> None:
    assert backward_transfer(A) == pytest.approx(((0.45 - 0.50) + (0.30 - 0.60)) / 2)
    assert average_forgetting(A) == pytest.approx(((0.50 - 0.45) + (0.60 - 0.30)) / 2)
    assert retention(A) == pytest.approx((0.45 + 0.30) / 2)
    assert plasticity(A) == pytest.approx((0.60 + 0.70) / 2)
    assert intransigence(A, JOINT) == pytest.approx(((0.65 - 0.60) + (0.80 - 0.70)) / 2)
    assert forward_transfer(NEXT_SLICE, NEVER) == pytest.approx(((0.20 - 0.10) + (0.15 - 0.05)) / 2)
    assert prequential(NEXT_SLICE) == pytest.approx((0.20 + 0.20 + 0.15) / 3)
    assert final(NEXT_SLICE) == pytest.approx(0.15)


def test_the_best_that_forgetting_looks_back_to_may_come_from_any_earlier_edit() -> None:
    a = np.array([[0.1, 0.0, 0.0], [0.9, 0.5, 0.0], [0.2, 0.5, 0.5], [0.3, 0.4, 0.5]])
    a = np.hstack([a, np.zeros((4, 2))])
    best = (0.9 - 0.3, 0.5 - 0.4, 0.5 - 0.5)
    assert average_forgetting(a) == pytest.approx(np.mean(best))
    assert backward_transfer(a) == pytest.approx(np.mean([0.3 - 0.1, 0.4 - 0.5, 0.0]))


def test_without_an_edit_there_is_nothing_to_forget() -> None:
    a, next_slice = A[:1, :2], NEXT_SLICE[:1]
    for measure in (backward_transfer(a), average_forgetting(a), retention(a), plasticity(a)):
        assert np.isnan(measure)
    assert np.isnan(forward_transfer(next_slice, next_slice))
    assert prequential(next_slice) == final(next_slice) == next_slice[0]


scores = arrays(np.float64, (3, 4), elements=st.floats(0, 1, width=32))


@given(scores, st.floats(-1, 1, width=32))
def test_what_is_better_everywhere_by_the_same_forgets_the_same(a: np.ndarray, more: float) -> None:
    for measure in (backward_transfer, average_forgetting):
        assert measure(a + more) == pytest.approx(measure(a), abs=1e-6)
    for level in (retention, plasticity):
        assert level(a + more) == pytest.approx(level(a) + more, abs=1e-6)


@given(scores)
def test_forgetting_is_at_least_what_backward_transfer_lost(a: np.ndarray) -> None:
    assert average_forgetting(a) >= -backward_transfer(a) - 1e-9


@given(scores)
def test_a_model_that_never_changes_forgets_nothing(a: np.ndarray) -> None:
    still = np.repeat(a[:1], len(a), axis=0)
    assert backward_transfer(still) == average_forgetting(still) == 0
    assert forward_transfer(a[0], a[0]) == 0


@given(arrays(np.float64, (5, 2, 3, 4), elements=st.floats(0, 1, width=32)))
def test_many_draws_at_once_give_what_each_gives_alone(a: np.ndarray) -> None:
    for measure in (backward_transfer, average_forgetting, retention, plasticity):
        alone = [[measure(matrix) for matrix in matrices] for matrices in a]
        assert measure(a) == pytest.approx(np.array(alone))
