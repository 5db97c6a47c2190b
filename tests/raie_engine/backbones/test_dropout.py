from __future__ import annotations

import pytest
import torch

from raie.engine.backbones.dropout import dropped


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.5, 0.9])
def test_the_share_is_dropped_everywhere_and_the_mean_stays(rate: float) -> None:
    torch.manual_seed(0)
    out = dropped(torch.ones(1001, 203), rate, training=True)
    # 1 / 512: rates are whole 256ths; 0.01: chance, over the lanes of a word too.
    assert abs(float((out == 0).float().mean()) - rate) < 1 / 512 + 0.005
    lanes = (out.flatten()[: 1001 * 203 // 8 * 8].view(-1, 8) == 0).float().mean(dim=0)
    assert (lanes - rate).abs().max() < 1 / 512 + 0.02
    assert abs(float(out.mean()) - 1) < 0.03
    assert len(out[out != 0].unique()) == 1


def test_what_is_dropped_gets_no_gradient_and_the_rest_the_scale() -> None:
    torch.manual_seed(0)
    x = torch.randn(50, 7, requires_grad=True)
    out = dropped(x, 0.5, training=True)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(gradient, torch.where(out == 0, 0.0, 2.0))


@pytest.mark.parametrize(("rate", "training"), [(0.2, False), (0.0, True)])
def test_outside_of_training_nothing_is_dropped_or_drawn(rate: float, training: bool) -> None:
    x, state = torch.randn(5), torch.get_rng_state()
    assert torch.equal(dropped(x, rate, training), x)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_seed_decides_what_is_dropped() -> None:
    torch.manual_seed(4)
    first = dropped(torch.ones(99), 0.3, training=True)
    torch.manual_seed(4)
    assert torch.equal(dropped(torch.ones(99), 0.3, training=True), first)
    assert not torch.equal(dropped(torch.ones(99), 0.3, training=True), first)
