"""The linear layers of any module, and the same module with an adapter's delta on each of them.

A forward hook or a variable that the layers look at would be hidden state: set before a call, forgotten after it, wrong
when gradients recompute a part later. Here the module with the delta is a value. Its tree is copied, its weights are
not: for two transformer blocks that takes 30 microseconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NoReturn, TypeVar

from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from raie.engine.backbones.protocol import Shape

__all__ = ["LinearDelta", "last_layers", "linear_shapes", "with_delta"]

LinearDelta = Callable[[str, nn.Module, Tensor], Tensor]
"""`Delta.linear`: the name of a linear layer, the layer and its input to its output under an adapter."""

M = TypeVar("M", bound=nn.Module)


def linear_shapes(module: nn.Module) -> dict[str, Shape]:
    """Every linear layer by its name, in the order of the module.

    Args:
        module: any.

    Returns:
        Shapes by layer name.
    """
    named = ((name, _shape(layer)) for name, layer in module.named_modules())
    return {name: shape for name, shape in named if shape is not None}


def last_layers(names: Iterable[str]) -> frozenset[str]:
    """Of the names of linear layers, those in the last of numbered blocks and those outside of all blocks.

    Args:
        names: of linear layers.

    Returns:
        Some of the names.
    """
    numbers = {name: re.search(r"(?:^|\.)(\d+)\.", name) for name in names}
    block = {name: None if number is None else int(number[1]) for name, number in numbers.items()}
    last = max((number for number in block.values() if number is not None), default=None)
    return frozenset(name for name, number in block.items() if number in (None, last))


def _shape(module: nn.Module) -> Shape | None:
    if isinstance(module, nn.Linear) and not isinstance(module, NonDynamicallyQuantizableLinear):
        # The exception is the output of torch's own attention, which is never called, only its weights are read.
        return Shape(module.in_features, module.out_features)
    if type(module).__name__ == "Conv1D":  # what GPT-2 calls its linear layers; weight [inputs, outputs]
        return Shape(*module.weight.shape)  # type: ignore[misc]
    return None


def with_delta(module: M, delta: LinearDelta) -> M:
    """The module over the same weights whose linear layers are called through `delta`.

    Args:
        module: any.
        delta: what an adapter changes inside the model; None for nothing.

    Returns:
        A module that shares all weights.
    """
    return _copied(module, delta, "")


def _copied(module: M, delta: LinearDelta, prefix: str) -> M:
    children = {
        name: _Shifted(child, f"{prefix}{name}", delta)
        if _shape(child) is not None
        else _copied(child, delta, f"{prefix}{name}.")
        for name, child in module._modules.items()
        if child is not None
    }
    copied = object.__new__(type(module))
    copied.__dict__ = {**module.__dict__, "_modules": {**module._modules, **children}}
    return copied


class _Shifted:
    """A linear layer under an adapter."""

    def __init__(self, layer: nn.Module, name: str, delta: LinearDelta) -> None:
        self.layer, self.name, self.delta = layer, name, delta

    def __call__(self, inputs: Tensor) -> Tensor:
        return self.delta(self.name, self.layer, inputs)

    def __getattr__(self, name: str) -> NoReturn:
        # Whatever read its `weight` would compute without the delta, and nobody would notice.
        raise AttributeError(f"the linear layer {self.name!r} is used around its call, so no adapter reaches it")
