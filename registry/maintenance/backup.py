"""A backup: the database at one moment as an SQLite file, the list of the blobs it needs, and a manifest of both.

A folder with `manifest.json`, `registry.db` and, where they are asked for, `blobs`. It is whole or absent: made under
another name, synced, and renamed. The same for SQLite and PostgreSQL, so either can be brought back into either.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select, text

from raie.registry import audit
from raie.registry.canonical import canonical_json, parse_json
from raie.registry.db.engine import reading
from raie.registry.db.tables import (
    SCHEMA_REVISION,
    blobs,
    edit_checkpoints,
    edits,
    expired_snapshots,
    metadata,
    snapshot_blobs,
    snapshots,
)
from raie.registry.errors import BlobMissing, InvalidValue
from raie.registry.ownership.identity import current
from raie.registry.progress import OnProgress, ignore_progress
from raie.registry.registry import Registry
from raie.registry.states import BlobState, EditState
from raie.registry.store.local import LocalStore
from raie.registry.values import Digest, digest_of

__all__ = ["BLOBS", "DATABASE", "MANIFEST", "Backup", "copy_rows", "file_sha256", "make", "read_manifest"]

MANIFEST, DATABASE, BLOBS = "manifest.json", "registry.db", "blobs"
FORMAT = 1
_DIGEST = re.compile("[0-9a-f]{64}")

Fill = Callable[[str, Callable[[Connection], None]], None]
"""raie.migrations.filling.fill: makes a database, its rows replaced by a function."""


@dataclass(frozen=True)
class Backup:
    """What a manifest says.

    registry: the registry's own name.  chain_head: the audit's end as `number:hash`.  made_at: epoch seconds UTC.
    database_sha256, database_bytes: of the file.  blobs: digest and size in bytes of each blob that a kept snapshot or
    an edit's plan needs.  with_blobs: whether they are in the folder.  digest: sha256 of all of this.
    """

    registry: str
    revision: str
    chain_head: str
    made_at: float
    database_sha256: str
    database_bytes: int
    blobs: tuple[tuple[Digest, int], ...]
    with_blobs: bool
    digest: str

    @property
    def bytes(self) -> int:
        """The size of the needed blobs, in bytes."""
        return sum(size for _, size in self.blobs)


def make(
    registry: Registry,
    folder: Path,
    fill: Fill,
    *,
    with_blobs: bool = False,
    progress: OnProgress = ignore_progress,
) -> Backup:
    """Makes a backup in a folder that is not there yet; other commands may go on writing meanwhile.

    Args:
        folder: where it should be; its parent exists.
        fill: `raie.migrations.filling.fill`.
        with_blobs: copy the blobs too, each one verified.
        progress: called as blobs are copied.
    Returns: what its manifest says.
    Raises: InvalidValue for a folder that is there, BlobMissing and BlobCorrupt with with_blobs, StoreUnreachable,
        DatabaseUnreachable, OSError. Nothing is left behind then.
    """
    folder = folder.absolute()
    _require_free(folder)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    partial.mkdir(mode=0o700)
    try:
        backup = _written(registry, partial, fill, with_blobs, progress)
        _sync(partial)
        os.rename(partial, folder)
        _sync(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return backup


def _require_free(folder: Path) -> None:
    if folder.exists() or folder.is_symlink():
        raise InvalidValue(f"Expected a folder for the backup that is not there yet, found {folder}; name another")
    if not folder.parent.is_dir():
        raise InvalidValue(f"Expected the folder {folder.parent} to put the backup into, found none; make it")
    if not {"?", "#", "%"}.isdisjoint(str(folder)):
        raise InvalidValue(f"Expected a folder without ?, # and % in its path, found {folder}; name another")


def _written(registry: Registry, folder: Path, fill: Fill, with_blobs: bool, progress: OnProgress) -> Backup:
    with reading(registry.engine) as source:
        name = current(source).registry
        head, needed = audit.chain_head(source), _needed(source)
        fill(f"sqlite:///{folder / DATABASE}", lambda target: copy_rows(source, target))
    if with_blobs:
        _copy_blobs(registry, folder / BLOBS, needed, progress)
    size = (folder / DATABASE).stat().st_size
    sha256 = file_sha256(folder / DATABASE)
    _sync(folder / DATABASE)
    backup = Backup(name, SCHEMA_REVISION, head, time.time(), sha256, size, needed, with_blobs, "")
    fields = _fields(backup)
    digest = digest_of(canonical_json(fields))
    (folder / MANIFEST).write_bytes(canonical_json(fields | {"digest": digest}))
    _sync(folder / MANIFEST)
    return Backup(**asdict(backup) | {"digest": digest, "blobs": needed})


def _fields(backup: Backup) -> dict[str, Any]:
    """What the manifest's digest is of."""
    fields = asdict(backup) | {"format": FORMAT, "blobs": [list(blob) for blob in backup.blobs]}
    del fields["digest"]
    return fields


