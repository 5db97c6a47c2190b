"""The frozen backbone as a model that plain PEFT puts an adapter on, with every item row that the snapshot has.

A backbone of items becomes a torch module whose `forward` takes item rows and gives hidden states. A language model
becomes a folder of transformers. In both, items are read through an embedding layer, which is what LoRA can change.
Legend: n windows, L positions, d hidden size, v item rows (row 0 is padding).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from raie.engine.backbones import Backbone, Contexts, ItemModel, load_backbone
from raie.engine.data.catalogue import Catalogue
from raie.engine.errors import DamagedArtifact

__all__ = ["BASE_FILE", "BaseNames", "base_files", "base_names", "load_base"]

BASE_FILE, ITEMS_FILE = "raie_base.json", "items.jsonl"
FORMAT = 1


@dataclass(frozen=True)
class BaseNames:
    """What an adapter must know of the model that it is put on.

    layout: "items", a torch module that reads item rows; or "tokens", a language model.  digest: of the backbone and of
    every item row.  prefix: of a language model, what stands before the names of its layers in the place of `decoder`.
    embedding, head: the layers that hold the item rows; no head where items are scored with the embedding.  first_row: of
    the embedding, that is item row 0.  rows: of the embedding.
    """

    layout: str
    digest: str
    prefix: str
    embedding: str
    head: str | None
    first_row: int
    rows: int

    def layer(self, name: str) -> str:
        """The name of a linear layer of the backbone in this model.

        Args:
            name: as of `Backbone.lora_targets`.

        Returns:
            The dotted name.
        """
        return name if self.layout == "items" else f"{self.prefix}.{name.removeprefix('decoder.')}"


def base_names(backbone: Backbone) -> BaseNames:
    """The names in the model that the backbone is for others.

    Args:
        backbone: frozen, with a row for every item.

    Returns:
        The names.

    Raises:
        ConfigError: for a language model that others cannot read.
    """
    table = backbone.item_table()
    digest = hashlib.sha256(f"{backbone.digest} {_table_digest(table)}".encode()).hexdigest()
    if _is_language_model(backbone):
        from raie.engine.backbones.token_model import outline

        model = cast(Any, backbone)
        prefix, embedding, head = outline(model)
        words = len(model.words)
        return BaseNames("tokens", digest, prefix, embedding, head, words, words + len(table))
    return BaseNames("items", digest, "", "items", None, 0, len(table))


def _table_digest(table: Tensor) -> str:
    return hashlib.sha256(table.detach().contiguous().numpy().tobytes()).hexdigest()


def _is_language_model(backbone: Backbone) -> bool:
    return getattr(backbone, "kind", "") == "causal_lm"


def base_files(backbone: Backbone, catalogue: Catalogue) -> dict[str, bytes]:
    """The folder of the model that adapters of this backbone belong to.

    Args:
        backbone: frozen, with a row for every item.
        catalogue: the ids of the items.

    Returns:
        Bytes by file name: config.json, model.safetensors, raie_base.json, items.jsonl and, of a language model,
        tokenizer.json.

    Raises:
        ConfigError: for a language model that others cannot read.
    """
    names = base_names(backbone)
    facts: dict[str, Any] = {"format": FORMAT, "backbone": backbone.digest, "digest": names.digest}
    facts |= {"layout": names.layout, "items": len(backbone.item_table()) - 1, "length": backbone.length}
    rows: list[dict[str, Any]] = [{"row": row, "item": item} for row, item in enumerate(catalogue.items, start=1)]
    if names.layout == "tokens":
        from raie.engine.backbones.token_model import item_tokens, token_model_files

        model = cast(Any, backbone)
        files = token_model_files(model)
        facts |= {"prompt": list(model.shape.prompt), "first_item_token": names.first_row}
        rows = [row | {"tokens": tokens} for row, tokens in zip(rows, item_tokens(model), strict=False)]
    else:
        config, weights = _whole(cast(ItemModel, backbone))
        files = {"config.json": config, "model.safetensors": weights}
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return {**files, BASE_FILE: _json(facts), ITEMS_FILE: lines.encode()}


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, sort_keys=True, indent=2) + "\n").encode()


def _whole(backbone: ItemModel) -> tuple[bytes, bytes]:
    """The backbone's own format, with appended item rows among those that it was trained with."""
    table = backbone.item_table()
    fields = json.loads(backbone.to_bytes()[0]) | {"items": len(table) - 1}
    weights = backbone.state_dict() | {"items.weight": table}
    tensors = {name: value.contiguous() for name, value in weights.items()}
    return (
        json.dumps(fields, sort_keys=True, separators=(",", ":")).encode(),
        save_tensors(tensors, metadata={"format": "pt"}),
    )


class _Called:
    """A backbone whose item rows are read by calling its embedding, so that a layer in its place is used."""

    def embedded(self, items: Tensor) -> Tensor:
        rows: Tensor = self.items(items)  # type: ignore[attr-defined]
        return rows

    def forward(self, items: Tensor, times: Tensor | None = None) -> Tensor:
        """The hidden state [n, d] of each context of item rows [n, L], 0 where there is none."""
        states: Tensor = self.encode(Contexts(items, times))  # type: ignore[attr-defined]
        return states


def load_base(folder: Path, backbone_file: Path | None = None) -> nn.Module:
    """The model of a folder that `base_files` made of a backbone of items, to be given to `peft.PeftModel`.

    Its `forward(items)` takes item rows int64 [n, L], 0 where there is none, and gives hidden states [n, d].

    Args:
        folder: with config.json and model.safetensors. That of a language model is loaded by transformers instead.
        backbone_file: the Python file of a backbone of the user's own.

    Returns:
        The frozen module.

    Raises:
        DamagedArtifact: for other files.
        OSError: for files that cannot be read.
    """
    backbone = load_backbone(
        (folder / "config.json").read_bytes(), (folder / "model.safetensors").read_bytes(), backbone_file
    )
    if not isinstance(backbone, ItemModel):
        raise DamagedArtifact(
            f"expected a backbone of items in {folder}, found another kind; load it by its own library"
        )
    called = type(f"Plain{type(backbone).__name__}", (_Called, type(backbone)), {})
    module = cast(nn.Module, object.__new__(called))
    module.__dict__ = dict(backbone.__dict__)
    return module
