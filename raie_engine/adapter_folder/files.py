"""A region's adapter in PEFT's format, and back, bit for bit.

    weight of a layer:     W + (alpha / r) B A                 as LoRA everywhere
    weight of the items:   E + (A_e)^T (B_e)^T                 the low-rank item update, as LoRA on the embedding

`rank_pattern` and `alpha_pattern` give the item update its own rank and the factor 1. What LoRA has no place for lies
beside it in files that others pass over: the bias of each item with the ids of the updated ones, and transition counts.
Legend: r rank, t updated items, v rows of the embedding, d hidden size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from raie.engine.adapter_folder.base_model import BaseNames
from raie.engine.backbones import Backbone
from raie.engine.bytes.json import parse_json
from raie.engine.errors import DamagedArtifact, InputError, NotFinite, WrongBackbone
from raie.engine.training.adapter import PEFT_PREFIX, Adapter

__all__ = [
    "ADAPTER_FILE",
    "CONFIG_FILE",
    "FACTS_FILE",
    "ITEM_ROWS_FILE",
    "TRANSITIONS_FILE",
    "FolderFacts",
    "adapter_files",
    "read_adapter",
    "read_facts",
]

CONFIG_FILE, ADAPTER_FILE = "adapter_config.json", "adapter_model.safetensors"
FACTS_FILE, ITEM_ROWS_FILE, TRANSITIONS_FILE = (
    "raie_adapter.json",
    "raie_item_rows.safetensors",
    "raie_transitions.safetensors",
)
FORMAT = 1
_UNREADABLE = (
    "use_dora",
    "use_rslora",
    "lora_bias",
    "modules_to_save",
    "layer_replication",
    "layers_to_transform",
    "trainable_token_indices",
    "use_qalora",
    "alora_invocation_tokens",
)
"""Options of PEFT with which the same tensors mean something else."""


@dataclass(frozen=True)
class FolderFacts:
    """What a folder says of itself.

    model, snapshot, region, version: where the adapter comes from.  backbone: the digest of the backbone that it was
    trained on.  base, base_digest: the name and the digest of the model it is put on, item rows included.  layout: as of
    BaseNames.  vocab_size: the items it knows.  files: name -> sha256.
    """

    model: str
    snapshot: str
    region: int
    version: int
    backbone: str
    base: str
    base_digest: str
    layout: str
    vocab_size: int
    files: Mapping[str, str]

    def to_bytes(self) -> bytes:
        """Canonical JSON: its sha256 names the folder."""
        values = {"format": FORMAT, **vars(self), "files": dict(self.files)}
        return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()


def read_facts(data: bytes) -> FolderFacts:
    """The facts of a folder.

    Args:
        data: of raie_adapter.json.

    Returns:
        The facts.

    Raises:
        InputError: for bytes that hold none.
    """
    try:
        values = parse_json(data, FACTS_FILE)
        if values.pop("format") != FORMAT:
            raise ValueError("another format; upgrade raie")
        facts = FolderFacts(**values)
        numbers, texts = (
            (facts.region, facts.version, facts.vocab_size),
            (facts.backbone, facts.base, facts.base_digest),
        )
        if not all(type(number) is int and number >= 0 for number in numbers) or not all(
            isinstance(text, str) for text in (*texts, facts.model, facts.snapshot)
        ):
            raise ValueError("values of other types")
        if not isinstance(facts.files, dict):
            raise ValueError("no list of files")
    except (DamagedArtifact, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"expected the facts of an exported adapter in {FACTS_FILE}, found: {error!s:.150}; copy that file from the "
            "folder that `raie adapter export` made"
        ) from error
    return facts


def adapter_files(adapter: Adapter, names: BaseNames, base: str) -> dict[str, bytes]:
    """The files of an adapter, without its card and its facts.

    Args:
        adapter: one region's.
        names: of the model that it is put on.
        base: the name of that model.

    Returns:
        Bytes by file name, equal in any process.
    """
    tensors = {f"{PEFT_PREFIX}{_renamed(name, names)}": value.contiguous() for name, value in adapter.lora.items()}
    tensors |= {f"{PEFT_PREFIX}{name}": value for name, value in _item_update(adapter, names).items()}
    blobs = adapter.to_blobs()
    return {
        CONFIG_FILE: _config(adapter, names, base),
        ADAPTER_FILE: save_tensors(tensors, metadata={"format": "pt"}),
        ITEM_ROWS_FILE: blobs["item_rows"],
        **({TRANSITIONS_FILE: blobs["transitions"]} if "transitions" in blobs else {}),
    }


def _renamed(name: str, names: BaseNames) -> str:
    layer, dot, part = name.rpartition(".lora_")
    return f"{names.layer(layer)}{dot}{part}"


def _item_update(adapter: Adapter, names: BaseNames) -> dict[str, Tensor]:
    """E_k - E as LoRA on the embedding and, where there is one, on the head; nothing where no item was updated."""
    if not len(adapter.item_ids):
        return {}
    rank = adapter.item_lora_a.shape[1]
    rows = torch.zeros(names.rows, rank).index_copy(0, adapter.item_ids + names.first_row, adapter.item_lora_a)
    update = {
        f"{names.embedding}.lora_embedding_A": rows.T.contiguous(),  # [r, v]
        f"{names.embedding}.lora_embedding_B": adapter.item_lora_b.T.contiguous(),  # [d, r]
    }
    if names.head is not None:
        update[f"{names.head}.lora_A.weight"] = adapter.item_lora_b.contiguous().clone()  # [r, d]
        update[f"{names.head}.lora_B.weight"] = rows  # [v, r]
    return update


def _config(adapter: Adapter, names: BaseNames, base: str) -> bytes:
    """`adapter_config.json`, canonical: PEFT's own writer orders target modules differently in every process."""
    layers = sorted({names.layer(name.rpartition(".lora_")[0]) for name in adapter.lora})
    items = [name for name in (names.embedding, names.head) if name is not None and len(adapter.item_ids)]
    rank = adapter.item_lora_a.shape[1]
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
        "task_type": "CAUSAL_LM" if names.layout == "tokens" else None,
        "base_model_name_or_path": base,
        "target_modules": sorted([*layers, *items]),
        "rank_pattern": dict.fromkeys(items, rank),
        "alpha_pattern": dict.fromkeys(items, rank),
    }
    return json.dumps(config, sort_keys=True, indent=2).encode()


