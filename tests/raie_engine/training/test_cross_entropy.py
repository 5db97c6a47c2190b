from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from raie.engine.training.cross_entropy import SLICE_POSITIONS, SLICE_SCORES, linear_cross_entropy

Inputs = tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]


def inputs(m: int, v: int, d: int, r: int, seed: int = 0, kind: torch.dtype = torch.float64) -> Inputs:
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=kind).requires_grad_()

    target = torch.randint(0, v, (m,), generator=generator)
    low, rows = (drawn(m, r), drawn(v, r)) if r else (None, None)
    return drawn(m, d), drawn(v, d), target, low, rows


def plain(states: Tensor, table: Tensor, target: Tensor, low: Tensor | None, rows: Tensor | None) -> Tensor:
    scores = states @ table.T
    if low is not None and rows is not None:
        scores = scores + low @ rows.T
    return F.cross_entropy(scores, target)


def gradients(loss: Tensor, of: Inputs) -> list[Tensor]:
    return list(
        torch.autograd.grad(loss, [tensor for tensor in of if tensor is not None and tensor.requires_grad])
    )


@settings(deadline=None, max_examples=60)
@given(
    m=st.integers(1, 2 * SLICE_POSITIONS + 3),
    v=st.integers(1, 40),
    d=st.integers(1, 9),
    r=st.integers(0, 4),
    seed=st.integers(0, 2**32),
)
def test_value_and_gradients_are_those_of_torch(m: int, v: int, d: int, r: int, seed: int) -> None:
    given_inputs = inputs(m, v, d, r, seed)
    ours, theirs = linear_cross_entropy(*given_inputs), plain(*given_inputs)
    # 1e-11: double precision over at most 515 x 40 summands of order one.
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)
    for mine, reference in zip(gradients(ours, given_inputs), gradients(theirs, given_inputs), strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-11, atol=1e-11)


def test_single_precision_is_as_good_as_single_precision_gets() -> None:
    given_inputs = inputs(700, 300, 16, 4, kind=torch.float32)
    ours, theirs = linear_cross_entropy(*given_inputs), plain(*given_inputs)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    for mine, reference in zip(gradients(ours, given_inputs), gradients(theirs, given_inputs), strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("frozen", range(4))
def test_what_is_frozen_gets_no_gradient_and_changes_no_other(frozen: int) -> None:
    states, table, target, low, rows = inputs(300, 20, 6, 3)
    assert low is not None
    assert rows is not None
    wanted = torch.autograd.grad(plain(states, table, target, low, rows), [states, table, low, rows])
    parts = [states, table, low, rows]
    parts[frozen].requires_grad_(False)
    linear_cross_entropy(parts[0], parts[1], target, parts[2], parts[3]).backward()
    assert parts[frozen].grad is None
    for slot, part in enumerate(parts):
        if slot != frozen:
            torch.testing.assert_close(part.grad, wanted[slot], rtol=1e-11, atol=1e-11)


def test_the_gradient_follows_what_is_done_with_the_loss() -> None:
    given_inputs = inputs(10, 7, 3, 2)
    once, thrice = (gradients(factor * linear_cross_entropy(*given_inputs), given_inputs) for factor in (1, 3))
    for single, three in zip(once, thrice, strict=True):
        torch.testing.assert_close(3 * single, three)


def test_large_scores_overflow_nothing() -> None:
    states, table, target, _, _ = inputs(20, 9, 4, 0, kind=torch.float32)
    loss = linear_cross_entropy(states * 1e4, table, target)
    assert loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss, [states, table]))


def test_nan_in_a_state_shows_in_the_loss_and_is_not_averaged_away() -> None:
    states, table, target, _, _ = inputs(400, 9, 4, 0)
    with torch.no_grad():
        states[399, 0] = float("nan")
    assert linear_cross_entropy(states, table, target).isnan()


def test_the_inputs_are_left_as_they_were() -> None:
    given_inputs = inputs(300, 9, 4, 2)
    before = [None if tensor is None else tensor.detach().clone() for tensor in given_inputs]
    linear_cross_entropy(*given_inputs).backward()
    for now, then in zip(given_inputs, before, strict=True):
        assert now is None or (then is not None and torch.equal(now, then))


def test_a_large_catalogue_is_scored_in_smaller_slices_with_the_same_result() -> None:
    items = SLICE_SCORES // (SLICE_POSITIONS // 3)  # slices of a third of the positions
    states, table, target, _, _ = inputs(200, items, 3, 0)
    ours, wanted = linear_cross_entropy(states, table, target), plain(states, table, target, None, None)
    torch.testing.assert_close(ours, wanted, rtol=1e-11, atol=0)
    pairs = (torch.autograd.grad(loss, [states, table]) for loss in (ours, wanted))
    for mine, theirs in zip(*pairs, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)
