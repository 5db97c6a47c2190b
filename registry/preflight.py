"""Whether the store has every blob that a promotion would put into service; nothing is read.

A question for each blob, several at once: a store far away answers them in a small part of the time that reading takes.
No gc removes what a kept snapshot names, so what is there now is there at the move, unless the store itself loses it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from raie.registry.db.engine import reading
from raie.registry.db.queries import kept_snapshot, require_kept, resolve_id, snapshot_by_id, version_row
from raie.registry.errors import BlobMissing
from raie.registry.ownership.reachable import require_store
from raie.registry.store.at_once import at_once
from raie.registry.store.base import ArtifactStore
from raie.registry.values import Digest

if TYPE_CHECKING:
    from raie.registry.registry import Registry

__all__ = ["require_snapshot", "require_version"]


def require_snapshot(registry: Registry, model: str, ref: str) -> str:
    """The id of a snapshot of which the store has every blob.

    Args:
        registry: of the model.
        model: its name.
        ref: of the snapshot, as `Registry.resolve` takes it.

    Returns:
        The id.

    Raises:
        BlobMissing: where the store lacks one.
        NotFound: where nothing has this name.
        SnapshotExpired: for a snapshot whose blobs may be gone.
    """
    with reading(registry.engine) as connection:
        snapshot = kept_snapshot(connection, resolve_id(connection, model, ref))
    wanted = {Digest(snapshot.id), *snapshot.content.blobs()}
    try:
        _require(registry, wanted, f"snapshot {snapshot.id[:12]}")
    except BlobMissing:
        # It may have expired since it was looked up, and a gc have come; then nothing is lost.
        with reading(registry.engine) as connection:
            require_kept(connection, [snapshot.id])
        raise
    return snapshot.id


def require_version(registry: Registry, model: str, region: int, version: int) -> None:
    """Raises BlobMissing where the store lacks a blob of one version of a region, and NotFound.

    One whose snapshot expired is let through: `promote_region` says whether its blobs went with it, and by whom.
    """
    with reading(registry.engine) as connection:
        wanted = version_row(connection, model, region, version)
        source = snapshot_by_id(connection, wanted.snapshot)
    if source.expired is None:
        _require(registry, wanted.entry.values(), f"version {version} of region {region}")


def _require(registry: Registry, digests: Iterable[Digest], what: str) -> None:
    require_store(registry.engine, registry.store)
    wanted = sorted(set(digests))
    lost = _missing(registry.store, wanted)
    if lost:
        raise BlobMissing(
            f"Expected the {len(wanted)} blobs of {what} in the store, found {len(lost)} of them missing, {lost[0]} "
            "first; run `raie verify`, which names what needs them, and restore them from a backup",
            lost[0],
        )


def _missing(store: ArtifactStore, digests: list[Digest]) -> list[Digest]:
    """Those that the store has not got."""
    there = at_once(store.exists, digests)
    return [digest for digest, is_there in zip(digests, there, strict=True) if not is_there]
