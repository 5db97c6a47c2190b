"""A region's adapter: LoRA on every linear layer of the backbone, and what the region learnt about items.

    E_k = E + a_k B_k    score = h E_k^T + b_k    E: the frozen item table, h: hidden state under the region's LoRA

The region reads its contexts through E_k too. E never changes, a_k and b_k are the adapter's own and non-zero only for
items of windows that it, or the shared adapter it began from, was trained on, and the region scores only the item rows it
was trained with. So nothing that an edit learns can reach a region that the edit does not touch (method, section
"isolation").
The LoRA part is the format `peft` reads: `adapter_model.safetensors` and `adapter_config.json`.
Legend: n windows, L positions, d hidden size, r rank, t touched items, v item rows (row 0 is padding).
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
from raie.engine.config import AdapterConfig
from raie.engine.errors import DamagedArtifact, WrongBackbone
from raie.engine.training.lora_linear import lora_linear
from raie.engine.training.transition_counts import TransitionCounts

__all__ = ["Adapter", "AdapterDelta", "fresh_adapter", "item_parts", "rows_read"]

PEFT_PREFIX = "base_model.model."
ITEM_ROWS = "item_rows 2"
"""Rows that are read and scored with; those of the first kind were scored with only, and would now say something else."""


@dataclass(frozen=True, eq=False)
class Adapter:
    """Everything one region learnt.

    lora: tensors `<layer>.lora_A.weight` [r, inputs] and `<layer>.lora_B.weight` [outputs, r].
    touched: int64 [t], the item rows a_k and b_k speak of, ascending. a: [t, r_i]. b: B_k [r_i, d]. bias: [t].
    visible: item rows 1..visible are scored; rows appended later do not exist for this region. transitions: what followed
    what, where the adapter counts it beside what it learnt.
    """

    backbone_digest: str
    rank: int
    alpha: int
    lora: Mapping[str, Tensor]
    touched: Tensor
    a: Tensor
    b: Tensor
    bias: Tensor
    visible: int
    transitions: TransitionCounts | None = None

    @property
    def scaling(self) -> float:
        return self.alpha / self.rank

    def with_transition_counts(self, scores: Tensor, items: np.ndarray) -> Tensor:
        """The scores [n, v] of contexts [n, L], joined with what followed what where the adapter counts that.

        Only the items that the adapter sees take part: rows appended later change no bit of theirs.
        """
        if self.transitions is None:
            return scores
        seen = self.transitions.joined(scores[:, : self.visible + 1], items)
        return torch.cat([seen, scores[:, self.visible + 1 :]], dim=1)

    def item_rows(self, items: int) -> Tensor:
        """a_k B_k of all items, 0 for those not touched: [items + 1, d]."""
        rows = self.a.new_zeros(items + 1, self.b.shape[1])
        return rows.index_copy(0, self.touched, self.a @ self.b)

    def parameters(self) -> dict[str, Tensor]:
        """What training moves, by name."""
        return {**self.lora, "item.a": self.a, "item.b": self.b, "item.bias": self.bias}

    def last_parameters(self) -> dict[str, Tensor]:
        """Those nearest to the scores: of the last block and of layers outside of blocks, and the bias of each item."""
        last = last_layers(map(_layer, self.lora))
        return {name: value for name, value in self.lora.items() if _layer(name) in last} | {
            "item.bias": self.bias
        }

    def with_parameters(self, values: Mapping[str, Tensor]) -> Adapter:
        """The same adapter with other values for some of `parameters`."""
        all_values = {**self.parameters(), **values}
        lora = {name: all_values[name] for name in self.lora}
        return replace(
            self, lora=lora, a=all_values["item.a"], b=all_values["item.b"], bias=all_values["item.bias"]
        )

    def require(self, backbone: Backbone) -> None:
        """Raises: WrongBackbone unless the adapter was trained on exactly this backbone; DamagedArtifact where it says
        so and its tensors do not fit.
        """
        if self.backbone_digest != backbone.digest:
            raise WrongBackbone(
                f"expected an adapter of backbone {backbone.digest[:12]}, found one of {self.backbone_digest[:12]}; "
                "load the backbone it was trained with"
            )
        expected = {"b": (self.a.shape[1], backbone.dim)}
        for name, shape in backbone.lora_targets.items():
            expected[f"{name}.lora_A.weight"] = (self.rank, shape.inputs)
            expected[f"{name}.lora_B.weight"] = (shape.outputs, self.rank)
        found = {name: tuple(tensor.shape) for name, tensor in {**self.lora, "b": self.b}.items()}
        items = len(backbone.item_table()) - 1
        if found != expected or self.visible > items:
            wrong = sorted(name for name in {**found, **expected} if found.get(name) != expected.get(name))
            raise DamagedArtifact(
                f"expected an adapter whose tensors fit its backbone of {items} items, found one for {self.visible} "
                f"items with {', '.join(wrong[:3]) or 'no tensor'} of another shape; restore the blob"
            )

    def to_blobs(self) -> dict[str, bytes]:
        """Blobs by role: "lora" and "lora_config" as peft reads them, "item_rows" and, if any, "transitions"."""
        lora = {PEFT_PREFIX + name: value.contiguous() for name, value in self.lora.items()}
        rows = {"touched": self.touched, "a": self.a, "b": self.b, "bias": self.bias}
        facts = {"kind": ITEM_ROWS, "backbone": self.backbone_digest, "visible": self.visible}
        return {
            "lora": save_tensors(lora, metadata={"format": "pt"}),
            "lora_config": _peft_config(self),
            "item_rows": pack(facts, {name: value.numpy() for name, value in rows.items()}),
            **({} if self.transitions is None else {"transitions": self.transitions.to_bytes()}),
        }

    @staticmethod
    def from_blobs(blobs: Mapping[str, bytes]) -> Adapter:
        """The inverse of `to_blobs`.

        Raises: DamagedArtifact for bytes that are not such an adapter; NotFinite.
        """
        try:
            config = parse_json(blobs["lora_config"], "an adapter's configuration")
            facts, rows = unpack(blobs["item_rows"], ITEM_ROWS, _ROW_TYPES, _ROW_AXES)
            lora = {k.removeprefix(PEFT_PREFIX): v.clone() for k, v in load_tensors(blobs["lora"]).items()}
            # Cloned, because a product's last bits depend on how its inputs lie in memory.
            own = {name: torch.from_numpy(value).clone() for name, value in rows.items()}
            counted = TransitionCounts.from_bytes(blobs["transitions"]) if "transitions" in blobs else None
            adapter = Adapter(
                backbone_digest=str(facts["backbone"]),
                rank=int(config["r"]),
                alpha=int(config["lora_alpha"]),
                lora=lora,
                visible=int(facts["visible"]),
                transitions=counted,
                touched=own["touched"],
                a=own["a"],
                b=own["b"],
                bias=own["bias"],
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
    touched = adapter.touched
    t = touched.numel()
    ascending = bool((touched.diff() > 0).all())
    inside = t == 0 or (int(touched[0]) >= 1 and int(touched[-1]) <= adapter.visible)
    single = all(value.dtype == torch.float32 for value in adapter.lora.values())
    if adapter.transitions is not None and adapter.transitions.rows != adapter.visible + 1:
        raise DamagedArtifact(
            f"expected transitions of {adapter.visible} items beside the adapter, found {adapter.transitions.rows - 1}; "
            "restore the blob"
        )
    if not (ascending and inside and single and adapter.rank > 0):
        raise DamagedArtifact(
            f"expected rows of {t} ascending items up to {adapter.visible} and tensors of 32-bit floats, found "
            f"items {touched.tolist()!s:.40}, {sorted({str(v.dtype) for v in adapter.lora.values()})} and rank "
            f"{adapter.rank}; restore the blob"
        )


_ROW_TYPES = {"touched": np.int64, "a": np.float32, "b": np.float32, "bias": np.float32}
_ROW_AXES = {"touched": "t", "a": "tr", "b": "rd", "bias": "t"}


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
    backbone: Backbone, config: AdapterConfig, touched: Tensor, seed: int, start: Adapter | None = None
) -> Adapter:
    """An adapter that changes nothing yet, or continues `start`, with rows for the items `touched` [t] as well.

    An item rank of 0 means an adapter without item rows, and it stays without them.

    Source: LoRA, arXiv 2106.09685: A random, B zero. The item rows are the other way round: a zero, B random.
    """
    if not (config.item_rank if start is None else start.a.shape[1]):
        touched = touched[:0]
    if start is not None:
        return _widened(start, touched, backbone)
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
        touched=touched,
        a=torch.zeros(len(touched), config.item_rank),
        b=torch.randn(config.item_rank, backbone.dim, generator=generator) / math.sqrt(backbone.dim),
        bias=torch.zeros(len(touched)),
        visible=len(backbone.item_table()) - 1,
    )


def _widened(start: Adapter, touched: Tensor, backbone: Backbone) -> Adapter:
    """`start` with zero rows for items it had not touched; it counts nothing yet."""
    union = torch.unique(torch.cat([start.touched, touched]))
    kept = torch.searchsorted(union, start.touched)
    return replace(
        start,
        touched=union,
        a=torch.zeros(len(union), start.a.shape[1]).index_copy(0, kept, start.a),
        bias=torch.zeros(len(union)).index_copy(0, kept, start.bias),
        visible=len(backbone.item_table()) - 1,
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
        """Of items [n, L]: [n, L, d]."""
        return None if self.item_rows is None else F.embedding(items, self.item_rows)


def rows_read(adapter: Adapter, items: Tensor) -> Tensor:
    """What is added to the rows that are read for items [n, L], without a table of all items: [n, L, d]."""
    if not len(adapter.touched):
        return adapter.b.new_zeros(*items.shape, adapter.b.shape[1])
    place = torch.searchsorted(adapter.touched, items).clamp(max=len(adapter.touched) - 1)
    own = adapter.a[place] * (adapter.touched[place] == items).unsqueeze(-1)  # [n, L, r_i]
    return own @ adapter.b


def item_parts(adapter: Adapter, states: Tensor) -> tuple[Tensor, Tensor]:
    """low [m, r_i + 1] and rows [v - 1, r_i + 1] whose product is what the item rows add to scores of items 1..v-1.

    For rows of a batch that belong to different adapters, where E_k cannot be made for each.
    """
    low = torch.cat([states @ adapter.b.T, states.new_ones(len(states), 1)], dim=1)
    own = torch.cat([adapter.a, adapter.bias.unsqueeze(1)], dim=1)  # [t, r_i + 1]
    rows = own.new_zeros(adapter.visible, own.shape[1]).index_copy(0, adapter.touched - 1, own)
    return low, rows
