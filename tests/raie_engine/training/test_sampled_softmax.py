from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from raie.engine.training.sampled_softmax import candidate_items, next_item_cross_entropy

ITEMS, DIM, POSITIONS = 40, 6, 9


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    states, table = (
        torch.randn(rows, DIM, generator=generator, dtype=torch.float64).requires_grad_()
        for rows in (POSITIONS, ITEMS + 1)
    )
    bias = torch.randn(ITEMS + 1, generator=generator, dtype=torch.float64).requires_grad_()
    return states, table, torch.tensor([1, 4, 4, 40, 7, 2, 4, 1, 39]), bias


def full(states: Tensor, table: Tensor, target: Tensor, bias: Tensor) -> Tensor:
    return F.cross_entropy(states @ table[1:].T + bias[1:], target - 1)


@pytest.mark.parametrize(
    "negatives", [0, ITEMS - 6, 10 * ITEMS], ids=["full", "all others", "more than there are"]
)
def test_with_all_other_items_the_loss_and_its_gradients_are_those_over_all_items(negatives: int) -> None:
    states, table, target, bias = inputs()
    ours = next_item_cross_entropy(states, table, target, bias=bias, negatives=negatives)
    wanted = full(states, table, target, bias)
    torch.testing.assert_close(ours, wanted, rtol=1e-12, atol=0)
    pairs = (torch.autograd.grad(loss, [states, table, bias]) for loss in (ours, wanted))
    for mine, theirs in zip(*pairs, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


def test_the_sum_over_the_candidates_is_on_average_the_sum_over_all_items() -> None:
    generator = torch.Generator().manual_seed(1)
    value = torch.rand(ITEMS + 1, generator=generator, dtype=torch.float64)
    estimates = []
    for _ in range(2_000):
        target = torch.randint(1, ITEMS + 1, (POSITIONS,), generator=generator)
        chosen = candidate_items(target, ITEMS, 5)
        estimates.append(float((value[chosen.rows] * chosen.log_weight.double().exp()).sum()))
    mean, error = np.mean(estimates), np.std(estimates) / len(estimates) ** 0.5
    assert abs(mean - float(value[1:].sum())) < 4 * error
    assert error < 0.1


def test_every_target_is_a_candidate_once_and_none_is_drawn() -> None:
    _, _, target, _ = inputs()
    chosen = candidate_items(target, ITEMS, 12)
    own = len(target.unique())
    assert torch.equal(chosen.rows[chosen.target], target)
    assert chosen.rows[:own].tolist() == sorted(set(target.tolist()))
    assert not set(chosen.rows[own:].tolist()) & {0, *target.tolist()}
    assert (chosen.log_weight[:own] == 0).all()
    assert len(chosen.rows) == own + 12


def test_the_draw_takes_nothing_from_the_random_state_and_changes_with_the_targets() -> None:
    _, _, target, _ = inputs()
    state = torch.get_rng_state()
    first, again = (candidate_items(target, ITEMS, 5).rows for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, candidate_items(target.flip(0), ITEMS, 5).rows)


def test_a_bias_counts_for_the_item_it_belongs_to() -> None:
    states, table, target, bias = inputs()
    with torch.no_grad():
        bias.zero_()[4] = 3.0
    plain, favoured = (
        next_item_cross_entropy(states[1:3], table, target[1:3], bias=given, negatives=5) for given in (None, bias)
    )
    assert favoured < plain


def test_a_catalogue_of_targets_alone_leaves_nothing_to_draw() -> None:
    states, table, _, bias = inputs()
    target = torch.tensor([1, 2, 3])
    loss = next_item_cross_entropy(states[:3], table[:4], target, bias=bias[:4], negatives=2)
    torch.testing.assert_close(loss, full(states[:3], table[:4], target, bias[:4]))
