"""What every backbone of this package shares: an item table, bytes, a digest, and adapters on its linear layers.

A backbone is a subclass that is plain PyTorch: it builds its layers and says what state each position of a context has.
Legend: n windows, L positions, p places of a window, d hidden size, m trained positions, v item rows (row 0 is padding).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from raie.engine.backbones.declared_sizes import UNFIT, require_outline
from raie.engine.backbones.linear_layers import linear_shapes, with_delta
from raie.engine.backbones.next_item import at_places, last_places, successors, trained_places, where_real
from raie.engine.backbones.protocol import Contexts, Delta, Shape
from raie.engine.bytes.finite import require_finite
from raie.engine.bytes.json import parse_json
from raie.engine.config import BackboneConfig
from raie.engine.errors import DamagedArtifact

__all__ = ["ItemModel", "ModelShape"]


@dataclass(frozen=True)
class ModelShape:
    """Everything that fixes what a backbone is; its canonical JSON is the backbone's config blob."""

    items: int
    length: int
    dim: int
    layers: int
    heads: int

    def __post_init__(self) -> None:
        sizes = (self.items, self.length, self.dim, self.layers, self.heads)
        if not all(type(size) is int for size in sizes) or min(sizes) < 1 or self.dim % self.heads:
            raise ValueError(f"sizes must be whole numbers from 1 on and dim a multiple of heads, found {self}")


