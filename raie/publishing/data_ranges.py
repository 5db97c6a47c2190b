"""The rows of its log that an edit took, for whoever is sent the edit."""

from __future__ import annotations

from dataclasses import dataclass

from raie.engine.errors import DamagedArtifact
from raie.logs.learned import learned_range
from raie.registry import (
    BlobCorrupt,
    BlobMissing,
    Content,
    Registry,
    SnapshotExpired,
    StoreUnreachable,
    lineage,
)
from raie.registry.deadline import Deadline
from raie.registry.events.openlineage import DataRange
from raie.registry.outbox_records import OutboxEvent

__all__ = ["DataRanges"]

_STORE_S = 10.0
"""Longer than a store that answers needs for one small blob."""


@dataclass(frozen=True)
class DataRanges:
    """The rows of the log that an edit took: what its snapshot's watermark says that its parent's does not."""

    registry: Registry

    def __call__(self, event: OutboxEvent) -> DataRange | None:
        """Raises StoreUnreachable; None where the edit read no log, or the blobs are gone."""
        edit = event.payload.get("edit")
        if not edit or not edit.get("data_digest"):
            return None
        try:
            return Deadline(_STORE_S).run(lambda: self._read(event))
        except TimeoutError as error:
            raise StoreUnreachable(f"Expected the store to answer, found {error}; the events wait") from error
        except (BlobMissing, BlobCorrupt, SnapshotExpired, DamagedArtifact):
            return None

    def _read(self, event: OutboxEvent) -> DataRange | None:
        snapshot = event.payload["snapshot"]
        parent = lineage.find(self.registry, event.model, snapshot["parent"]) if snapshot["parent"] else None
        return learned_range(
            self.registry, Content.from_json(snapshot["content"]), None if parent is None else parent.content
        )
