"""A region's adapter: LoRA on every linear layer of the backbone, and what the region learned about items.

    E_k = E + a_k B_k    score = h E_k^T + b_k    E: the frozen item table, h: hidden state under the region's LoRA

The region reads its contexts through E_k too. E never changes, a_k and b_k are the adapter's own and non-zero only for
items of windows that it, or the shared adapter it began from, was trained on, and the region scores only the item rows it
was trained with. So nothing that an edit learns can reach a region that the edit does not touch (method, section
"isolation").
The LoRA part is the format `peft` reads: `adapter_model.safetensors` and `adapter_config.json`.
Legend: n windows, L positions, d hidden size, r rank, t updated items, v item rows (row 0 is padding), m states.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from raie.engine.backbones import Backbone
from raie.engine.backbones.linear_layers import last_layers
from raie.engine.bytes.arrays import pack, unpack
from raie.engine.bytes.finite import require_finite
from raie.engine.bytes.json import parse_json
from raie.engine.bytes.stored_names import from_stored, to_stored
from raie.engine.config import AdapterConfig
from raie.engine.errors import DamagedArtifact, WrongBackbone
from raie.engine.training.lora_linear import lora_linear
from raie.engine.training.transition_counts import TransitionCounts

__all__ = ["Adapter", "AdapterDelta", "fresh_adapter", "rows_read"]

PEFT_PREFIX = "base_model.model."
ITEM_ROWS = "item_rows 2"
"""Rows that are read and scored with; those of the first kind were scored with only, and would now say something else."""


@dataclass(frozen=True, eq=False)
class Adapter:
    """Everything one region learned.

    lora: tensors `<layer>.lora_A.weight` [r, inputs] and `<layer>.lora_B.weight` [outputs, r].
    item_ids: int64 [t], the item rows that a_k and b_k update, ascending. item_lora_a: a_k [t, r_i]. item_lora_b: B_k
    [r_i, d]. bias: b_k [t]. vocab_size: item rows 1..vocab_size are scored; rows appended later do not exist for this
    region. transitions: item transition counts, where the adapter has them.
    """

    backbone_digest: str
    rank: int
    alpha: int
    lora: Mapping[str, Tensor]
    item_ids: Tensor
    item_lora_a: Tensor
    item_lora_b: Tensor
    bias: Tensor
    vocab_size: int
    transitions: TransitionCounts | None = None

    @property
    def scaling(self) -> float:
        return self.alpha / self.rank

    def with_transition_counts(self, scores: Tensor, items: np.ndarray) -> Tensor:
        """Scores joined with the item transition counts, where the adapter has them.

        Only the items that the adapter sees take part: rows appended later change no bit of theirs.

        Args:
            scores: [n, v], logits.
            items: item rows [n, L] of the contexts.

        Returns:
            [n, v].
        """
        if self.transitions is None:
            return scores
        seen = self.transitions.joined(scores[:, : self.vocab_size + 1], items)
        return torch.cat([seen, scores[:, self.vocab_size + 1 :]], dim=1)

    def item_rows(self, items: int) -> Tensor:
        """The low-rank item embedding update a_k B_k of all items, 0 for those without one.

        Args:
            items: how many there are.

        Returns:
            [items + 1, d].
        """
        rows = self.item_lora_a.new_zeros(items + 1, self.item_lora_b.shape[1])
        return rows.index_copy(0, self.item_ids, self.item_lora_a @ self.item_lora_b)

    def parameters(self) -> dict[str, Tensor]:
        """What training moves, by name.

        Returns:
            Tensors by name.
        """
        items = {name: getattr(self, name) for name in ("item_lora_a", "item_lora_b", "bias")}
        return {**self.lora, **to_stored("adapter parameters", items)}

    def last_parameters(self) -> dict[str, Tensor]:
        """Those nearest to the scores: of the last block and of layers outside of blocks, and the bias of each item.

        Returns:
            Tensors by name.
        """
        last = last_layers(map(_layer, self.lora))
        lora = {name: value for name, value in self.lora.items() if _layer(name) in last}
        return lora | to_stored("adapter parameters", {"bias": self.bias})

    def with_parameters(self, values: Mapping[str, Tensor]) -> Adapter:
        """The same adapter with other values for some of `parameters`.

        Args:
            values: by the names of `parameters`.

        Returns:
            The adapter.
        """
        all_values = {**self.parameters(), **values}
        lora = {name: all_values.pop(name) for name in self.lora}
        return replace(self, lora=lora, **from_stored("adapter parameters", all_values))

    def require(self, backbone: Backbone) -> None:
        """Checks that the adapter was trained on exactly this backbone.

        Args:
            backbone: with a row for every item.

        Raises:
            WrongBackbone: for another backbone.
            DamagedArtifact: where it names this backbone and its tensors do not fit.
        """
        if self.backbone_digest != backbone.digest:
            raise WrongBackbone(
                f"expected an adapter of backbone {backbone.digest[:12]}, found one of {self.backbone_digest[:12]}; "
                "load the backbone it was trained with"
            )
        expected = {"item_lora_b": (self.item_lora_a.shape[1], backbone.dim)}
        for name, shape in backbone.lora_targets.items():
            expected[f"{name}.lora_A.weight"] = (self.rank, shape.inputs)
            expected[f"{name}.lora_B.weight"] = (shape.outputs, self.rank)
        shapes = {
            name: tuple(tensor.shape) for name, tensor in {**self.lora, "item_lora_b": self.item_lora_b}.items()
        }
        items = len(backbone.item_table()) - 1
        if shapes != expected or self.vocab_size > items:
            wrong = sorted(name for name in {**shapes, **expected} if shapes.get(name) != expected.get(name))
            raise DamagedArtifact(
                f"expected an adapter whose tensors fit its backbone of {items} items, found one for {self.vocab_size} "
                f"items with {', '.join(wrong[:3]) or 'no tensor'} of another shape; restore the blob"
            )

    def to_blobs(self) -> dict[str, bytes]:
        """The stored adapter.

        Returns:
            Bytes by role: "lora" and "lora_config" as peft reads them, "item_rows" and, if any, "transitions".
        """
        lora = {PEFT_PREFIX + name: value.contiguous() for name, value in self.lora.items()}
        rows = to_stored("adapter", {name: getattr(self, name).numpy() for name in _ITEM_TENSORS})
        facts = to_stored("adapter", {"backbone": self.backbone_digest, "vocab_size": self.vocab_size})
        return {
            "lora": save_tensors(lora, metadata={"format": "pt"}),
            "lora_config": _peft_config(self),
            "item_rows": pack({"kind": ITEM_ROWS, **facts}, rows),
            **({} if self.transitions is None else {"transitions": self.transitions.to_bytes()}),
        }

    @staticmethod
    def from_blobs(blobs: Mapping[str, bytes]) -> Adapter:
        """The inverse of `to_blobs`.

        Args:
            blobs: bytes by role.

        Returns:
            The adapter.

        Raises:
            DamagedArtifact: for bytes that are not such an adapter.
            NotFinite: for NaN or infinity.
        """
        try:
            config = parse_json(blobs["lora_config"], "an adapter's configuration")
            facts, rows = unpack(blobs["item_rows"], ITEM_ROWS, _ROW_TYPES, _ROW_AXES)
            lora = {k.removeprefix(PEFT_PREFIX): v.clone() for k, v in load_tensors(blobs["lora"]).items()}
            # Cloned, because a product's last bits depend on how its inputs lie in memory.
            tensors = {
                name: torch.from_numpy(value).clone() for name, value in from_stored("adapter", rows).items()
            }
            facts = from_stored("adapter", facts)
            counted = TransitionCounts.from_bytes(blobs["transitions"]) if "transitions" in blobs else None
            adapter = Adapter(
                backbone_digest=str(facts["backbone"]),
                rank=int(config["r"]),
                alpha=int(config["lora_alpha"]),
                lora=lora,
                vocab_size=int(facts["vocab_size"]),
                transitions=counted,
                **tensors,
            )
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise DamagedArtifact(
                f"expected a region's adapter, found bytes that do not parse: {error}"
            ) from error
        _require_whole(adapter)
        require_finite(adapter.parameters(), "a region's adapter")
        return adapter


def _require_whole(adapter: Adapter) -> None:
    """Raises: DamagedArtifact where the item rows contradict each other, before one is scored as another item's."""
    item_ids = adapter.item_ids
    t = item_ids.numel()
    ascending = bool((item_ids.diff() > 0).all())
    inside = t == 0 or (int(item_ids[0]) >= 1 and int(item_ids[-1]) <= adapter.vocab_size)
    single = all(value.dtype == torch.float32 for value in adapter.lora.values())
    if adapter.transitions is not None and adapter.transitions.rows != adapter.vocab_size + 1:
        raise DamagedArtifact(
            f"expected transition counts of {adapter.vocab_size} items beside the adapter, found "
            f"{adapter.transitions.rows - 1}; restore the blob"
        )
    if not (ascending and inside and single and adapter.rank > 0):
        raise DamagedArtifact(
            f"expected rows of {t} ascending items up to {adapter.vocab_size} and tensors of 32-bit floats, found "
            f"items {item_ids.tolist()!s:.40}, {sorted({str(v.dtype) for v in adapter.lora.values()})} and rank "
            f"{adapter.rank}; restore the blob"
        )


