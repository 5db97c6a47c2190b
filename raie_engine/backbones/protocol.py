"""What the engine asks of a backbone, and what follows from it for every backbone alike.

Legend: n windows, L positions, d hidden size, v item rows (row 0 is padding).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

__all__ = ["Backbone", "Delta", "Shape", "encode", "item_scores", "last_position"]


class Shape(NamedTuple):
    """Inputs and outputs of a linear layer."""

    inputs: int
    outputs: int


class Delta(Protocol):
    """What an adapter adds to the output of the linear layer `name`, given that layer's input [n, L, inputs]."""

    def __call__(self, name: str, inputs: Tensor) -> Tensor: ...


class Backbone(Protocol):
    """A next-item model; adapters reach its linear layers through `delta`, an argument and never hidden state."""

    @property
    def dim(self) -> int: ...

    @property
    def length(self) -> int:
        """L, the most context items it reads."""

    @property
    def known_items(self) -> int:
        """Item rows 1..known_items were trained with the backbone; later rows were appended."""

    @property
    def digest(self) -> str:
        """sha256 of the configuration and of every weight; appended item rows do not change it."""

    @property
    def lora_targets(self) -> dict[str, Shape]:
        """The linear layers an adapter may change, by module name."""

    def item_table(self) -> Tensor:
        """[v, d]: what a hidden state is multiplied with to score items."""

    def hidden(self, items: Tensor, delta: Delta | None = None) -> Tensor:
        """Item rows [n, L], left-justified, to hidden states [n, L, d]."""

    def with_item_rows(self, rows: Tensor) -> Backbone:
        """The same frozen model whose item table is the known items' rows and then `rows` [new items, d]."""

    def to_bytes(self) -> tuple[bytes, bytes]:
        """(canonical JSON configuration, safetensors weights); appended item rows are not among them."""


def last_position(items: Tensor) -> Tensor:
    """Index of the last real item of each left-justified window: [n, L] -> [n]."""
    return (items != 0).sum(dim=1).clamp(min=1) - 1


def encode(backbone: Backbone, items: Tensor, delta: Delta | None = None) -> Tensor:
    """The hidden state that predicts the next item: [n, L] -> [n, d]."""
    states = backbone.hidden(items, delta)
    return states[torch.arange(len(items)), last_position(items)]


def item_scores(backbone: Backbone, states: Tensor) -> Tensor:
    """Scores of every item row for hidden states [..., d]: [..., v]; padding scores minus infinity."""
    scores = states @ backbone.item_table().T
    scores[..., 0] = float("-inf")
    return scores
