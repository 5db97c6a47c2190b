"""A transactional registry of model states: immutable snapshots, one head that moves, a log of every move."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raie.registry.author import Author
    from raie.registry.canonical import canonical_json
    from raie.registry.errors import (
        AccessDenied,
        AliasConflict,
        AliasDeleted,
        ArchiveDamaged,
        BlobCorrupt,
        BlobMissing,
        CommitConflict,
        CommitStateUnknown,
        Conflict,
        DatabaseBusy,
        DatabaseFull,
        DatabaseUnreachable,
        EditStateError,
        IncompatibleRegions,
        InvalidValue,
        LeaseLost,
        NotFound,
        NotOwner,
        PromotionRefused,
        RegistryError,
        RollbackConflict,
        SchemaMismatch,
        SnapshotErased,
        SnapshotExpired,
        StoreError,
        StoreFull,
        StoreUnreachable,
        StoreUnsupported,
        Untrusted,
    )
    from raie.registry.registry import Registry
    from raie.registry.store.base import ArtifactStore
    from raie.registry.store.local import LocalStore
    from raie.registry.store.open import open_store
    from raie.registry.values import (
        AdapterVersion,
        Alias,
        AliasMove,
        AuditEvent,
        Content,
        Digest,
        Edit,
        Expiry,
        Manifest,
        Operation,
        RegionChange,
        RegionEntry,
        Snapshot,
        digest_of,
    )

# Silent unless the program that imports it wants to hear: what is logged never holds a secret.
logging.getLogger("raie").addHandler(logging.NullHandler())

__all__ = [
    "AccessDenied",
    "AdapterVersion",
    "Alias",
    "AliasConflict",
    "AliasDeleted",
    "AliasMove",
    "ArchiveDamaged",
    "ArtifactStore",
    "AuditEvent",
    "Author",
    "BlobCorrupt",
    "BlobMissing",
    "CommitConflict",
    "CommitStateUnknown",
    "Conflict",
    "Content",
    "DatabaseBusy",
    "DatabaseFull",
    "DatabaseUnreachable",
    "Digest",
    "Edit",
    "EditStateError",
    "Expiry",
    "IncompatibleRegions",
    "InvalidValue",
    "LeaseLost",
    "LocalStore",
    "Manifest",
    "NotFound",
    "NotOwner",
    "Operation",
    "PromotionRefused",
    "RegionChange",
    "RegionEntry",
    "Registry",
    "RegistryError",
    "RollbackConflict",
    "SchemaMismatch",
    "Snapshot",
    "SnapshotErased",
    "SnapshotExpired",
    "StoreError",
    "StoreFull",
    "StoreUnreachable",
    "StoreUnsupported",
    "Untrusted",
    "canonical_json",
    "digest_of",
    "open_store",
]


_MODULES = {
    "raie.registry.author": ("Author",),
    "raie.registry.canonical": ("canonical_json",),
    "raie.registry.errors": (
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
        "IncompatibleRegions",
        "InvalidValue",
        "LeaseLost",
        "NotFound",
        "NotOwner",
        "PromotionRefused",
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
    ),
    "raie.registry.registry": ("Registry",),
    "raie.registry.store.base": ("ArtifactStore",),
    "raie.registry.store.local": ("LocalStore",),
    "raie.registry.store.open": ("open_store",),
    "raie.registry.values": (
        "AdapterVersion",
        "Alias",
        "AliasMove",
        "AuditEvent",
        "Content",
        "Digest",
        "Edit",
        "Expiry",
        "Manifest",
        "Operation",
        "RegionChange",
        "RegionEntry",
        "Snapshot",
        "digest_of",
    ),
}
"""Where each name is from: what needs one of them, such as a word of a state, does not wait for all of SQLAlchemy."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """The name, imported once it is asked for."""
        for module, names in _MODULES.items():
            if name in names:
                globals()[name] = value = getattr(importlib.import_module(module), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
