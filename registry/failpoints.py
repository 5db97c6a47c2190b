"""The steps of the protocol by name: the points at which a process may die or stand still.

failpoint() raises Python's own auditing event `raie.<point>`. Where nobody listens that costs a fraction of a
microsecond; a test listens with sys.addaudithook, and kills or stops the process there. Nothing here changes what
the registry does.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

__all__ = ["EVENT", "POINTS", "failpoint"]

EVENT = "raie."
"""What the auditing events' names begin with."""

POINTS: Mapping[str, str] = {
    # An edit while it runs (edits)
    "begin.locked": "the model is locked; the edit has no row",
    "begin.inserted": "the edit has its row and number; no audit event records it",
    "begin.audited": "the audit event is written; nothing is committed",
    "begin.committed": "the edit runs; its caller does not know its number",
    "checkpoint.written": "a step's result is written and the lease renewed; nothing is committed",
    "checkpoint.committed": "a step's result is recorded; its caller does not know it",
    "resume.leased": "the lease has its new owner; no audit event records it",
    "resume.committed": "the lease has changed hands; its new owner does not know it",
    "abort.closed": "the edit is closed; no audit event records it",
    "abort.committed": "the edit is aborted; its caller does not know it",
    # Uploads (blobs; those of the folder in store)
    "upload.claimed": "the rows of the blobs are there; no object is written",
    "upload.written": "a temporary file in the folder holds the bytes; no object has their key",
    "upload.renamed": "the object has its key; its folder is not synced",
    "upload.stored": "the store has said that it keeps the object; nobody has read it back",
    "upload.verified": "every object was read back; their rows are not live",
    "upload.live": "the blobs are live; nothing names them",
    # Transaction B, of edits, rollbacks and cherry-picks alike (commit, landing)
    "commit.planned": "the edit's content stands on the head that was read; its manifest is not uploaded",
    "rollback.planned": "the older content stands on the head that was read; its manifest is not uploaded",
    "land.uploaded": "the manifest is staged; the transaction that lands it has not begun",
    "land.locked": "the model is locked and its head is the one expected; nothing is written",
    "land.snapshot_inserted": "the snapshot and its blobs are rows; its regions have no versions",
    "land.versions_inserted": "the regions have their versions; no operation records them",
    "land.operations_inserted": "the operations are written; the head is the old one",
    "land.head_moved": "the head is the new one; the edit is open",
    "land.edit_closed": "the edit is closed; no audit event records it",
    "land.audited": "the audit event is written; the outbox knows nothing",
    "land.enqueued": "the outbox holds the event; nothing is committed",
    "land.committed": "all of it is committed; the caller does not know it",
    # Aliases (promotion)
    "promote.locked": "the model is locked and the alias was compared; nothing is written",
    "promote.alias_moved": "the alias is moved; its log does not know it",
    "promote.logged": "the move is logged; no audit event records it",
    "promote.audited": "the audit event is written; the outbox knows nothing",
    "promote.enqueued": "the outbox holds the event; nothing is committed",
    "promote.committed": "the move is committed; its caller does not know it",
    "cherry_pick.planned": "the cherry-pick stands on what the alias serves; its manifest is not uploaded",
    "cherry_pick.uploaded": "the manifest is staged; the transaction that lands it has not begun",
    "cherry_pick.landed": "the cherry-pick is a snapshot; the alias is where it was",
    "cherry_pick.committed": "the cherry-pick and the move are committed; the caller does not know it",
    # A snapshot from another registry (transfer)
    "import.checked": "the file is whole and fits the history here; no blob is put",
    "import.stored": "every blob of it is live; nothing names them",
    "import.locked": "the model is locked and its history compared once more; nothing is written",
    "import.written": "snapshots, edits and versions are rows; the head is the old one",
    "import.audited": "the audit records the import and the head is moved; nothing is committed",
    "import.committed": "all of it is committed; the caller does not know it",
    # Expiry (expiry)
    "expire.evaluated": "the rule was asked of every snapshot; nothing is locked",
    "expire.locked": "the model is locked; nobody has looked again what is in use",
    "expire.children_kept": "the kept children of a batch keep all their blobs; the batch keeps its own too",
    "expire.blobs_given_up": "the batch keeps no blob; it is not marked as expired",
    "expire.audited": "an audit event records an expired snapshot; it is not marked as one",
    "expire.marked": "a whole batch is marked as expired; nothing is committed",
    "expire.committed": "a batch has expired; the next one is untouched",
    # Garbage (maintenance)
    "gc.listed": "the garbage is known; nothing is marked",
    "gc.locked": "the rows of some garbage are locked; nobody has looked again whether it still is",
    "gc.marked": "some rows say deleting; no audit event records it",
    "gc.audited": "all rows say deleting and the audit event is written; nothing is committed",
    "gc.mark_committed": "the rows say deleting for everybody; no object is removed",
    "gc.removing": "the rows that still say deleting are locked; no object is removed",
    "gc.object_removed": "an object is removed; its row is there",
    "gc.rows_removed": "objects and rows are removed; nothing is committed",
    "gc.removed": "the removal of some garbage is committed; the rest is there",
    "gc.leftovers_discarded": "all is removed; the caller does not know it",
    # Reading everything back (maintenance, blob_check)
    "verify.viewed": "it is known which blobs must be there; none is read",
    "verify.read": "every blob was read; nobody has looked again whether those that were not there must still be",
    # What a publisher gets (outbox)
    "outbox.claimed": "an event is leased; nothing of it is published",
    "outbox.step_done": "a step of the event is published; its result is not saved",
    "outbox.step_saved": "the step's result is saved; the next one has not begun",
    "outbox.published": "the whole event is published; its row does not know it",
    "outbox.finished": "the event is marked as published; the next one is not leased",
}
"""Each point's name -> what has happened just before it, and what has not yet."""


def failpoint(point: str) -> None:
    """Signals to whoever listens that this process is at a point of POINTS."""
    sys.audit(EVENT + point)