# --- Back again


def read_adapter(files: Mapping[str, bytes], facts: FolderFacts, backbone: Backbone, names: BaseNames) -> Adapter:
    """The adapter of a folder, which may have been trained on since it was exported.

    Args:
        files: bytes by file name.
        facts: of the folder.
        backbone: that the adapter should belong to, with a row for every item.
        names: of the model that others put it on.

    Returns:
        The adapter, which fits the backbone.

    Raises:
        WrongBackbone: for an adapter of another backbone.
        InputError: for another shape, another type, an option that is not read here, or what is no adapter.
        NotFinite: for NaN or infinity.
    """
    if facts.backbone != backbone.digest:
        raise WrongBackbone(
            f"expected an adapter of backbone {backbone.digest[:12]}, found one of {facts.backbone[:12]}; import it "
            "into the model that it was exported from"
        )
    config = _read_config(files)
    tensors = _read_tensors(files)
    rank, alpha = config["r"], config["lora_alpha"]
    lora = {}
    for name, shape in backbone.lora_targets.items():
        for part, expected in (("lora_A", (rank, shape.inputs)), ("lora_B", (shape.outputs, rank))):
            stored = f"{names.layer(name)}.{part}.weight"
            lora[f"{name}.{part}.weight"] = _taken(tensors, stored, expected)
    # In the order of their names, as safetensors gives them back: equal tensors are equal bytes.
    lora = {name: lora[name] for name in sorted(lora)}
    items = _read_items(files, facts, tensors, config, backbone, names)
    if tensors:
        raise InputError(
            f"expected LoRA on the linear layers and the items of the backbone in {ADAPTER_FILE}, found "
            f"{ascii(min(tensors))[:100]} too; train an adapter without it"
        )
    return _whole(Adapter(backbone.digest, rank, alpha, lora, **items), files, backbone)


