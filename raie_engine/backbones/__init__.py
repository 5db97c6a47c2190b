"""The backbones: frozen next-item models behind one protocol."""

from __future__ import annotations

import json

from raie_engine.backbones.protocol import Backbone, Delta, Shape, encode, item_scores, last_position
from raie_engine.backbones.sasrec import SasRec, SasRecShape
from raie_engine.errors import DamagedArtifact

__all__ = [
    "Backbone",
    "Delta",
    "SasRec",
    "SasRecShape",
    "Shape",
    "encode",
    "item_scores",
    "last_position",
    "load_backbone",
]

KINDS = {"sasrec": SasRec.from_bytes}


def load_backbone(config: bytes, weights: bytes) -> Backbone:
    """The frozen backbone of these bytes, whichever kind its configuration names.

    Raises: DamagedArtifact for an unknown kind or bytes that do not fit together.
    """
    try:
        kind = json.loads(config)["kind"]
        read = KINDS[kind]
    except (ValueError, TypeError, KeyError) as error:
        known = ", ".join(sorted(KINDS))
        raise DamagedArtifact(
            f"expected the configuration of a backbone ({known}), found: {config[:80]!r}"
        ) from error
    return read(config, weights)
