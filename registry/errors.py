"""Every error the registry raises on purpose.

RegistryError
├── InvalidValue            a name, digest or content that can never be stored
├── NotFound                no model, snapshot, alias, edit or version of that name
│   └── AliasDeleted        there was an alias of that name
├── SnapshotExpired         the snapshot is history: its blobs may be gone
├── SnapshotErased          the snapshot holds a user who was erased
├── SchemaMismatch          a database of another revision
├── DatabaseUnreachable     no answer, refused, or the connection broke
│   ├── DatabaseBusy        another program holds its lock for too long
│   └── DatabaseFull        its disk is full or read-only
├── StoreError              the artifact store
│   ├── StoreUnreachable    no answer, refused, or access denied
│   ├── StoreFull           its disk or quota is full
│   ├── StoreUnsupported    the store does not offer this, or not to us
│   ├── BlobMissing         a blob that should be there is not
│   └── BlobCorrupt         a blob whose bytes do not have its digest
├── CommitStateUnknown      the answer to COMMIT was lost: delete nothing, retry
├── Conflict                certainly not landed; somebody else came first
│   ├── CommitConflict      the head moved and the edit cannot be replayed on it
│   ├── RollbackConflict    later edits changed what would be rolled back
│   ├── AliasConflict       the alias does not point where it was expected
│   ├── NotOwner            the store is another registry's, or another copy's of this one
│   └── IncompatibleRegions a region of another backbone, routing space or catalogue
├── PromotionRefused        a check of the alias's policy was not passed
├── Untrusted               not signed as it must be, moved by hand, or admitted by no policy
├── AccessDenied            the database's roles do not allow it
├── ArchiveDamaged          a snapshot's file that is truncated, was changed, or is none
├── EditStateError          the edit is not in the state this needs
│   └── LeaseLost           another process holds the edit's lease
├── MlflowUnreachable       no answer from MLflow; the outbox keeps the events
├── ReceiverUnreachable     no answer from a receiver of events; the outbox keeps them
└── EventRefused            a receiver of events answered that it does not take one

A message is one line: what was expected, what was found and what to do. It never contains a password.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = [
    "AccessDenied",
    "AliasConflict",
    "AliasDeleted",
    "ArchiveDamaged",
    "BlobCorrupt",
    "BlobMissing",
    "CommitConflict",
    "CommitStateUnknown",
    "Conflict",
    "DatabaseBusy",
    "DatabaseFull",
    "DatabaseUnreachable",
    "EditStateError",
    "EventRefused",
    "IncompatibleRegions",
    "InvalidValue",
    "LeaseLost",
    "MlflowUnreachable",
    "NotFound",
    "NotOwner",
    "PromotionRefused",
    "ReceiverUnreachable",
    "RegistryError",
    "RollbackConflict",
    "SchemaMismatch",
    "SnapshotErased",
    "SnapshotExpired",
    "StoreError",
    "StoreFull",
    "StoreUnreachable",
    "StoreUnsupported",
    "Untrusted",
]


class RegistryError(Exception):
    """The root of the registry's errors; its text is one line, meant to be shown to a user as it is."""


class InvalidValue(RegistryError):
    """A name, digest or content that can never be stored."""


