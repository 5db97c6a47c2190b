"""Where a served snapshot comes from: the registry, by an alias that it follows or by an id that a policy admitted.

MLflow is never asked which snapshot an alias names: whoever moves an alias there moves nothing that is served.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from raie.engine.answers import LoadedSnapshot, Query, Wanted, answers, reads_times
from raie.engine.model import ModelView
from raie.engine.shared_parts import SharedParts
from raie.errors import WorkspaceError
from raie.registry import Registry, Snapshot, trust

__all__ = ["AliasSource", "Pinned", "load", "pinned"]


@dataclass(frozen=True)
class Pinned:
    """One snapshot, for good."""

    current: LoadedSnapshot


@dataclass
class AliasSource:
    """An alias of one model in a registry that may be away when it is first asked.

    Attributes:
        open_registry: Opens it; called until it succeeds once.
        model: The model's name.
        alias: The alias's name.
        backbone_file: The Python file of a backbone of the user's own.
        parts: What this process holds of other snapshots.
    """

    open_registry: Callable[[], Registry]
    model: str
    alias: str
    backbone_file: Path | None = None
    parts: SharedParts = field(default_factory=SharedParts)
    _registry: Registry | None = field(default=None, init=False, repr=False)

    @property
    def registry(self) -> Registry:
        """The registry. Raises: RegistryError."""
        if self._registry is None:
            self._registry = self.open_registry()
        return self._registry

    def pointed_at(self) -> Snapshot:
        """The snapshot that the alias points to now, under its policy. Raises: RegistryError."""
        return trust.served(self.registry, self.model, self.alias)

    def load(self, snapshot: Snapshot) -> LoadedSnapshot:
        """The snapshot, every blob that decides a score verified. Raises: RegistryError, EngineError."""
        return load(self.registry, snapshot, self.backbone_file, self.parts)


def load(
    registry: Registry, snapshot: Snapshot, backbone_file: Path | None, parts: SharedParts | None = None
) -> LoadedSnapshot:
    """Reads and verifies a snapshot whole, so that no request is the first to meet a damaged blob.

    Args:
        registry: Where its blobs are.
        snapshot: Its record.
        backbone_file: The Python file of a backbone of the user's own.
        parts: What other loaded snapshots may share with it.

    Raises:
        RegistryError: A blob is missing or damaged, or the store does not answer.
        EngineError: A blob's bytes are not what they should be.
    """
    view = ModelView(snapshot.content, registry.get, backbone_file, parts or SharedParts())
    loaded = LoadedSnapshot(snapshot.id, view, snapshot.created_at, snapshot.edit)
    _ = view.router, view.settings
    # Tables that are made at the first request are made now.
    known = view.catalogue.items[:1]
    times = (0,) * len(known) if reads_times(view) else None
    answers(loaded, [Query(tuple(known), times, Wanted(1))])
    return loaded


def pinned(registry: Registry, model: str, id_: str, content_digest: str, backbone_file: Path | None) -> Pinned:
    """The snapshot of an id that was published somewhere, if a policy of the model admitted it.

    Args:
        registry: Where it is kept.
        model: The model's name.
        id_: The snapshot's.
        content_digest: What the publication says of its content.
        backbone_file: The Python file of a backbone of the user's own.

    Raises:
        WorkspaceError: The publication describes another content.
        Untrusted: No policy admitted it, or a signature is missing.
        RegistryError: As of `load`.
    """
    snapshot = trust.servable(registry, model, id_)
    if snapshot.content.digest != content_digest:
        raise WorkspaceError(
            f"expected snapshot {snapshot.id[:12]} with content {content_digest[:12]}, found "
            f"{snapshot.content.digest[:12]} in the registry: this MLflow model was changed after it was published"
        )
    return Pinned(load(registry, snapshot, backbone_file))
