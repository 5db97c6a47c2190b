"""How far a snapshot has taken the rows of its logs, and which rows one edit took."""

from __future__ import annotations

from raie.engine.data.watermark import Watermark
from raie.registry import Content, Registry
from raie.registry.events.openlineage import DataRange

__all__ = ["learned_range", "watermark_of"]


def learned_range(registry: Registry, content: Content, parent: Content | None) -> DataRange | None:
    """The rows of the log that an edit took: what its snapshot's watermark says that its parent's does not.

    Args:
        registry: Where the blobs are.
        content: Of the snapshot.
        parent: Of the snapshot's parent; None for a first snapshot.

    Returns:
        The rows and the times between which they are; None where the snapshot holds no watermark.

    Raises:
        RegistryError: A blob is missing or damaged, or the store does not answer.
        DamagedArtifact: Its bytes are no watermark.
    """
    mark = watermark_of(registry, content)
    if mark is None:
        return None
    before = None if parent is None else watermark_of(registry, parent)
    if before is None:
        return DataRange(mark.rows, None, mark.timestamp)
    return DataRange(max(0, mark.rows - before.rows), before.timestamp, mark.timestamp)


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
