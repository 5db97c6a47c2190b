"""Sizes that a configuration declares are believed only where the weights have them: no memory is taken before."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["UNFIT", "require_outline"]

UNFIT = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, RuntimeError)
"""What a constructor may raise for a configuration that is none."""

_ROOM_BYTES = 1 << 28
"""For what a model keeps beside its weights, such as masks and rotations."""
_LAYERS = re.compile(r"(?!max_)(?!.*_(per|every)_).*layers?")
"""Names of sizes that count layers, each with weights of its own. Qwen's max_window_layers compares with their number."""
_MODULES_PER_TENSOR = 8
"""More modules than this for each tensor of weights are no model's that wrote them; the least is _FEWEST."""
_FEWEST = 1000


def require_outline(
    make: Callable[[], nn.Module], fields: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Compares a model's outline, which has shapes and no numbers, with the weights that it should be filled with.

    Args:
        make: makes the model of these fields.
        fields: of its configuration.
        tensors: the weights.

    Raises:
        ValueError: where they differ; whatever `make` raises.
    """
    for name, value in _whole_numbers(fields):
        if _LAYERS.fullmatch(name) and value > len(tensors):
            raise ValueError(f"{name} declared as {value}, and {len(tensors)} tensors of weights")
    with (
        torch.random.fork_rng(devices=[]),
        torch.device("meta"),
        _Undrawn(_FEWEST + _MODULES_PER_TENSOR * len(tensors)),
    ):
        outline = make()
    wanted = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in outline.state_dict().items()}
    declared = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    wrong = sorted(name for name in wanted.keys() | declared.keys() if wanted.get(name) != declared.get(name))
    if wrong:
        name = wrong[0]
        raise ValueError(f"{name} declared as {wanted.get(name, 'nothing')}, and {declared.get(name, 'nothing')}")
    beside = sum(tensor.numel() * tensor.element_size() for tensor in outline.buffers())
    if beside > _ROOM_BYTES + sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()):
        raise ValueError(f"sizes for which the model would keep {beside:,} bytes beside its weights")


class _Undrawn(TorchFunctionMode):
    """An outline has no numbers to draw; the first draw without memory would import torch's compiler, for a second.

    most: how many tensors it may make; a configuration that declares more, such as experts by the million, is none.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.made = most, 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        named = kwargs or {}
        if func in (Tensor.normal_, Tensor.uniform_, nn.init.normal_, nn.init.uniform_):
            return args[0] if args else named["tensor"]
        if func is torch.empty:
            self.made += 1
            if self.made > self.most:
                raise ValueError(f"sizes for which the model would have more than {self.most} tensors")
        return func(*args, **named)


def _whole_numbers(fields: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Every whole number of a configuration with its name, those of objects in it too."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _whole_numbers(value)
        elif isinstance(value, int):
            yield name, value