_ITEM_TENSORS = ("item_ids", "item_lora_a", "item_lora_b", "bias")
_ROW_TYPES = to_stored(
    "adapter", dict(zip(_ITEM_TENSORS, (np.int64, np.float32, np.float32, np.float32), strict=True))
)
_ROW_AXES = to_stored("adapter", dict(zip(_ITEM_TENSORS, ("t", "tr", "rd", "t"), strict=True)))


def _layer(name: str) -> str:
    """The linear layer that a LoRA tensor of this name stands on."""
    return name.rsplit(".lora_", 1)[0]


def _peft_config(adapter: Adapter) -> bytes:
    """`adapter_config.json`, canonical: peft's own writer orders target modules differently in every process."""
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
        "task_type": None,
        "base_model_name_or_path": adapter.backbone_digest,
        "target_modules": sorted(set(map(_layer, adapter.lora))),
    }
    return json.dumps(config, sort_keys=True, separators=(",", ":")).encode()


def fresh_adapter(
    backbone: Backbone, config: AdapterConfig, item_ids: Tensor, seed: int, start: Adapter | None = None
) -> Adapter:
    """An adapter that changes nothing yet, or continues another one.

    An item rank of 0 means an adapter without item rows, and it stays without them.

    Args:
        backbone: the frozen backbone.
        config: size of the adapter.
        item_ids: int64 [t], the items that get rows as well.
        seed: of everything random in it.
        start: the adapter to continue; None for a fresh one.

    Returns:
        The adapter.

    Source: LoRA, arXiv 2106.09685: A random, B zero. The item rows are the other way round: a zero, B random.
    """
    if not (config.item_rank if start is None else start.item_lora_a.shape[1]):
        item_ids = item_ids[:0]
    if start is not None:
        return _widened(start, item_ids, backbone)
    generator = torch.Generator().manual_seed(seed)
    lora: dict[str, Tensor] = {}
    for name, shape in backbone.lora_targets.items():
        bound = 1 / math.sqrt(shape.inputs)
        uniform = torch.rand(config.rank, shape.inputs, generator=generator)
        lora[f"{name}.lora_A.weight"] = (2 * uniform - 1) * bound
        lora[f"{name}.lora_B.weight"] = torch.zeros(shape.outputs, config.rank)
    return Adapter(
        backbone_digest=backbone.digest,
        rank=config.rank,
        alpha=config.alpha,
        lora=lora,
        item_ids=item_ids,
        item_lora_a=torch.zeros(len(item_ids), config.item_rank),
        item_lora_b=torch.randn(config.item_rank, backbone.dim, generator=generator) / math.sqrt(backbone.dim),
        bias=torch.zeros(len(item_ids)),
        vocab_size=len(backbone.item_table()) - 1,
    )


