"""Bringing a backup back: everything is checked before anything is put in place, and then it is whole or absent.

Checked: the manifest against its own digest, the file against the manifest, every row and reference in it, the audit's
chain with the ends of it that the store keeps, and that the store holds every blob.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, delete, func, inspect, select

from raie.registry import audit
from raie.registry.author import Author
from raie.registry.db.engine import chunked, missing_file, open_engine, reading
from raie.registry.db.shown_url import shown
from raie.registry.db.tables import SCHEMA_REVISION, audit_events, blobs, models
from raie.registry.errors import BlobMissing, DatabaseBusy, InvalidValue, SchemaMismatch
from raie.registry.maintenance import checkpoints, fsck, trust_rows
from raie.registry.maintenance.backup import BLOBS, DATABASE, Backup, Fill, copy_rows, file_sha256, read_manifest
from raie.registry.maintenance.record_check import Chain
from raie.registry.ownership.identity import current, scope_of
from raie.registry.progress import OnProgress, ignore_progress
from raie.registry.registry import Registry
from raie.registry.states import AuditAction
from raie.registry.store.base import ArtifactStore
from raie.registry.store.local import LocalStore
from raie.registry.store.open import open_store
from raie.registry.values import Digest

__all__ = ["Restored", "restore"]


@dataclass(frozen=True)
class Restored:
    """What was brought back.

    backup: what its manifest says.  blobs_put: how many blobs the store lacked and was given.  lost: how many later
    events the store knows of that the backup does not hold.  replaced: where the database that was there is kept.
    """

    backup: Backup
    blobs_put: int
    lost: int
    replaced: Path | None


def restore(
    folder: Path,
    database_url: str,
    store_url: str,
    fill: Fill,
    *,
    author: Author,
    replace: bool = False,
    progress: OnProgress = ignore_progress,
) -> Restored:
    """Brings a backup back into a database that is not there or holds no model; the audit records it.

    Args:
        folder: of the backup.
        database_url: an SQLite file or a PostgreSQL database.
        store_url: the store that has the blobs, or is given those that it lacks from the backup.
        fill: `raie.migrations.filling.fill`.
        author: who does it.
        replace: also into an SQLite file that holds models; that one is kept beside it.
        progress: called as the store's blobs are looked up, and as the backup's are copied there.
    Returns: what was brought back, and what is lost. Where another database owns the registry's part of the store, the
        restored one can be read, and not written before `takeover.move` or `takeover.fork`.
    Raises: InvalidValue for a backup that is none or was changed, or a database that is there; SchemaMismatch for a
        backup of another revision; BlobMissing; StoreUnreachable; DatabaseUnreachable. Nothing is changed then, but for
        blobs that the store was given.
    """
    backup = read_manifest(folder)
    target = open_engine(database_url)
    held = _holds_models(target)
    if held and not (replace and target.dialect.name == "sqlite"):
        way = "name another with --to" if target.dialect.name == "postgresql" else "--replace puts it aside"
        raise InvalidValue(f"Expected no registry with a model in {shown(database_url)}, found one; {way}")
    with _checked_copy(folder, backup) as source:
        store = _part_of(open_store(store_url), source)
        lost = _check(source, backup, store)
        put = _complete(backup, folder, store, progress)
        gone = _unneeded_and_gone(source, backup, store)

        def copy(connection: Connection) -> None:
            with reading(source) as rows:
                copy_rows(rows, connection)
            for chunk in chunked(gone):
                connection.execute(delete(blobs).where(blobs.c.digest.in_(chunk)))
            subject = f"backup:{backup.digest}"
            audit.append(
                connection, author=author, action=AuditAction.RESTORE, subject=subject, source=backup.chain_head
            )

        aside = _swap_in(target, fill, copy) if held else None
        if not held:
            fill(database_url, copy)
    return Restored(backup, put, lost, aside)


def _part_of(store: ArtifactStore, source: Engine) -> ArtifactStore:
    """The registry's own part of the store."""
    with reading(source) as connection:
        return store.within(scope_of(connection))


def _holds_models(engine: Engine) -> bool:
    if missing_file(engine) is not None:
        return False
    with reading(engine) as connection:
        there = inspect(connection).has_table("models")
        return there and connection.execute(select(func.count()).select_from(models)).scalar_one() > 0


@contextmanager
def _checked_copy(folder: Path, backup: Backup) -> Iterator[Engine]:
    """The backup's database, copied: what is checked is what is brought back, whoever writes there meanwhile."""
    with tempfile.TemporaryDirectory(prefix="raie-restore-") as temporary:
        copy = Path(temporary) / DATABASE
        shutil.copyfile(folder / DATABASE, copy)
        measured = copy.stat().st_size, file_sha256(copy)
        if measured != (backup.database_bytes, backup.database_sha256):
            raise InvalidValue(
                f"Expected {folder / DATABASE} as the manifest has it, {backup.database_bytes} bytes with sha256 "
                f"{backup.database_sha256[:12]}, found {measured[0]} with {measured[1][:12]}: use another copy"
            )
        if backup.revision != SCHEMA_REVISION:
            raise SchemaMismatch(
                f"Expected a backup at revision {SCHEMA_REVISION}, found {backup.revision}; restore it with the raie "
                "that made it, then run `raie db upgrade`"
            )
        yield open_engine(f"sqlite:///{copy}")


