"""Moving a snapshot with its history, evaluations and signatures between registries, by a file.

Aliases, policies, approvals and trusted keys are each registry's own and never travel. Nor does the audit: its chain is
of all models of a registry, and half of one proves nothing. The file names its end, and the receiver's audit records the
file's digest.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Connection, select

from raie.registry import audit
from raie.registry.author import Author
from raie.registry.db.engine import chunked, reading, write
from raie.registry.db.tables import snapshot_blobs
from raie.registry.errors import BlobMissing, NotFound, Untrusted
from raie.registry.failpoints import failpoint
from raie.registry.ownership.identity import current, require_scope
from raie.registry.progress import OnProgress, ignore_progress
from raie.registry.promotion import keys
from raie.registry.registry import Registry
from raie.registry.transfer import archive
from raie.registry.transfer.archive import Archive, Header
from raie.registry.transfer.arrival import News, arrive, news_of
from raie.registry.transfer.closure import collect
from raie.registry.transfer.recomputed import History, recompute
from raie.registry.values import Digest, digest_of

__all__ = ["Exported", "Imported", "export_snapshot", "import_snapshot"]

_BATCH_BYTES = 64 * 2**20
_BATCH_BLOBS = 256
_ATTEMPTS = 3


@dataclass(frozen=True)
class Exported:
    """What is in a file: how many snapshots, edits and blobs, and how many evaluations against others stayed."""

    model: str
    snapshot: str
    snapshots: int
    edits: int
    evaluations: int
    signatures: int
    blobs: int
    evaluations_left_out: int


@dataclass(frozen=True)
class Imported:
    """What an import brought.

    sha256: of the file.  registry, chain_head: where it was made, and the end of the audit there.  snapshots, edits,
    evaluations, signatures: how many are new here.  blobs_put: how many were put.  head: where the head went, None where
    it stayed.  keys: every key that signed the snapshot.  signers: the names of those that are trusted here.
    """

    model: str
    snapshot: str
    sha256: str
    registry: str
    chain_head: str
    snapshots: int
    edits: int
    evaluations: int
    signatures: int
    blobs_put: int
    head: str | None
    keys: tuple[str, ...]
    signers: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether anything was not here before."""
        return bool(
            self.snapshots or self.edits or self.evaluations or self.signatures or self.blobs_put or self.head
        )


def export_snapshot(
    registry: Registry,
    model: str,
    ref: str,
    opened: AbstractContextManager[BinaryIO],
    *,
    progress: OnProgress = ignore_progress,
) -> Exported:
    """Writes a snapshot with its history into a stream.

    Args:
        registry: of the model.
        model: its name.
        ref: of the snapshot, as `Registry.resolve` takes it.
        opened: gives the stream, once it is known that there is something to write.
        progress: called as blobs are copied.

    Returns:
        What was written.

    Raises:
        NotFound: where nothing has this name.
        SnapshotExpired: for a snapshot whose blobs may be gone.
        BlobMissing: for a blob that the store has lost.
        BlobCorrupt: for a blob that is damaged.
    """
    tip = registry.resolve(model, ref).id
    with reading(registry.engine) as connection:
        records, left_out = collect(connection, model, tip)
        name, head = current(connection).registry, audit.chain_head(connection)
    data, history = records.to_bytes(), recompute(model, tip, records)
    header = Header(model, tip, name, head, digest_of(data))
    with opened as stream:
        archive.write(stream, header, data, _read(registry, history, progress))
    return Exported(
        model,
        tip,
        len(records.snapshots),
        len(records.edits),
        len(records.evaluations),
        len(records.signatures),
        len(history.blobs),
        left_out,
    )


def _read(registry: Registry, history: History, progress: OnProgress) -> Iterator[bytes]:
    for done, digest in enumerate(history.blobs):
        progress("copying blobs", done, len(history.blobs))
        yield registry.get(digest)


def import_snapshot(
    registry: Registry,
    path: Path,
    *,
    author: Author,
    model: str | None = None,
    signed_by: str | None = None,
    progress: OnProgress = ignore_progress,
) -> Imported:
    """Checks a whole file, and adds what of it is not here yet; asked again, changes nothing.

    Args:
        registry: that receives.
        path: of the file.
        author: who imports it, and why.
        model: the name that the file must be of; None for any.
        signed_by: a public key that must have signed the snapshot, or the name of one that is trusted here.
        progress: called as blobs are read, and as they are put.

    Returns:
        What was new.

    Raises:
        ArchiveDamaged: for a file that is not whole, or contradicts itself; nothing is written then.
        CommitConflict: where the model has another history here; nothing is written then.
        NotFound: for a file of another model.
        Untrusted: without the signature that was asked for; nothing is written then.
        OSError: for a file that cannot be read.
    """
    checked = archive.check(path, partial(progress, "reading the file"))
    history = checked.history
    if model is not None and history.model != model:
        raise NotFound(
            f"Expected a snapshot of model {model!r} in {path}, found one of {history.model!r}; name that model"
        )
    with reading(registry.engine) as connection:
        _require_signed(connection, history, signed_by)
        news = news_of(connection, history)
    put = 0
    if not news.nothing:
        registry.require_writable()
        failpoint("import.checked")
        news, put = _bring(registry, checked, news, author, progress)
        failpoint("import.committed")
    with reading(registry.engine) as connection:
        return _answer(connection, checked, news, put)


