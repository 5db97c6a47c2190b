"""Committing an edit: replay it on the head where that moved, upload its manifest, land it, and try again.

Nothing here waits for another process while it holds a lock: the manifest names its parent, so it is uploaded for
the head that was read, and transaction B lands it only if the head is still that one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, select

from raie.registry import blobs
from raie.registry.db.engine import Database, reading, write
from raie.registry.db.queries import edit_by_number, head_id, snapshot_by_id
from raie.registry.db.tables import edits
from raie.registry.edits.landing import AnyLanding, RunningEdit, land
from raie.registry.edits.merge import rebase
from raie.registry.errors import BlobMissing, CommitConflict, EditStateError, IncompatibleRegions
from raie.registry.failpoints import failpoint
from raie.registry.ownership.identity import require_scope
from raie.registry.store.base import ArtifactStore
from raie.registry.values import Content, Manifest, RegionChange, Snapshot

__all__ = ["LANDING_ATTEMPTS", "commit", "land_on_head", "write_unless_collected"]

_log = logging.getLogger(__name__)

T = TypeVar("T")

LANDING_ATTEMPTS = 200
"""Each attempt that fails means that somebody else's edit landed, so this bounds waiting, not working."""


def commit(
    database: Database,
    store: ArtifactStore,
    lease_owner: str,
    model: str,
    number: int,
    content: Content,
    changes: Sequence[RegionChange],
    report: Mapping[str, Any],
) -> Snapshot:
    """Lands the content that an edit made of its base; returns the snapshot, again and again if asked again.

    Raises CommitConflict where the head moved and both changed the same, BlobMissing for a blob that was not put,
    LeaseLost, EditStateError, and CommitStateUnknown.
    """
    for _ in range(LANDING_ATTEMPTS):
        with reading(database) as connection:
            landed = _landed(connection, model, number, content)
            if landed is not None:
                return landed
            manifest = _manifest(connection, model, number, content)
        failpoint("commit.planned")
        landing = RunningEdit(
            manifest=manifest, number=number, changes=tuple(changes), proposal=content.digest, report=report
        )
        snapshot = land_on_head(database, store, lease_owner, landing)
        if snapshot is not None:
            return snapshot
    raise CommitConflict(f"Expected edit {number} to land within {LANDING_ATTEMPTS} attempts; retry", None, None)


def land_on_head(
    database: Database, store: ArtifactStore, lease_owner: str, landing: AnyLanding
) -> Snapshot | None:
    """Uploads the manifest and lands it; None where the head moved, or gc took the manifest, in between."""
    blobs.stage(database, store, landing.manifest.to_bytes())
    failpoint("land.uploaded")
    landed = write_unless_collected(
        database, store, landing, lambda connection: land(connection, lease_owner, landing)
    )
    failpoint("land.committed")
    if landed is None:
        _log.info(
            "a landing on %s is tried again: the head moved, or gc took its manifest", landing.manifest.parent
        )
    return landed


def write_unless_collected(
    database: Database, store: ArtifactStore, landing: AnyLanding, step: Callable[[Connection], T | None]
) -> T | None:
    """The result of a transaction that needs the landing's manifest; None where gc took that since its upload.

    No edit runs for a rollback or a cherry-pick, so nothing but its age keeps their manifest from gc.
    """

    def within_scope(connection: Connection) -> T | None:
        result = step(connection)
        # The manifest becomes live in here: a registry that moved meanwhile lacks it in its new place.
        require_scope(connection, store)
        return result

    try:
        return write(database, within_scope)
    except BlobMissing as lost:
        if lost.digest != landing.manifest.id:
            raise
        return None


def _landed(connection: Connection, model: str, number: int, content: Content) -> Snapshot | None:
    """The snapshot of an edit whose earlier try landed although its answer was lost; None for one that runs.

    Raises EditStateError for an edit that landed with another content.
    """
    query = select(edits.c.result, edits.c.proposal).where(edits.c.model == model, edits.c.number == number)
    row = connection.execute(query).first()
    if row is None or row.result is None:
        return None
    if row.proposal != content.digest:
        raise EditStateError(
            f"Expected edit {number} of {model!r} to be running, found it committed with another content as "
            f"snapshot {row.result}; begin a new edit"
        )
    return snapshot_by_id(connection, row.result)


def _manifest(connection: Connection, model: str, number: int, content: Content) -> Manifest:
    """The content as it should stand on the present head, replayed there where the head is not the edit's base."""
    base, head = edit_by_number(connection, model, number).base, head_id(connection, model)
    if base != head:
        content = _replay(connection, number, content, base, head)
    elif head is not None and snapshot_by_id(connection, head).content.backbone != content.backbone:
        raise IncompatibleRegions(f"Expected the backbone of model {model!r}, found another; set up another model")
    return Manifest(model, head, content)


def _replay(connection: Connection, number: int, content: Content, base: str | None, head: str | None) -> Content:
    if base is None or head is None:
        raise CommitConflict(f"Expected head {base} for edit {number}, found {head}; begin a new edit", base, head)
    _log.info("edit %d is replayed: its base is %s, the head is %s", number, base[:12], head[:12])
    older, newer = snapshot_by_id(connection, base).content, snapshot_by_id(connection, head).content
    try:
        return rebase(content, older, newer)
    except IncompatibleRegions as error:
        raise CommitConflict(
            f"Expected head {base} for edit {number}, found {head}: {error}; plan the edit again on the new head",
            base,
            head,
        ) from error
