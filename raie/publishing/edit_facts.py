"""What MLflow shows of an edit beside its event: the rows it took, and what it trained with."""

from __future__ import annotations

from raie.engine.errors import ConfigError, DamagedArtifact
from raie.registry import BlobCorrupt, BlobMissing, Content, Registry, StoreUnreachable
from raie.registry.mlflow.edit_facts import EditFacts
from raie.registry.outbox_records import OutboxEvent
from raie.registry.states import EditKind

__all__ = ["EditFactsReader"]


class EditFactsReader:
    """Reads them from the store; nothing is known once it did not answer, which keeps no sync from its events."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._is_reachable = True

    def __call__(self, event: OutboxEvent) -> EditFacts:
        """The facts of an edit; none of one that read no log, and so trained nothing."""
        if not self._is_reachable or not event.payload.get("edit", {}).get("data_digest"):
            return EditFacts()
        # Whoever asks for the status, or has nothing to publish, waits for no numpy.
        from raie.publishing.data_ranges import DataRanges

        try:
            return EditFacts(DataRanges(self._registry)(event), self._params(event))
        except StoreUnreachable:
            self._is_reachable = False
            return EditFacts()

    def _params(self, event: OutboxEvent) -> dict[str, str | int | float]:
        """What the snapshot's settings say of training; none where they are gone, or are no engine's."""
        from raie.engine.model import ModelView

        content = Content.from_json(event.payload["snapshot"]["content"])
        if not content.shared.get("settings"):
            return {}
        try:
            engine = ModelView(content, self._registry.get).settings.engine
        except (BlobMissing, BlobCorrupt, ConfigError, DamagedArtifact):
            return {}
        # Only the setup trains the backbone; every later edit trains adapters on it.
        trained = engine.backbone if event.payload["edit"]["kind"] == EditKind.SETUP else engine.edit
        return {
            "backbone": engine.backbone.kind,
            "rank": engine.adapter.rank,
            "alpha": engine.adapter.alpha,
            "learning_rate": trained.learning_rate,
            "max_epochs": trained.epochs,
            "batch": trained.batch,
        }