def _require_signed(connection: Connection, history: History, signed_by: str | None) -> None:
    if signed_by is None:
        return
    made = {row["key"] for row in history.records.signatures if row["snapshot"] == history.snapshot}
    trusted = {signed_by}
    if signed_by not in made:
        with_name = _trusted(connection, history.model)
        trusted = {key for key, name in with_name.items() if name == signed_by}
    if not trusted & made:
        signers = ", ".join(sorted(key[:12] for key in made)) or "none"
        raise Untrusted(
            f"Expected a signature of snapshot {history.snapshot[:12]} by {ascii(signed_by)[1:-1][:80]}, found "
            f"signatures by {signers}; nothing was imported"
        )


def _trusted(connection: Connection, model: str) -> dict[str, str]:
    """Public key -> its name, of those that the model trusts here; none of a model that is not here yet."""
    try:
        return {event.key: event.name for event in keys.keys(connection, model) if event.trusted}
    except NotFound:
        return {}


def _bring(
    registry: Registry, checked: Archive, news: News, author: Author, progress: OnProgress
) -> tuple[News, int]:
    """Puts the blobs and lands the rows; where a gc took a blob in between, all that is needed is put again."""
    header = checked.header
    source = f"sha256:{checked.sha256} registry:{header.registry} audit:{header.chain_head}"

    def land(connection: Connection) -> News:
        landed = arrive(connection, checked.history, source, author)
        # The manifests become live in here: a registry that moved meanwhile lacks them in its new place.
        require_scope(connection, registry.store)
        return landed

    for attempt in range(_ATTEMPTS):
        put = _put(registry, checked, news, progress, everything=attempt > 0)
        failpoint("import.stored")
        try:
            return write(registry.engine, land), put
        except BlobMissing:
            if attempt + 1 == _ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def _put(registry: Registry, checked: Archive, news: News, progress: OnProgress, *, everything: bool) -> int:
    """Puts what a kept snapshot does not keep already; everything: also what one seemed to keep."""
    history = checked.history
    arriving = [
        name for name in (*news.snapshots, *[history.snapshot] * news.returns) if name not in history.expired
    ]
    wanted = set(history.records.plans).union(*(history.contents[name].blobs() for name in arriving))
    manifests = [row["manifest"].encode() for row in history.records.snapshots if row["id"] in arriving]
    if not everything:
        wanted -= _kept(registry, wanted)
    total = len(wanted) + len(manifests)
    batch, size, done = manifests, sum(map(len, manifests)), 0
    for data in archive.blobs_of(checked, frozenset(wanted)):
        batch.append(data)
        size += len(data)
        if size >= _BATCH_BYTES or len(batch) >= _BATCH_BLOBS:
            registry.put_all(batch)
            done, batch, size = done + len(batch), [], 0
            progress("putting blobs", done, total)
    if batch:
        registry.put_all(batch)
    return done + len(batch)


def _kept(registry: Registry, digests: set[Digest]) -> set[Digest]:
    """Those that a kept snapshot keeps from gc."""
    kept: set[Digest] = set()
    with reading(registry.engine) as connection:
        for chunk in chunked(sorted(digests)):
            query = select(snapshot_blobs.c.digest).where(snapshot_blobs.c.digest.in_(chunk))
            kept |= {Digest(digest) for digest in connection.execute(query).scalars()}
    return kept


def _answer(connection: Connection, checked: Archive, news: News, put: int) -> Imported:
    history, header = checked.history, checked.header
    counts = {name: len(news.rows[name]) for name in ("snapshots", "edits", "evaluations", "signatures")}
    made = keys.signatures_of(connection, history.model, history.snapshot)
    signers = keys.signers(connection, history.model, history.snapshot)
    return Imported(
        model=history.model,
        snapshot=history.snapshot,
        sha256=checked.sha256,
        registry=header.registry,
        chain_head=header.chain_head,
        **counts,
        blobs_put=put,
        head=news.head,
        keys=tuple(sorted(signature.key for signature in made)),
        signers=tuple(sorted(signers)),
    )