def _whole(adapter: Adapter, files: Mapping[str, bytes], backbone: Backbone) -> Adapter:
    """The adapter as it would be read back from what is stored of it."""
    blobs = adapter.to_blobs()
    if TRANSITIONS_FILE in files:
        blobs["transitions"] = files[TRANSITIONS_FILE]
    try:
        stored = Adapter.from_blobs(blobs)
        stored.require(backbone)
    except DamagedArtifact as error:
        reason = str(error).removesuffix("; restore the blob")
        raise InputError(f"{reason}; export the adapter again") from error
    return stored


def _read_config(files: Mapping[str, bytes]) -> dict[str, Any]:
    try:
        config = parse_json(_file(files, CONFIG_FILE), CONFIG_FILE)
    except DamagedArtifact as error:
        raise InputError(f"{str(error).removesuffix('; restore the blob')}; export the adapter again") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else config
        raise InputError(
            f"expected peft_type LORA in {CONFIG_FILE}, found {ascii(kind)[:60]}; only LoRA can be imported"
        )
    for name in ("r", "lora_alpha"):
        if type(config.get(name)) is not int or config[name] < 1:
            raise InputError(
                f"expected {name} as a whole number from 1 on in {CONFIG_FILE}, found {ascii(config.get(name))[:60]}"
            )
    unreadable = [name for name in _UNREADABLE if config.get(name)]
    if unreadable or config.get("bias", "none") != "none":
        raise InputError(
            f"expected plain LoRA in {CONFIG_FILE}, found {unreadable[0] if unreadable else 'bias'}, with which the "
            "tensors mean something else; train the adapter without it"
        )
    return config


def _read_tensors(files: Mapping[str, bytes]) -> dict[str, Tensor]:
    try:
        tensors = load_tensors(_file(files, ADAPTER_FILE))
    except SafetensorError as error:
        raise InputError(
            f"expected safetensors in {ADAPTER_FILE}, found: {error!s:.120}; copy or export it again"
        ) from error
    for name, value in tensors.items():
        if value.dtype != torch.float32:
            raise InputError(
                f"expected tensors of 32-bit floats in {ADAPTER_FILE}, found {str(value.dtype).removeprefix('torch.')} "
                f"in {ascii(name)[:100]}; save the adapter in float32"
            )
        if not bool(value.isfinite().all()):
            raise NotFinite(
                f"expected finite numbers in {ADAPTER_FILE}, found NaN or infinity in {ascii(name)[:100]}; train it again"
            )
    # Cloned, because a product's last bits depend on how its inputs lie in memory.
    return {name.removeprefix(PEFT_PREFIX): value.clone() for name, value in tensors.items()}


def _file(files: Mapping[str, bytes], name: str) -> bytes:
    if name not in files:
        raise InputError(f"expected {name} in the folder of an adapter, found none; export it again")
    return files[name]