def read_manifest(folder: Path) -> Backup:
    """What the manifest of a backup says; raises InvalidValue where there is none, or it was changed."""
    try:
        fields: Mapping[str, Any] = parse_json((folder / MANIFEST).read_bytes())
        backup = Backup(**{name: fields[name] for name in Backup.__dataclass_fields__})
        backup = Backup(**asdict(backup) | {"blobs": tuple((Digest(d), int(s)) for d, s in fields["blobs"])})
    except FileNotFoundError:
        raise InvalidValue(f"Expected a backup in {folder}, found no {MANIFEST}; name the folder of one") from None
    except (TypeError, KeyError, ValueError, InvalidValue):
        raise InvalidValue(f"Expected the manifest of a backup in {folder}, found another text") from None
    if fields.get("format") != FORMAT:
        raise InvalidValue(f"Expected a backup of format {FORMAT}, found {fields.get('format')!r}; upgrade raie")
    if digest_of(canonical_json(_fields(backup))) != backup.digest:
        raise InvalidValue(
            f"Expected the manifest in {folder} as it was written, found it changed: use another copy"
        )
    return backup


def copy_rows(source: Connection, target: Connection) -> None:
    """Replaces every row of one database by those of another, parents first."""
    tables = metadata.sorted_tables
    for table in reversed(tables):
        target.execute(delete(table))
    for table in tables:
        rows = source.execute(_in_order(table), execution_options={"yield_per": 500})
        for batch in rows.partitions(500):
            target.execute(insert(table), [dict(row._mapping) for row in batch])
    if target.dialect.name == "postgresql":
        for table in tables:
            if "id" in table.c:
                _continue(target, table)


def _in_order(table: Table) -> Any:
    # A snapshot is later than its parent.
    order = [snapshots.c.created_at] if table is snapshots else list(table.primary_key.columns)
    return select(table).order_by(*order)


def _continue(target: Connection, table: Table) -> None:
    """Lets the numbers of a table go on after its last one."""
    sequence = target.execute(text("SELECT pg_get_serial_sequence(:table, 'id')"), {"table": table.name}).scalar()
    if sequence is not None:
        last = target.execute(select(func.max(table.c.id))).scalar()
        target.execute(select(func.setval(sequence, last or 1, last is not None)))


def _needed(connection: Connection) -> tuple[tuple[Digest, int], ...]:
    """The blobs that kept snapshots name, the plans of edits that are not aborted, and what open edits recorded."""
    result = edits.outerjoin(expired_snapshots, expired_snapshots.c.snapshot == edits.c.result)
    alive = (
        edits.c.state != EditState.ABORTED,
        expired_snapshots.c.snapshot.is_(None),
        edits.c.plan_digest.is_not(None),
    )
    planned = connection.execute(select(edits.c.plan_digest).select_from(result).where(*alive)).scalars()
    values = (
        select(edit_checkpoints.c.value)
        .select_from(edit_checkpoints.join(edits))
        .where(edits.c.state == EditState.RUNNING)
    )
    recorded = {digest for value in connection.execute(values).scalars() for digest in _DIGEST.findall(value)}
    named = set(connection.execute(select(snapshot_blobs.c.digest)).scalars())
    more = recorded.union(planned)
    rows = connection.execute(select(blobs.c.digest, blobs.c.size, blobs.c.state).order_by(blobs.c.digest))
    return tuple(
        (Digest(row.digest), row.size)
        for row in rows
        if row.digest in named or (row.digest in more and row.state == BlobState.LIVE)
    )


def _copy_blobs(
    registry: Registry, folder: Path, needed: tuple[tuple[Digest, int], ...], progress: OnProgress
) -> None:
    copies = LocalStore(folder)
    folder.mkdir()
    for done, (digest, _) in enumerate(needed):
        progress("copying blobs", done, len(needed))
        try:
            copies.put(registry.store.get(digest))
        except BlobMissing as lost:
            raise BlobMissing(f"{lost}; if a gc took it just now, make the backup again", digest) from lost


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
