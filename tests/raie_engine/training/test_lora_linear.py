from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812

from raie.engine.training.lora_linear import lora_linear


@settings(deadline=None)  # the first call of torch's engine takes its time
@given(
    st.sampled_from([(5, 3), (2, 4, 3), (1, 1, 1)]),
    st.integers(1, 7),
    st.integers(1, 4),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**20),
)
def test_it_is_the_plain_form_and_so_are_its_gradients(
    shape: tuple[int, ...], outputs: int, rank: int, biased: bool, reads_gradient: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)

    def drawn(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.double)

    inputs, weight, bias = drawn(*shape), drawn(outputs, shape[-1]), drawn(outputs) if biased else None
    down, up, into = drawn(rank, shape[-1]), drawn(outputs, rank), drawn(*shape[:-1], outputs)
    moved = [tensor.requires_grad_() for tensor in ([inputs] if reads_gradient else []) + [down, up]]
    plain = F.linear(inputs, weight, bias) + 1.5 * F.linear(F.linear(inputs, down), up)
    ours = lora_linear(inputs, weight, bias, down, up, 1.5)
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(
        torch.autograd.grad((ours * into).sum(), moved), torch.autograd.grad((plain * into).sum(), moved)
    )
