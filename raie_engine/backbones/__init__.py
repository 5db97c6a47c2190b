"""The backbones: frozen next-item models behind one protocol."""

from __future__ import annotations

import json

from raie_engine.backbones.bert4rec import Bert4Rec, Bert4RecShape
from raie_engine.backbones.item_model import ItemModel, ModelShape
from raie_engine.backbones.protocol import Backbone, Contexts, Delta, Shape
from raie_engine.backbones.sasrec import SasRec
from raie_engine.backbones.tisasrec import TiSasRec, TiSasRecShape
from raie_engine.errors import DamagedArtifact

__all__ = [
    "Backbone",
    "Bert4Rec",
    "Bert4RecShape",
    "Contexts",
    "Delta",
    "ItemModel",
    "ModelShape",
    "SasRec",
    "Shape",
    "TiSasRec",
    "TiSasRecShape",
    "backbone_class",
    "load_backbone",
]

KINDS: dict[str, type[ItemModel]] = {kind.kind: kind for kind in (SasRec, Bert4Rec, TiSasRec)}


def backbone_class(kind: str) -> type[ItemModel]:
    """The class of this kind.

    Raises: KeyError for a kind that is not there.
    """
    return KINDS[kind]


def load_backbone(config: bytes, weights: bytes) -> Backbone:
    """The frozen backbone of these bytes, whichever kind its configuration names.

    Raises: DamagedArtifact for an unknown kind or bytes that do not fit together.
    """
    try:
        chosen = backbone_class(json.loads(config)["kind"])
    except (ValueError, TypeError, KeyError) as error:
        known = ", ".join(sorted(KINDS))
        raise DamagedArtifact(
            f"expected the configuration of a backbone ({known}), found: {config[:80]!r}"
        ) from error
    return chosen.from_bytes(config, weights)