def _taken(tensors: dict[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    value = tensors.pop(name, None)
    held = "none" if value is None else f"{list(value.shape)}"
    if value is None or tuple(value.shape) != shape:
        raise InputError(
            f"expected a tensor {name} of shape {list(shape)} in {ADAPTER_FILE}, found {held}; it belongs to "
            "another model"
        )
    return value


def _read_items(
    files: Mapping[str, bytes],
    facts: FolderFacts,
    tensors: dict[str, Tensor],
    config: Mapping[str, Any],
    backbone: Backbone,
    names: BaseNames,
) -> dict[str, Any]:
    """The low-rank item update, as arguments of Adapter: PEFT's tensors, with ids and bias from the file beside them."""
    beside = _beside(files, backbone)
    embedding = f"{names.embedding}.lora_embedding_A"
    if embedding not in tensors:
        return {**(beside or _no_items(backbone.dim)), "vocab_size": facts.vocab_size}
    down = tensors.pop(embedding)
    rank, rows = (int(size) for size in down.shape) if down.dim() == 2 else (0, 0)
    up = _taken(tensors, f"{names.embedding}.lora_embedding_B", (backbone.dim, rank))
    up = up * _scaling(config, names.embedding, rank)
    first, known = names.first_row, facts.vocab_size
    if not rank or not first + known < rows <= names.rows:
        raise InputError(
            f"expected LoRA on an embedding of {first + known + 1} to {names.rows} rows in {ADAPTER_FILE}, found shape "
            f"{list(down.shape)}; it belongs to another base model"
        )
    if names.head is not None:
        _require_same_head(tensors, names, down, up, _scaling(config, names.head, rank))
    updated = (down != 0).any(dim=0).nonzero().squeeze(1) - first
    ids = np.union1d(updated.numpy(), beside["item_ids"].numpy() if beside else [])
    if len(ids) and not (ids[0] >= 1 and ids[-1] <= known):
        raise InputError(
            f"expected an update of item rows 1 to {known} alone in {ADAPTER_FILE}, found one of row {int(ids[0])} to "
            f"{int(ids[-1])}; other rows are the frozen backbone's"
        )
    item_ids = torch.from_numpy(ids.astype(np.int64))
    bias = torch.zeros(len(ids))
    if beside:
        bias[torch.searchsorted(item_ids, beside["item_ids"])] = beside["bias"]
    return {
        "item_ids": item_ids,
        "item_lora_a": down.T[item_ids + first].contiguous(),
        "item_lora_b": up.T.contiguous(),
        "bias": bias,
        "vocab_size": known,
    }


_ITEMS = ("item_ids", "item_lora_a", "item_lora_b", "bias")


def _beside(files: Mapping[str, bytes], backbone: Backbone) -> dict[str, Tensor] | None:
    """The item rows as they were exported; None where the folder has none, as one that PEFT saved."""
    if ITEM_ROWS_FILE not in files:
        return None
    none = _no_items(backbone.dim)
    empty = Adapter(backbone_digest=backbone.digest, rank=1, alpha=1, lora={}, vocab_size=0, **none).to_blobs()
    try:
        rows = Adapter.from_blobs(empty | {"item_rows": files[ITEM_ROWS_FILE]})
    except DamagedArtifact as error:
        raise InputError(
            f"expected item rows in {ITEM_ROWS_FILE}, found: {error!s:.150}; export the adapter again"
        ) from error
    return {name: getattr(rows, name) for name in _ITEMS}


def _no_items(dim: int) -> dict[str, Any]:
    none = torch.zeros(0, dtype=torch.int64), torch.zeros(0, 0), torch.zeros(0, dim), torch.zeros(0)
    return dict(zip(_ITEMS, none, strict=True))


def _scaling(config: Mapping[str, Any], layer: str, rank: int) -> float:
    """PEFT's factor of a layer: alpha over rank, each of the layer's own where a pattern names it."""
    alphas, ranks = (config.get(name) or {} for name in ("alpha_pattern", "rank_pattern"))
    try:
        return float(alphas.get(layer, config["lora_alpha"])) / float(ranks.get(layer, config["r"]) or rank)
    except (TypeError, ValueError, AttributeError, ZeroDivisionError):
        raise InputError(
            f"expected numbers by layer in rank_pattern and alpha_pattern of {CONFIG_FILE}, found another text"
        ) from None


def _require_same_head(
    tensors: dict[str, Tensor], names: BaseNames, down: Tensor, up: Tensor, scaling: float
) -> None:
    """An item has one row, read and scored with: an adapter that scores with another cannot be kept."""
    rank, rows = down.shape
    scored = _taken(tensors, f"{names.head}.lora_A.weight", (int(rank), up.shape[0])) * scaling
    written = _taken(tensors, f"{names.head}.lora_B.weight", (int(rows), int(rank)))
    if not (torch.equal(scored, up.T) and torch.equal(written, down.T)):
        raise InputError(
            f"expected one update of the items for {names.embedding} and {names.head} in {ADAPTER_FILE}, found two that "
            "differ; train one with tied weights"
        )
