"""eSASRec and HSTU: their formulas, one position at a time, and what every causal model keeps to."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from raie.engine.backbones import Contexts, ESasRec, Hstu, ItemModel, ModelShape

SHAPE = ModelShape(items=30, length=6, dim=16, layers=2, heads=2)
ITEMS = torch.tensor([[5, 6, 7, 8, 9, 10], [3, 1, 4, 0, 0, 0]])


def model(kind: type[ItemModel]) -> ItemModel:
    """A frozen model whose every weight matters."""
    made, generator = kind.fresh(SHAPE, seed=1), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return made.eval().requires_grad_(False)


def by_head(values: Tensor) -> Tensor:
    """[L, d] to [h, L, d/h]."""
    return values.view(len(values), SHAPE.heads, -1).transpose(0, 1)


def one_esasrec_block(block: torch.nn.Module, x: Tensor) -> Tensor:
    read = block.attention_norm(x)
    query, key, value = (by_head(linear(read)) for linear in (block.query, block.key, block.value))
    rows = []
    for position in range(len(x)):
        scores = (key[:, : position + 1] @ query[:, position].unsqueeze(2)).squeeze(2) / query.shape[2] ** 0.5
        rows.append((scores.softmax(dim=1).unsqueeze(1) @ value[:, : position + 1]).flatten())
    x = x + torch.sigmoid(block.attention_gate(x)) * block.output(torch.stack(rows))
    read = block.feed_norm(x)
    return x + torch.sigmoid(block.feed_gate(x)) * block.down(F.silu(block.up(read)) * block.side(read))


def one_hstu_block(block: torch.nn.Module, x: Tensor) -> Tensor:
    read = block.norm(x)
    query, key, value = (by_head(F.silu(linear(read))) for linear in (block.query, block.key, block.value))
    rows = []
    for position in range(len(x)):
        bias = block.distance[:, : position + 1].flip(1)
        scores = (key[:, : position + 1] @ query[:, position].unsqueeze(2)).squeeze(2) + bias
        rows.append((F.silu(scores) / (position + 1)).unsqueeze(1).bmm(value[:, : position + 1]).flatten())
    return x + block.output(block.mixed_norm(torch.stack(rows)) * F.silu(block.gate(read)))


@pytest.mark.parametrize(("kind", "one_block"), [(ESasRec, one_esasrec_block), (Hstu, one_hstu_block)])
def test_states_are_those_of_the_formula_one_position_at_a_time(kind: type[ItemModel], one_block) -> None:  # type: ignore[no-untyped-def]
    backbone = model(kind)
    states = backbone.states(Contexts(ITEMS))
    for row, length in enumerate((6, 3)):
        x = backbone.items.weight[ITEMS[row, :length]] * SHAPE.dim**0.5 + backbone.positions.weight[:length]
        for block in backbone.blocks:
            x = one_block(block, x)
        # 1e-4: single precision, summed in another order.
        torch.testing.assert_close(states[row, :length], backbone.norm(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [ESasRec, Hstu])
def test_a_later_item_changes_no_earlier_state_and_a_prefix_is_a_shorter_window(kind: type[ItemModel]) -> None:
    backbone = model(kind)
    whole = backbone.states(Contexts(ITEMS[:1]))
    for length in range(1, SHAPE.length):
        changed = ITEMS[:1].clone()
        changed[:, length] = 29
        after = backbone.states(Contexts(changed))
        assert torch.equal(after[:, :length], whole[:, :length])
        assert not torch.allclose(after[:, length], whole[:, length])
        # 1e-5: products of another shape may sum in another order.
        prefix = backbone.states(Contexts(ITEMS[:1, :length]))
        torch.testing.assert_close(prefix, whole[:, :length], rtol=0, atol=1e-5)


def test_training_reaches_the_distance_bias_of_every_distance_read() -> None:
    backbone = Hstu.fresh(SHAPE, seed=1)
    backbone.states(Contexts(ITEMS)).square().sum().backward()
    assert (backbone.blocks[0].distance.grad != 0).all()