def _widened(start: Adapter, item_ids: Tensor, backbone: Backbone) -> Adapter:
    """`start` with zero rows for items it had not touched; it counts nothing yet."""
    union = torch.unique(torch.cat([start.item_ids, item_ids]))
    kept = torch.searchsorted(union, start.item_ids)
    return replace(
        start,
        item_ids=union,
        item_lora_a=torch.zeros(len(union), start.item_lora_a.shape[1]).index_copy(0, kept, start.item_lora_a),
        bias=torch.zeros(len(union)).index_copy(0, kept, start.bias),
        vocab_size=len(backbone.item_table()) - 1,
        transitions=None,
    )


@dataclass(frozen=True, eq=False)
class AdapterDelta:
    """What one adapter changes inside a backbone.

    item_rows: [v, d], zero for items it has not touched; None for no rows. merged: one product per linear layer, as
    `lora_linear.py` has it for training, where peft makes three; the last bits differ.
    """

    lora: Mapping[str, Tensor]
    scaling: float
    item_rows: Tensor | None = None
    merged: bool = False

    def linear(self, name: str, layer: nn.Module, inputs: Tensor) -> Tensor:
        down, up = self.lora[f"{name}.lora_A.weight"], self.lora[f"{name}.lora_B.weight"]
        if self.merged and isinstance(layer, nn.Linear):
            return lora_linear(inputs, layer.weight, layer.bias, down, up, self.scaling)
        out: Tensor = layer(inputs) + F.linear(F.linear(inputs, down), up * self.scaling)
        return out

    def read(self, items: Tensor) -> Tensor | None:
        """The update of the rows that are read for items.

        Args:
            items: item rows [n, L].

        Returns:
            [n, L, d]; None without rows.
        """
        return None if self.item_rows is None else F.embedding(items, self.item_rows)


def rows_read(adapter: Adapter, items: Tensor) -> Tensor:
    """The update of the rows that are read for items, without a table of all items.

    Args:
        adapter: one region's adapter.
        items: item rows [n, L].

    Returns:
        [n, L, d].
    """
    if not len(adapter.item_ids):
        return adapter.item_lora_b.new_zeros(*items.shape, adapter.item_lora_b.shape[1])
    slots = torch.searchsorted(adapter.item_ids, items).clamp(max=len(adapter.item_ids) - 1)
    own = adapter.item_lora_a[slots] * (adapter.item_ids[slots] == items).unsqueeze(-1)  # [n, L, r_i]
    return own @ adapter.item_lora_b
