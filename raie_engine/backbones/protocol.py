"""What the engine asks of a backbone: contexts in, hidden states out, and adapters as an argument.

Legend: n windows, L positions, d hidden size, m trained positions, v item rows (row 0 is padding).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from raie.engine.data.windows import Windows

__all__ = ["Backbone", "Contexts", "Delta", "Shape"]


@dataclass(frozen=True, eq=False)
class Contexts:
    """What a backbone reads of n windows.

    items: int64 [n, L], oldest first; 0 is padding, wherever it stands. times: int64 [n, L], epoch seconds UTC of the
    items, for a backbone that reads them.
    """

    items: Tensor
    times: Tensor | None = None

    @staticmethod
    def of(windows: Windows) -> Contexts:
        """The contexts of these windows, as tensors."""
        times = None if windows.times is None else torch.from_numpy(windows.times).long()
        return Contexts(torch.from_numpy(windows.items).long(), times)

    def take(self, rows: Tensor) -> Contexts:
        """The contexts of these rows."""
        return Contexts(self.items[rows], None if self.times is None else self.times[rows])

    def left_justified(self) -> Contexts:
        """All padding moved behind the real items, whose order stays."""
        order = (self.items == 0).to(torch.uint8).argsort(dim=1, stable=True)
        times = None if self.times is None else self.times.gather(1, order)
        return Contexts(self.items.gather(1, order), times)

    def filled_up(self, size: int) -> Contexts:
        """These contexts and then empty ones, up to a multiple of `size` in all."""
        none = (0, 0, 0, -len(self) % size)
        return Contexts(F.pad(self.items, none), None if self.times is None else F.pad(self.times, none))

    @property
    def lengths(self) -> Tensor:
        """Real items of each context: [n]."""
        return (self.items != 0).sum(dim=1)

    def __len__(self) -> int:
        return len(self.items)


class Shape(NamedTuple):
    """Inputs and outputs of a linear layer."""

    inputs: int
    outputs: int


class Delta(Protocol):
    """What an adapter changes inside a backbone."""

    def linear(self, name: str, layer: nn.Module, inputs: Tensor) -> Tensor:
        """What the linear layer `name` gives of its inputs [n, .., inputs] under the adapter: [n, .., outputs]."""

    def read(self, items: Tensor) -> Tensor | None:
        """What it adds to the rows that are read for items [n, L]: [n, L, d]; None where it adds nothing."""


class Backbone(Protocol):
    """A frozen next-item model; adapters reach into it through `delta`, an argument and never hidden state.

    Where padding stands in a context, and what the other rows of a batch are, changes nothing that comes out.
    """

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

    @property
    def reads_titles(self) -> bool:
        """Whether `with_item_rows` makes anything of titles."""

    def item_table(self) -> Tensor:
        """[v, d]: what a hidden state is multiplied with to score items."""

    def encode(self, contexts: Contexts, delta: Delta | None = None) -> Tensor:
        """The hidden state that predicts the item after each context: [n, d]."""

    def examples(
        self, contexts: Contexts, target: Tensor, positions: int, delta: Delta | None = None
    ) -> tuple[Tensor, Tensor]:
        """What training on these windows reads: states [m, d], and the items [m] that each of them should predict.

        target: [n], the items after the contexts.  positions: only the last `positions` items of a context and its
        target are predicted; with as many as the stride of the windows, an item is predicted once, with its longest
        context.  Randomness comes from torch's generator, which the training loop seeds.
        """

    def with_item_rows(self, rows: Tensor, titles: Sequence[str] = ()) -> Backbone:
        """The same frozen model whose item table is the known items' rows and then `rows` [new items, d].

        titles: of the new items, for a backbone that reads them.
        """

    def to_bytes(self) -> tuple[bytes, bytes]:
        """(canonical JSON configuration, safetensors weights); appended item rows are not among them."""