class ItemModel(nn.Module):
    """A backbone, once a subclass says what its `states` are; see docs/backbones.md for one of your own.

    kind: its name in the configuration. shape_type: the fields of its shape; those that are options of
    `[engine.backbone]` too are set from there. reads_times, reads_titles: it wants the times and the titles of items.
    source: the text of the file that a user's own class stands in.
    """

    kind: ClassVar[str]
    shape_type: ClassVar[type[Any]] = ModelShape
    reads_times: ClassVar[bool] = False
    reads_titles: ClassVar[bool] = False
    source: ClassVar[str | None] = None
    delta: Delta | None = None
    appended: Tensor

    def __init__(self, shape: Any, dropout: float = 0.0) -> None:
        """The layers of this shape with random weights, drawn from torch's generator."""
        super().__init__()
        self.shape, self.rate = shape, dropout
        self.items = nn.Embedding(shape.items + 1, shape.dim, padding_idx=0)
        self.register_buffer("appended", torch.zeros(0, shape.dim), persistent=False)

    def states(self, contexts: Contexts) -> Tensor:
        """The state at every position of contexts: state j has read the items 0..j and predicts the next one.

        Args:
            contexts: left-justified.

        Returns:
            [n, L, d].
        """
        raise NotImplementedError(f"expected {type(self).__name__} to define `states` or `encode` and `examples`")

    def states_at(self, contexts: Contexts, places: Tensor) -> Tensor:
        """The states at some positions alone. A subclass may leave out what only other positions need.

        Args:
            contexts: left-justified.
            places: positions [n, p].

        Returns:
            [n, p, d].
        """
        return at_places(self.states(contexts), places)

    def embedded(self, items: Tensor) -> Tensor:
        """The rows of the item table, and what an adapter adds to them.

        Args:
            items: item rows [n, L].

        Returns:
            [n, L, d].
        """
        rows = F.embedding(items, self.item_table())
        added = None if self.delta is None else self.delta.read(items)
        return rows if added is None else rows + added

    def under(self, delta: Delta | None) -> Self:
        """The model over the same weights with what an adapter changes in the rows it reads and its linear layers.

        Args:
            delta: what an adapter changes inside the model; None for nothing.

        Returns:
            A model that shares all weights.
        """
        if delta is None:
            return self
        model = with_delta(self, delta.linear)
        model.__dict__["delta"] = delta
        return model

    # --- What the engine asks of a backbone; each is described in protocol.py.

    @property
    def dim(self) -> int:
        return int(self.shape.dim)

    @property
    def length(self) -> int:
        return int(self.shape.length)

    @property
    def known_items(self) -> int:
        return int(self.shape.items)

    @property
    def lora_targets(self) -> dict[str, Shape]:
        return linear_shapes(self)

    def item_table(self) -> Tensor:
        return torch.cat([self.items.weight, self.appended]) if len(self.appended) else self.items.weight

    def encode(self, contexts: Contexts, delta: Delta | None = None) -> Tensor:
        contexts = contexts.left_justified()
        places, _ = last_places(contexts.lengths, 1)
        return self.under(delta).states_at(contexts, places).squeeze(1)

    def examples(
        self, contexts: Contexts, target: Tensor, positions: int, delta: Delta | None = None
    ) -> tuple[Tensor, Tensor]:
        contexts = contexts.left_justified()
        places, real = trained_places(contexts, contexts.lengths, positions, contexts.items.shape[1])
        following = at_places(successors(contexts, target), places)
        states = self.under(delta).states_at(contexts, places)
        return where_real(states, real), where_real(following, real)

    def with_item_rows(self, rows: Tensor, titles: Sequence[str] = ()) -> Self:
        return self._with_buffers(appended=rows)

    def _with_buffers(self, **buffers: Tensor) -> Self:
        """The same weights, shared and not copied, with other values in these buffers."""
        extended = object.__new__(type(self))
        extended.__dict__ = {**self.__dict__, "_buffers": {**self._buffers, **buffers}}
        return extended

    @cached_property
    def digest(self) -> str:
        config, weights = self.to_bytes()
        return hashlib.sha256(hashlib.sha256(config).digest() + hashlib.sha256(weights).digest()).hexdigest()

    def to_bytes(self) -> tuple[bytes, bytes]:
        fields = {"kind": self.kind, **dataclasses.asdict(self.shape)}
        fields |= {} if self.source is None else {"source": self.source}
        config = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return config.encode(), save_tensors({k: v.contiguous() for k, v in self.state_dict().items()})

    # --- How one comes to be.

    @classmethod
    def fresh(cls, shape: Any, *, dropout: float = 0.0, seed: int = 0) -> Self:
        """A model with random weights that depend on the seed alone; the process keeps its random state.

        Args:
            shape: the sizes of the model.
            dropout: share of activations that training drops.
            seed: of everything random in it.

        Returns:
            The model.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(shape, dropout)

    @classmethod
    def begin(
        cls, config: BackboneConfig, items: int, length: int, *, titles: Sequence[str] = (), seed: int = 0
    ) -> Self:
        """The model that setup trains: those of its parameters that require a gradient.

        Args:
            config: the options.
            items: catalogue size.
            length: context items.
            titles: of the items, [] where the log has none.
            seed: of everything random in it.

        Returns:
            The model that setup trains.
        """
        named = {field.name for field in dataclasses.fields(cls.shape_type)}
        chosen = {name: value for name, value in dataclasses.asdict(config).items() if name in named}
        shape = cls.shape_type(**chosen, items=items, length=length)
        return cls.fresh(shape, dropout=config.dropout, seed=seed)

    @classmethod
    def from_bytes(cls, config: bytes, weights: bytes) -> Self:
        """The frozen backbone that `to_bytes` wrote.

        Args:
            config: canonical JSON.
            weights: safetensors.

        Returns:
            The backbone; no parameter requires a gradient.

        Raises:
            DamagedArtifact: where the bytes are not such a configuration or do not hold its weights.
            NotFinite: for NaN or infinity.
        """
        fields = parse_json(config, "the configuration of a backbone")
        try:
            fields = {name: value for name, value in fields.items() if name not in ("kind", "source")}
            shape, tensors = cls.shape_type(**fields), load_tensors(weights)
            # A user's own class may want real numbers while it is made.
            if cls.source is None:
                require_outline(partial(cls, shape), fields, tensors)
            model = cls.fresh(shape)
            model.load_state_dict(tensors)
        except (*UNFIT, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise DamagedArtifact(
                f"expected the configuration and weights of a backbone of kind {cls.kind!r}, found: {reason:.200}"
            ) from error
        require_finite(model.state_dict(), "the backbone")
        return model.eval().requires_grad_(False)
