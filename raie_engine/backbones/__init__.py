"""The backbones: frozen next-item models behind one protocol."""

from __future__ import annotations

from pathlib import Path

from raie.engine.backbones.backbone_file import class_in_file, require_same_text
from raie.engine.backbones.bert4rec import Bert4Rec, Bert4RecShape
from raie.engine.backbones.contract import require_contract
from raie.engine.backbones.esasrec import ESasRec
from raie.engine.backbones.hstu import Hstu
from raie.engine.backbones.item_model import ItemModel, ModelShape
from raie.engine.backbones.protocol import Backbone, Contexts, Delta, Shape
from raie.engine.backbones.sasrec import SasRec
from raie.engine.backbones.tisasrec import TiSasRec, TiSasRecShape
from raie.engine.bytes.json import parse_json
from raie.engine.config import BACKBONES
from raie.engine.errors import DamagedArtifact

__all__ = [
    "Backbone",
    "Bert4Rec",
    "Bert4RecShape",
    "Contexts",
    "Delta",
    "ESasRec",
    "Hstu",
    "ItemModel",
    "ModelShape",
    "SasRec",
    "Shape",
    "TiSasRec",
    "TiSasRecShape",
    "backbone_class",
    "load_backbone",
    "require_contract",
]


def backbone_class(kind: str, backbone_file: Path | None = None) -> type[ItemModel]:
    """The class of a kind of backbone.

    Args:
        kind: one of BACKBONES.
        backbone_file: the user's Python file, for the kind "file".

    Returns:
        A class whose instances are backbones.

    Raises:
        KeyError: for an unknown kind.
        ConfigError: for a file without a backbone.
    """
    if kind == "causal_lm":
        from raie.engine.backbones.causal_lm import CausalLm  # transformers takes seconds to import

        return CausalLm
    if kind == "file" and backbone_file is not None:
        return class_in_file(backbone_file)
    return {kind_class.kind: kind_class for kind_class in (SasRec, ESasRec, Hstu, Bert4Rec, TiSasRec)}[kind]


def load_backbone(config: bytes, weights: bytes, backbone_file: Path | None = None) -> Backbone:
    """The frozen backbone of these bytes, whichever kind its configuration names.

    Args:
        config: canonical JSON with its kind.
        weights: safetensors.
        backbone_file: the user's Python file, for a model that was set up with a backbone of the user's own.

    Returns:
        The backbone, whose parameters require no gradient.

    Raises:
        DamagedArtifact: for an unknown kind or bytes that do not fit together.
        WrongBackbone: where `backbone_file` is not the file that the model was set up with.
    """
    fields = parse_json(config, "the configuration of a backbone")
    try:
        kind, source = fields["kind"], fields.get("source", "")
        if kind not in BACKBONES:
            raise KeyError(kind)
    except (TypeError, KeyError, AttributeError) as error:
        known = ", ".join(BACKBONES)
        raise DamagedArtifact(
            f"expected the configuration of a backbone ({known}), found: {config[:80]!r}"
        ) from error
    if kind == "file":
        require_same_text(backbone_file, str(source))
    return backbone_class(kind, backbone_file).from_bytes(config, weights)