class NotFound(RegistryError):
    """No model, snapshot, alias, edit or region version of that name.

    asked: the name.  known: the names that there are -> what to type for each; both empty where no name was mistyped.
    """

    def __init__(self, message: str, asked: str = "", known: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.asked = asked
        self.known = dict(known or {})


class AliasDeleted(NotFound):
    """Somebody deleted the alias; its log says who, when and why."""


class SnapshotExpired(RegistryError):
    """A retention rule gave the snapshot's blobs up; what it was can still be read."""

    def __init__(self, message: str, snapshot: str) -> None:
        super().__init__(message)
        self.snapshot = snapshot


class SnapshotErased(RegistryError):
    """The snapshot holds a user who was erased since; nothing brings it into use again."""

    def __init__(self, message: str, snapshot: str) -> None:
        super().__init__(message)
        self.snapshot = snapshot


class SchemaMismatch(RegistryError):
    """A database whose revision is not the one this version of the package works with."""


class DatabaseUnreachable(RegistryError):
    """The database gave no answer, refused, or its connection broke."""


class DatabaseBusy(DatabaseUnreachable):
    """Another program held the database's lock for longer than this one waits."""


class DatabaseFull(DatabaseUnreachable):
    """The database cannot be written: its disk is full or it is read-only."""


class StoreError(RegistryError):
    """The artifact store could not do what was asked."""


class StoreUnreachable(StoreError):
    """The store gave no answer, refused, or denied access."""


class StoreFull(StoreError):
    """The store's disk or quota is full."""


class StoreUnsupported(StoreError):
    """The store does not offer what was asked, or does not allow it; everything else works."""


class BlobMissing(StoreError):
    """A blob that should be in the store is not."""

    def __init__(self, message: str, digest: str) -> None:
        super().__init__(message)
        self.digest = digest


class BlobCorrupt(StoreError):
    """A blob whose bytes do not have the digest it is stored under."""

    def __init__(self, message: str, digest: str) -> None:
        super().__init__(message)
        self.digest = digest


class CommitStateUnknown(RegistryError):
    """The answer to COMMIT was lost: the change may have landed, so delete nothing and retry."""


class Conflict(RegistryError):
    """The change certainly did not land because somebody else's came first."""


class CommitConflict(Conflict):
    """The head moved since the edit began, and the edit cannot be replayed on the new head.

    expected, actual: snapshot ids, None where the model had no head.
    """

    def __init__(self, message: str, expected: str | None, actual: str | None) -> None:
        super().__init__(message)
        self.expected = expected
        self.actual = actual


class RollbackConflict(Conflict):
    """Later edits changed the same regions; edits: their numbers, oldest first."""

    def __init__(self, message: str, edits: Iterable[int]) -> None:
        super().__init__(message)
        self.edits = tuple(edits)


class AliasConflict(Conflict):
    """The alias does not point to the snapshot the caller expected; None: it does not exist."""

    def __init__(self, message: str, expected: str | None, actual: str | None) -> None:
        super().__init__(message)
        self.expected = expected
        self.actual = actual


class IncompatibleRegions(Conflict):
    """A region that belongs to another backbone, routing space or catalogue."""


class NotOwner(Conflict):
    """The part of the store belongs to another registry, or to another copy of this one: nothing may be written."""


class PromotionRefused(RegistryError):
    """A snapshot that does not pass the policy of a protected alias; violations: one line for each check it failed.

    source, target: the snapshots that the alias points to and that it should have; None where that is not known.
    """

    def __init__(
        self, message: str, violations: Iterable[str], source: str | None = None, target: str | None = None
    ) -> None:
        super().__init__(message)
        self.violations = tuple(violations)
        self.source = source
        self.target = target


class Untrusted(RegistryError):
    """A snapshot without its signature or that no policy admitted, or an alias that was moved behind its log."""


class ArchiveDamaged(RegistryError):
    """A snapshot's file that is truncated, was changed since it was written, or is none."""


class AccessDenied(RegistryError):
    """The database refused: the role of the one who asks has not the right to do this."""


class EditStateError(RegistryError):
    """The edit is not in the state that this operation needs."""


class LeaseLost(EditStateError):
    """Another process holds the edit's lease."""


class MlflowUnreachable(RegistryError):
    """MLflow gave no answer or could not be opened; the outbox keeps the events until the next sync."""


class ReceiverUnreachable(RegistryError):
    """A receiver of events gave no answer, or one that says to come back later; the outbox keeps the events."""


class EventRefused(RegistryError):
    """A receiver of events answered that it does not take an event: it waits until somebody retries or skips it."""
