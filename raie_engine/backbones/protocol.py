"""What the engine asks of a backbone: contexts in, hidden states out, and adapters as an argument.

Legend: n windows, L positions, d hidden size, m trained positions, v item rows (row 0 is padding).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    items, for a backbone that reads them. targets: int64 [n], how many of the last items of each context and its target
    training predicts, where the windows say so.
    """

    items: Tensor
    times: Tensor | None = None
    targets: Tensor | None = None

    @staticmethod
    def of(windows: Windows) -> Contexts:
        """The contexts of these windows, as tensors.

        Args:
            windows: n of them.

        Returns:
            The contexts.
        """
        times, targets = (
            None if array is None else torch.from_numpy(array).long() for array in (windows.times, windows.targets)
        )
        return Contexts(torch.from_numpy(windows.items).long(), times, targets)

    def take(self, rows: Tensor) -> Contexts:
        """The contexts of these rows.

        Args:
            rows: indices, mask or slice.

        Returns:
            The contexts.
        """
        return Contexts(*(None if value is None else value[rows] for value in self._values))  # type: ignore[arg-type]

    def left_justified(self) -> Contexts:
        """All padding moved behind the real items, whose order stays.

        Returns:
            The contexts.
        """
        order = (self.items == 0).to(torch.uint8).argsort(dim=1, stable=True)
        times = None if self.times is None else self.times.gather(1, order)
        return Contexts(self.items.gather(1, order), times, self.targets)

    def trimmed(self) -> Contexts:
        """The contexts without the last positions, where none of them has an item.

        Returns:
            The contexts.
        """
        used = (self.items != 0).any(dim=0).nonzero()
        width = int(used.max()) + 1 if len(used) else 1
        times = None if self.times is None else self.times[:, :width]
        return replace(self, items=self.items[:, :width], times=times)

    def filled_up(self, size: int) -> Contexts:
        """These contexts and then empty ones, up to a multiple of `size` in all.

        Args:
            size: of a block.

        Returns:
            The contexts.
        """
        more = -len(self) % size
        values = (
            None if value is None else F.pad(value, (*(0, 0) * (value.dim() - 1), 0, more))
            for value in self._values
        )
        return Contexts(*values)  # type: ignore[arg-type]

    @property
    def _values(self) -> tuple[Tensor | None, ...]:
        return self.items, self.times, self.targets

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
        """The output of a linear layer under the adapter.

        Args:
            name: the name.
            layer: the linear layer.
            inputs: [n, .., inputs].

        Returns:
            [n, .., outputs].
        """

    def read(self, items: Tensor) -> Tensor | None:
        """The adapter's update of the rows that are read for items.

        Args:
            items: item rows [n, L].

        Returns:
            [n, L, d]; None where it adds nothing.
        """


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
        """The item table: a hidden state times its rows gives the scores.

        Returns:
            [v, d].
        """

    def encode(self, contexts: Contexts, delta: Delta | None = None) -> Tensor:
        """The hidden state that predicts the item after each context.

        Args:
            contexts: left-padded or left-justified, n of them.
            delta: what an adapter changes inside the model; None for nothing.

        Returns:
            [n, d].
        """

    def examples(
        self, contexts: Contexts, target: Tensor, positions: int, delta: Delta | None = None
    ) -> tuple[Tensor, Tensor]:
        """What training on these windows reads.

        Randomness comes from torch's generator, which the training loop seeds.

        Args:
            contexts: left-padded or left-justified, n of them.
            target: [n], the items after the contexts.
            positions: only the last `positions` items of a context and its target are predicted, where the contexts hold
                no `targets` of their own; with as many as the stride of windows that slide, an item is predicted once,
                with its longest context.
            delta: what an adapter changes inside the model; None for nothing.

        Returns:
            States [m, d], and the items [m] that each of them should predict.
        """

    def with_item_rows(self, rows: Tensor, titles: Sequence[str] = ()) -> Backbone:
        """The same frozen model with other appended item rows.

        Args:
            rows: [new items, d], behind the rows of the known items.
            titles: of the new items, for a backbone that reads them.

        Returns:
            A model that shares all weights.
        """

    def to_bytes(self) -> tuple[bytes, bytes]:
        """The stored backbone; appended item rows are not part of it.

        Returns:
            Canonical JSON configuration, safetensors weights.
        """