def _check(source: Engine, backup: Backup, store: ArtifactStore) -> int:
    """Raises InvalidValue unless the database holds together; how many later events the store knows of."""
    kept = [] if _is_to_be_made(backup, store) else checkpoints.published(Registry(source, store))
    with reading(source) as connection:
        answers = list(connection.exec_driver_sql("PRAGMA integrity_check").scalars())
        problems = [] if answers == ["ok"] else answers[:3]
        last = int(backup.chain_head.partition(":")[0])
        recorded = Chain()
        chain = audit.verify_chain(
            connection, [checkpoint for checkpoint in kept if (checkpoint.number or 0) <= last], recorded.take
        )
        problems += [
            *chain.problems,
            *fsck.check(connection).problems,
            *trust_rows.check(connection, recorded).problems,
        ]
        if chain.head != backup.chain_head:
            problems.append(f"its audit ends at {chain.head}, the manifest says {backup.chain_head}")
        if current(connection).registry != backup.registry:
            problems.append("its registry is another than the manifest's")
        if connection.execute(select(func.count()).select_from(audit_events)).scalar_one() != chain.events:
            problems.append("its audit has another number of events")
    if problems:
        raise InvalidValue(f"Expected a sound backup, found {len(problems)} problems, the first: {problems[0]}")
    return max(
        [(checkpoint.number or 0) - last for checkpoint in kept if (checkpoint.number or 0) > last], default=0
    )


def _is_to_be_made(backup: Backup, store: ArtifactStore) -> bool:
    """Whether nothing of the registry is in the store's folder, or the folder is lost and the backup can make it anew."""
    if not isinstance(store, LocalStore) or store.root.is_dir():
        return False
    return backup.with_blobs or store.top.is_dir()


def _complete(backup: Backup, folder: Path, store: ArtifactStore, progress: OnProgress) -> int:
    """Gives the store the blobs that it lacks and the backup has; raises BlobMissing for others."""
    lacking = []
    for done, (digest, _) in enumerate(backup.blobs):
        progress("looking for blobs", done, len(backup.blobs))
        lacking += [] if store.exists(digest) else [digest]
    copies = LocalStore(folder / BLOBS) if backup.with_blobs else None
    if lacking and copies is None:
        raise BlobMissing(
            f"Expected {len(backup.blobs)} blobs in the store, found {len(lacking)} of them missing, {lacking[0][:12]} "
            "among them; restore the store first, or make backups with --blobs",
            Digest(lacking[0]),
        )
    if copies is None:
        return 0
    for digest in lacking:
        # Every one is looked at before the first is put.
        copies.get(digest)
    for done, digest in enumerate(lacking):
        progress("copying blobs", done, len(lacking))
        store.put(copies.get(digest))
    return len(lacking)


def _unneeded_and_gone(source: Engine, backup: Backup, store: ArtifactStore) -> list[str]:
    """Blobs that nothing needs and the store has no more: a gc took them since."""
    needed = {digest for digest, _ in backup.blobs}
    with reading(source) as connection:
        known = set(connection.execute(select(blobs.c.digest)).scalars())
    return [digest for digest in sorted(known - needed) if not store.exists(Digest(digest))]


def _swap_in(target: Engine, fill: Fill, copy: Callable[[Connection], None]) -> Path:
    """Puts a filled file in the place of an SQLite file that holds models; returns where that one is kept."""
    file = Path(str(target.url.database))
    fresh = file.with_name(f".{file.name}.{os.getpid()}.restoring")
    aside = file.with_name(f"{file.name}.replaced-{time.time_ns()}")
    try:
        fill(f"sqlite:///{fresh}", copy)
        with target.connect() as old:
            # The log is emptied, and nobody can write until the file is another: a log of the old file that is left
            # beside the new one would be read into it.
            old.rollback()
            driver = old.connection.cursor()
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            driver.execute("BEGIN EXCLUSIVE")
            if file.with_name(f"{file.name}-wal").stat().st_size:
                raise DatabaseBusy(f"Expected nobody at work in {file}, found somebody who writes; try again")
            os.link(file, aside)
            os.replace(fresh, file)
            driver.execute("ROLLBACK")
    finally:
        for suffix in ("", "-wal", "-shm"):
            fresh.with_name(fresh.name + suffix).unlink(missing_ok=True)
    return aside
