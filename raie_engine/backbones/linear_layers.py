"""The linear layers of any module, and the same module with an adapter's delta on some of them or under its last block.

A forward hook or a variable that the layers look at would be hidden state: set before a call, forgotten after it, wrong
when gradients recompute a part later. Here the module with the delta is a value. Its tree is copied, its weights are
not: for two transformer blocks that takes 30 microseconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from typing import Any, NoReturn, TypeVar

from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from raie_engine.backbones.protocol import Shape

__all__ = ["LinearDelta", "last_block", "last_layers", "linear_shapes", "reading_more", "with_delta"]

LinearDelta = Callable[[str, nn.Module, Tensor], Tensor]
"""`Delta.linear`: the name of a linear layer, the layer and its input to its output under an adapter."""

M = TypeVar("M", bound=nn.Module)


def linear_shapes(module: nn.Module) -> dict[str, Shape]:
    """Every linear layer by its name, in the order of the module."""
    named = ((name, _shape(each)) for name, each in module.named_modules())
    return {name: shape for name, shape in named if shape is not None}


def last_layers(names: Iterable[str]) -> tuple[str, ...]:
    """Of the names of linear layers, those in the last of numbered blocks and those outside of all blocks."""
    block = {name: _block(name) for name in names}
    last = last_block(block)
    return tuple(name for name, its in block.items() if its in (None, last))


def last_block(names: Iterable[str]) -> str | None:
    """The name of the last of the numbered blocks that these linear layers are in; None where there are none."""
    blocks = [block for block in map(_block, names) if block is not None]
    return max(blocks, key=lambda block: int(block.rpartition(".")[2]), default=None)


def _block(name: str) -> str | None:
    number = re.search(r"(?:^|\.)\d+(?=\.)", name)
    return None if number is None else name[: number.end()]


def _shape(module: nn.Module) -> Shape | None:
    if isinstance(module, nn.Linear) and not isinstance(module, NonDynamicallyQuantizableLinear):
        # The exception is the output of torch's own attention, which is never called, only its weights are read.
        return Shape(module.in_features, module.out_features)
    if type(module).__name__ == "Conv1D":  # what GPT-2 calls its linear layers; weight [inputs, outputs]
        return Shape(*module.weight.shape)  # type: ignore[misc]
    return None


def with_delta(module: M, delta: LinearDelta, names: Collection[str]) -> M:
    """The module over the same weights whose linear layers of these names are called through `delta`."""
    return _copied(module, delta, names, "")


def _copied(module: M, delta: LinearDelta, names: Collection[str], prefix: str) -> M:
    children = {
        name: _Shifted(child, f"{prefix}{name}", delta)
        if f"{prefix}{name}" in names
        else _copied(child, delta, names, f"{prefix}{name}.")
        for name, child in module._modules.items()
        if child is not None
    }
    return _with(module, _modules={**module._modules, **children})


def reading_more(module: M, block: str, added: Tensor) -> M:
    """The module over the same weights whose block of this name reads `added` more than comes to it."""
    name, _, rest = block.partition(".")
    child = module._modules[name]
    assert child is not None, "the name is that of a block"
    if rest:
        reads_more = reading_more(child, rest, added)
    else:

        def forward(read: Tensor, *others: Any, **named: Any) -> Any:
            return type(child).forward(child, read + added, *others, **named)

        reads_more = _with(child, forward=forward)
    return _with(module, _modules={**module._modules, name: reads_more})


def _with(module: M, **attributes: Any) -> M:
    """The same module, neither its weights nor its children copied, with other values for these attributes."""
    copied = object.__new__(type(module))
    copied.__dict__ = {**module.__dict__, **attributes}
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
