"""What ends a doubt about who owns a part of the store, each as a new epoch: fork, move and separate.

A fork and a separation copy what the registry needs into a part of its own, and read it back there, before the one
transaction that switches. Killed before it, nothing has changed, and the next try goes on with what was copied; killed
after it, the next one finishes what is left.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

from sqlalchemy import Connection, Select, delete, select

from raie.registry.author import Author
from raie.registry.canonical import canonical_json
from raie.registry.db.engine import chunked, reading, write
from raie.registry.db.tables import blobs, snapshot_blobs
from raie.registry.errors import BlobCorrupt, BlobMissing, InvalidValue, NotOwner
from raie.registry.maintenance.checkpoints import publish
from raie.registry.ownership import identity, marker, standing
from raie.registry.ownership.reachable import require_store
from raie.registry.progress import OnProgress, ignore_progress
from raie.registry.registry import Registry
from raie.registry.states import BlobState
from raie.registry.store.base import ArtifactStore
from raie.registry.values import Digest

__all__ = ["Moved", "fork", "move", "separate"]

_b = blobs.c


@dataclass(frozen=True)
class Moved:
    """The epoch that began; registry: opened at its part of the store; copied: how many blobs were copied for it."""

    epoch: identity.Epoch
    registry: Registry
    copied: int = 0


def fork(registry: Registry, *, author: Author, progress: OnProgress = ignore_progress) -> Moved:
    """Makes a copy of a database a registry of its own: a new id, the next epoch, and its own part of the store.

    Every blob that a kept snapshot needs is copied there and read back first. Raises InvalidValue for a database that
    owns its store or for no reason, BlobMissing and BlobCorrupt where such a blob is lost, StoreError and
    DatabaseUnreachable.
    """
    _check(author)
    state = standing.look(registry)
    if state.read_only is None:
        raise InvalidValue(
            f"Expected a copy of a registry to fork, found the database that owns registry {state.epoch.registry}; "
            "copy the database first, and fork the copy"
        )
    new = _new_id(registry, state.epoch)
    return _relocate(registry, state.epoch, new, author, progress)


def separate(registry: Registry, *, author: Author, progress: OnProgress = ignore_progress) -> Moved | None:
    """Gives a registry in the store's root a part of its own; None where it has one already.

    Its blobs and its kept chain heads are copied there and read back; in the root stays a record that it has left, and
    its blobs, which may be others' too. Raises NotOwner for a copy, InvalidValue for no reason, and as `fork` does.
    """
    _check(author)
    state = standing.look(registry)
    if (why := state.read_only) is not None:
        raise NotOwner(why)
    moved = None
    if not state.epoch.prefix:
        moved = _relocate(registry, state.epoch, state.epoch.registry, author, progress)
    _leave_root(registry, state.epoch)
    return moved


def move(registry: Registry, *, author: Author) -> Moved | None:
    """Takes the registry's part of the store over for this database; None where it owns it already.

    Whatever other database owned it is refused from then on. Chain heads of events that this one lacks no longer count.
    Raises NotOwner for a root that is another registry's, InvalidValue for no reason, and as `fork` does.
    """
    _check(author)
    state = standing.look(registry)
    if state.read_only is None:
        if (shared := state.shared) is not None:
            raise NotOwner(shared)
        standing.require_writable(registry, fresh=True)
        return None
    number = 1 + max(state.epoch.number, state.marker.epoch if state.marker is not None else 0)
    step = partial(
        identity.add_epoch,
        number=number,
        registry=state.epoch.registry,
        prefix=state.epoch.prefix,
        author=author,
    )
    epoch = write(registry.engine, step)
    standing.claim(registry, epoch)
    opened = replace(registry, checked={})
    publish(opened)
    return Moved(epoch, opened)


def _check(author: Author) -> None:
    if not author.reason.strip():
        raise InvalidValue("Expected a reason, found none: the audit log says it to whoever asks later")


def _new_id(registry: Registry, epoch: identity.Epoch) -> str:
    """The id of a fork: the same at each try, so that one that was killed goes on where it was.

    One under which an earlier fork has worked already, as of a database that a drill restores every night, is not taken
    again.
    """
    known = dict(marker.database_fingerprint(registry.engine))
    for attempt in count():
        seed = canonical_json({"registry": epoch.registry, "epoch": epoch.number, "of": known, "attempt": attempt})
        new = hashlib.sha256(seed).hexdigest()[:32]
        folder = replace(epoch, number=epoch.number + 1, registry=new).heads_folder
        if next(registry.store.within(f"registries/{new}").records(folder), None) is None:
            return new
    raise AssertionError("counting ends never")


def _relocate(registry: Registry, epoch: identity.Epoch, new: str, author: Author, progress: OnProgress) -> Moved:
    """Copies what the registry needs to registries/<new>, and switches to it."""
    require_store(registry.engine, registry.store)
    target = registry.store.within(f"registries/{new}")
    after = replace(epoch, number=epoch.number + 1, registry=new, prefix=target.scope)
    # First the marker: whoever finds blobs there finds whose they are.
    standing.claim(registry, after, target)
    _copy_heads(registry, target)
    copied, lost = set[Digest](), dict[Digest, BlobMissing | BlobCorrupt]()
    begun: identity.Epoch | None = None
    while begun is None:
        _copy_blobs(registry, target, copied, lost, progress)
        step = partial(_switch, before=epoch, after=after, copied=copied, lost=set(lost), author=author)
        begun = write(registry.engine, step)
    opened = replace(registry, store=target, checked={})
    publish(opened)
    return Moved(begun, opened, len(copied))


def _copy_heads(registry: Registry, target: ArtifactStore) -> None:
    """Copies every kept chain head: what was kept of the chain so far goes on to count."""
    with reading(registry.engine) as connection:
        folders = {epoch.heads_folder for epoch in identity.recorded(connection)}
    for folder in sorted(folders):
        there = set(target.records(folder))
        for name in registry.store.records(folder):
            if name not in there and (data := registry.store.get_record(name)) is not None:
                target.put_record(name, data)


def _copy_blobs(
    registry: Registry,
    target: ArtifactStore,
    copied: set[Digest],
    lost: dict[Digest, BlobMissing | BlobCorrupt],
    progress: OnProgress,
) -> None:
    """Copies every live blob that is not there yet; raises where one is lost that a kept snapshot needs."""
    with reading(registry.engine) as connection:
        live = {Digest(digest) for digest in connection.execute(_live()).scalars()}
        named = set(connection.execute(select(snapshot_blobs.c.digest)).scalars())
    wanted, there = sorted(live - copied - lost.keys()), {blob.digest for blob in target.iterate()}
    for done, digest in enumerate(wanted):
        progress("copying blobs", done, len(wanted))
        try:
            if digest not in there or not _whole(target, digest):
                target.put(registry.store.get(digest))
                target.get(digest)
            copied.add(digest)
        except (BlobMissing, BlobCorrupt) as error:
            if digest in named:
                raise
            lost[digest] = error


def _whole(store: ArtifactStore, digest: Digest) -> bool:
    try:
        store.get(digest)
    except (BlobMissing, BlobCorrupt):
        return False
    return True


def _switch(
    connection: Connection,
    before: identity.Epoch,
    after: identity.Epoch,
    copied: set[Digest],
    lost: set[Digest],
    author: Author,
) -> identity.Epoch | None:
    """Begins the epoch; None where more blobs were put meanwhile, which must be copied first."""
    if connection.dialect.name == "postgresql":
        # Uploads that are being recorded end first, and later ones find the new part of the store.
        connection.exec_driver_sql("LOCK TABLE blobs IN SHARE ROW EXCLUSIVE MODE")
    if (epoch := identity.current(connection)) != before:
        raise NotOwner(f"Expected epoch {before.number} still, found {epoch.number}, begun meanwhile; look again")
    live = {Digest(digest) for digest in connection.execute(_live()).scalars()}
    if live - copied - lost:
        return None
    for chunk in chunked(sorted(lost)):
        connection.execute(delete(blobs).where(_b.digest.in_(chunk)))
    fields = {"number": after.number, "registry": after.registry, "prefix": after.prefix}
    return identity.add_epoch(connection, **fields, author=author)  # type: ignore[arg-type]


def _live() -> Select[str]:
    return select(_b.digest).where(_b.state == BlobState.LIVE)


def _leave_root(registry: Registry, epoch: identity.Epoch) -> None:
    """Says in the store's root that the registry has left it, so that the last one there may have it."""
    root = registry.store.within("")
    with reading(registry.engine) as connection:
        mine = {registry_id.registry for registry_id in identity.recorded(connection)} | {epoch.registry}
    for registry_id in sorted(mine):
        root.put_record(f"audit/{registry_id}/{standing.SEPARATED}", canonical_json({"registry": registry_id}))
    data = root.get_record(marker.NAME)
    owner = None if data is None else marker.read(data)
    if owner is not None and owner.registry in mine and not owner.released:
        root.put_record(marker.NAME, replace(owner, released=True).to_bytes())
