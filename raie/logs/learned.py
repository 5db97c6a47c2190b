"""How far a snapshot has taken the rows of its logs."""

from __future__ import annotations

from raie.engine.data.watermark import Watermark
from raie.registry import Content, Registry

__all__ = ["watermark_of"]


def watermark_of(registry: Registry, content: Content) -> Watermark | None:
    """The watermark of a snapshot; None where it holds none, as one that read no log.

    Args:
        registry: Where its blobs are.
        content: Of the snapshot.

    Raises:
        RegistryError: The blob is missing or damaged, or the store does not answer.
        DamagedArtifact: Its bytes are no watermark.
    """
    digests = content.shared.get("watermark")
    return Watermark.from_bytes(registry.get(digests[0])) if digests else None
