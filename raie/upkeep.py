"""What keeps a registry well: its schema, checks, tidying, backups, who owns the store, and who may do what.

Calls that write do so under the name of `actor`. What Alembic does is imported by the calls that need it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raie.actor import actor
from raie.callbacks import Progress, ignore_progress
from raie.chain_head import publish_chain_head, publishes_chain_head
from raie.errors import UsageError
from raie.registry import Author, NotOwner, RegistryError, StoreError, audit
from raie.registry.access import iam, postgres_roles, schema_rights
from raie.registry.db.engine import missing_file, open_engine
from raie.registry.db.tables import SCHEMA_REVISION
from raie.registry.maintenance import backup as backups
from raie.registry.maintenance import expiry, takeover
from raie.registry.maintenance import restore as restoring
from raie.registry.maintenance import verify as checking
from raie.registry.maintenance.upgrade_event import append_upgrade
from raie.registry.ownership import standing

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = [
    "GRACE_S",
    "Restoration",
    "Role",
    "Schema",
    "Upgrade",
    "backup",
    "claim",
    "expire",
    "fork",
    "gc",
    "grant",
    "grant_statements",
    "move",
    "ownership",
    "restore",
    "schema",
    "separate",
    "store_policies",
    "upgrade",
    "upgrade_schema",
    "verify",
]

GRACE_S = checking.GRACE_S
"""How long gc keeps a blob that nothing refers to, in seconds."""


@dataclass(frozen=True)
class Schema:
    """The revision of a database's schema, None where it holds no registry, and the one that this raie expects.

    Attributes:
        missing: The database file that is not there; None where there is one, or the database is no file.
    """

    revision: str | None
    expected: str
    missing: str | None

    @property
    def up_to_date(self) -> bool:
        """Whether this raie can work with the database."""
        return self.revision == self.expected


@dataclass(frozen=True)
class Upgrade:
    """The revisions before and after; None for a database that held no registry.

    Attributes:
        warnings: Who else may put objects into the database's schema, in one line each.
        unclaimed: Why the store could not be marked as this registry's, in one line; None where it is.
    """

    before: str | None
    after: str | None
    warnings: tuple[str, ...]
    unclaimed: str | None


@dataclass(frozen=True)
class Restoration:
    """What was brought back; read_only: why it may only be read, with the ways out; None where it may write."""

    restored: restoring.Restored
    read_only: str | None


@dataclass(frozen=True)
class Role:
    """A role of the database, and what it is for."""

    name: str
    about: str


def schema(workspace: Workspace) -> Schema:
    """The revision of the database's schema; makes no database.

    Args:
        workspace: Whose database it is.

    Returns:
        The revision, and the one expected.

    Raises:
        DatabaseUnreachable: There is no answer.
    """
    from raie import migrations

    # Looked for first: SQLite would make an empty file of it.
    missing = missing_file(open_engine(workspace.database))
    revision = None if missing else migrations.current(workspace.database)
    return Schema(revision, SCHEMA_REVISION, missing)


@publishes_chain_head
def upgrade(workspace: Workspace) -> Upgrade:
    """Bring the database to this raie's schema, in one transaction, and mark the store as this registry's.

    Args:
        workspace: Whose database it is; one that is not there yet is made.

    Returns:
        The revisions, and what a person should know.

    Raises:
        SchemaMismatch: The database is of a newer raie.
        DatabaseUnreachable: There is no answer.
    """
    from raie import migrations

    before = migrations.current(workspace.database)
    after, warnings = upgrade_schema(workspace)
    try:
        claim(workspace)
    except (NotOwner, StoreError) as refused:
        # The upgrade is done, whoever the store belongs to.
        return Upgrade(before, after, warnings, str(refused))
    return Upgrade(before, after, warnings, None)


def upgrade_schema(workspace: Workspace) -> tuple[str | None, tuple[str, ...]]:
    """Bring the database to this raie's schema, and record that in the audit chain; the store is not asked.

    Args:
        workspace: Whose database it is; one that is not there yet is made.

    Returns:
        The revision, and who else may put objects into the schema, in one line each.

    Raises:
        SchemaMismatch, Untrusted, DatabaseUnreachable: The database is of a newer raie, holds objects that somebody
            else put there, or does not answer.
    """
    from raie import migrations

    engine = open_engine(workspace.database)
    if missing_file(engine) is None:
        schema_rights.refuse_planted(engine)
    revision = migrations.upgrade(workspace.database, on_upgrade=partial(append_upgrade, author=Author(actor())))
    return revision, tuple(schema_rights.warnings_of(engine))


def claim(workspace: Workspace) -> None:
    """Mark the store as this registry's where it has no mark yet.

    Args:
        workspace: Whose store it is.

    Raises:
        NotOwner: The store is another registry's or another copy's, or several registries share its root.
        StoreUnreachable: There is no answer.
    """
    standing.require_collectable(workspace.registry())


def verify(
    workspace: Workspace, *, checkpoint: str | None = None, progress: Progress = ignore_progress
) -> checking.VerifyReport:
    """Read every blob back, check every reference and every signature, and recompute the audit chain.

    Args:
        workspace: Whose registry it is.
        checkpoint: A chain head that the caller kept, `number:hash`.
        progress: Called as blobs are read back.

    Returns:
        What was read, and everything that is wrong. The chain head of a registry without faults is kept in the store.

    Raises:
        InvalidValue: The checkpoint is no whole chain head.
        StoreUnreachable, DatabaseUnreachable: There is no answer.
    """
    given = [] if checkpoint is None else [audit.parse_checkpoint(checkpoint)]
    report = checking.verify(workspace.registry(), checkpoints=given, progress=progress)
    if report.ok:
        publish_chain_head(workspace)
    return report


@publishes_chain_head
def gc(
    workspace: Workspace,
    *,
    grace_s: float = GRACE_S,
    orphans: bool = False,
    dry_run: bool = False,
    reason: str = "",
    progress: Progress = ignore_progress,
) -> checking.GcReport:
    """Delete the blobs that no kept snapshot and no open edit refers to.

    Args:
        workspace: Whose registry it is.
        grace_s: Seconds for which a blob is kept after it was put.
        orphans: Also objects in the registry's part of the store that the database does not know.
        dry_run: Delete nothing.
        reason: Why; it stays in the audit log.
        progress: Called as blobs are deleted.

    Returns:
        What was deleted, or in a dry run would be, and what is kept for now.

    Raises:
        NotOwner: The store is not this registry's alone.
        StoreUnreachable, DatabaseUnreachable: There is no answer; the next call finishes what was begun.
    """
    return checking.gc(
        workspace.registry(),
        author=Author(actor(), reason),
        grace_s=grace_s,
        dry_run=dry_run,
        orphans=orphans,
        progress=progress,
    )


@publishes_chain_head
def expire(
    workspace: Workspace,
    *,
    keep_last: int | None = None,
    keep_days: float | None = None,
    dry_run: bool = False,
    reason: str = "",
) -> expiry.ExpiryReport:
    """Let the snapshots of the workspace's model expire that neither limit keeps, so that gc may have their blobs.

    Args:
        workspace: Whose model it is.
        keep_last: Keep the newest so many of the head's line and of each alias.
        keep_days: Keep what was made or in use in the last so many days.
        dry_run: Let nothing expire.
        reason: Why; it stays in the history.

    Returns:
        What expired, or in a dry run would, and why the rest is kept.

    Raises:
        UsageError: Neither limit is given.
        BlobMissing: A kept snapshot has lost a blob, so nothing expires.
    """
    if keep_last is None and keep_days is None:
        raise UsageError("give --keep-last, --keep-days, or both: what should be kept?")
    rule = expiry.Rule(keep_last or 1, keep_days or 0.0)
    return expiry.expire(
        workspace.registry(), workspace.model, rule, author=Author(actor(), reason), dry_run=dry_run
    )


def backup(
    workspace: Workspace, folder: Path, *, blobs: bool = False, progress: Progress = ignore_progress
) -> backups.Backup:
    """Copy the database as it is at one moment, with the list of the blobs that it needs, into a new folder.

    Args:
        workspace: Whose database it is.
        folder: The folder to make; it is whole or absent.
        blobs: Copy the blobs too, each one verified.
        progress: Called as blobs are copied.

    Returns:
        What is in the folder; its digest covers everything there.

    Raises:
        InvalidValue: The folder is there already, or cannot be made.
        BlobMissing, BlobCorrupt: A blob that is to be copied is lost.
    """
    from raie.migrations.filling import fill

    return backups.make(workspace.registry(), folder, fill, with_blobs=blobs, progress=progress)


@publishes_chain_head
def restore(
    workspace: Workspace, folder: Path, *, replace: bool = False, progress: Progress = ignore_progress
) -> Restoration:
    """Check a backup and bring it back into the workspace's database, which is made whole or not at all.

    Args:
        workspace: Whose database is made; it is empty or not there.
        folder: The backup.
        replace: Also where an SQLite file holds models; that file is kept beside it.
        progress: Called as the store's blobs are looked up, and as the backup's are copied there.

    Returns:
        What was brought back, what is lost, and whether the database may write.

    Raises:
        InvalidValue: There is no whole backup, or the database holds models.
        BlobMissing: The store and the backup lack a blob.
    """
    from raie.migrations.filling import fill

    owned = replace and _owns_store(workspace)
    done = restoring.restore(
        folder,
        workspace.database,
        workspace.store,
        fill,
        author=Author(actor()),
        replace=replace,
        progress=progress,
    )
    return Restoration(done, _taken_over(workspace, done, owned=owned))


def _owns_store(workspace: Workspace) -> bool:
    """Whether the database that is about to be put aside is the one that writes in the store."""
    try:
        return standing.look(workspace.registry()).read_only is None
    except RegistryError:
        return False


def _taken_over(workspace: Workspace, done: restoring.Restored, *, owned: bool) -> str | None:
    """Why the restored database may only be read, in one line with the ways out; None where it may write.

    owned: whether it replaced the database that owned the store, and so nobody else can be at work there. Where the store
    names no owner, as one that the backup's blobs made anew, nobody else is either.
    """
    registry = workspace.registry()
    state = None if owned else standing.look(registry)
    if state is None or state.marker is None:
        takeover.move(registry, author=Author(actor(), f"restored from backup {done.backup.digest[:12]}"))
        state = standing.look(registry)
    return state.read_only


def ownership(workspace: Workspace) -> standing.Ownership:
    """Which registry the database is, and whether its part of the store is its own.

    Args:
        workspace: Whose registry it is.

    Returns:
        The registry's id and epoch, the mark in the store, and why it may not write or collect, if it may not.

    Raises:
        StoreUnreachable, DatabaseUnreachable: There is no answer.
    """
    return standing.look(workspace.registry())


def fork(workspace: Workspace, reason: str, *, progress: Progress = ignore_progress) -> takeover.Moved:
    """Make this copy of a database a registry of its own, with its own part of the same store.

    Args:
        workspace: Whose database is the copy.
        reason: Why; it stays in the audit log.
        progress: Called as blobs are copied.

    Returns:
        The new epoch, and how many blobs were copied.

    Raises:
        InvalidValue: The database owns its store, or there is no reason.
        BlobMissing, BlobCorrupt: A blob that a kept snapshot needs is lost.
    """
    return takeover.fork(workspace.registry(), author=Author(actor(), reason), progress=progress)


def move(workspace: Workspace, reason: str) -> takeover.Moved | None:
    """Let this database take the store over from another copy of it, which is refused from then on.

    Args:
        workspace: Whose database takes over.
        reason: Why; it stays in the audit log.

    Returns:
        The new epoch; None where the database owns its part of the store already.

    Raises:
        NotOwner: The store's root is another registry's.
        InvalidValue: There is no reason.
    """
    return takeover.move(workspace.registry(), author=Author(actor(), reason))


def separate(workspace: Workspace, reason: str, *, progress: Progress = ignore_progress) -> takeover.Moved | None:
    """Give a registry that shares the store's root a part of the store of its own.

    Args:
        workspace: Whose registry it is.
        reason: Why; it stays in the audit log.
        progress: Called as blobs are copied.

    Returns:
        The new epoch, and how many blobs were copied; None where the registry has a part of its own already.

    Raises:
        NotOwner: The database is a copy.
        InvalidValue, BlobMissing, BlobCorrupt: As `fork`.
    """
    return takeover.separate(workspace.registry(), author=Author(actor(), reason), progress=progress)


@publishes_chain_head
def grant(workspace: Workspace, prefix: str = "raie") -> tuple[Role, ...]:
    """Make PostgreSQL's roles reader, editor, promoter and collector, each with the least rights that its work needs.

    Args:
        workspace: Whose database it is.
        prefix: The roles are PREFIX_reader and so on.

    Returns:
        The roles.

    Raises:
        InvalidValue: The database is not PostgreSQL, or the prefix is no name.
        AccessDenied: The caller does not own the tables.
    """
    registry = workspace.registry()
    registry.require_writable(store_needed=False)
    names = postgres_roles.grant(registry.engine, prefix, author=Author(actor()))
    return tuple(Role(name, about) for name, about in zip(names, postgres_roles.ROLES.values(), strict=True))


def grant_statements(prefix: str = "raie") -> tuple[str, ...]:
    """The SQL that `grant` runs.

    Args:
        prefix: The roles are PREFIX_reader and so on.

    Returns:
        One statement each, without a semicolon.

    Raises:
        InvalidValue: The prefix is no name.
    """
    return tuple(postgres_roles.statements(prefix))


def store_policies(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """IAM policies that give each role what it needs of the workspace's S3 store.

    Args:
        workspace: Whose store it is.

    Returns:
        Role -> policy document.

    Raises:
        InvalidValue: The store is not S3.
    """
    return iam.iam_policies(workspace.store, workspace.registry().store.scope)
