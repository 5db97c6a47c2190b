"""Whether this database may write to its part of the store: asked before anything is written, collected or verified.

A registry's objects lie below `registries/<id>/`; one that is older than that may lie in the store's root, perhaps
beside others. The part belongs to the database that its marker names. Whoever is a copy, has been overtaken, or holds
less than the store has seen may read and write nothing: two databases that collect in one place delete each other's
blobs, for what one of them has let expire the other may serve.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from raie.registry.audit import chain_head
from raie.registry.db.engine import reading
from raie.registry.db.tables import audit_events, blobs
from raie.registry.deadline import Deadline
from raie.registry.errors import NotOwner, StoreFull, StoreUnreachable
from raie.registry.ownership import identity, marker
from raie.registry.ownership.marker import Marker, Standing
from raie.registry.ownership.reachable import require_store
from raie.registry.store.base import ArtifactStore
from raie.registry.store.local import LocalStore

if TYPE_CHECKING:
    from raie.registry.registry import Registry

__all__ = [
    "SEPARATED",
    "Ownership",
    "Report",
    "check",
    "claim",
    "look",
    "other_registries",
    "require_collectable",
    "require_writable",
]

SEPARATED = "separated.json"
"""The record in the folder of a registry's chain heads that says that it has left the store's root."""
_RECHECK_S = 30.0
"""A process that works for hours notices within this time that another database took the store over."""
_SOON_S = 2.0
"""How long the store is waited for by what it is not needed for: longer than one that answers takes."""
_HEAD = re.compile(r"(.*)/([0-9]{12})-([0-9a-f]{64})\.json")
_FOLDER = re.compile(r"([0-9a-f]{32})(-[0-9]{1,9})?")
_FORK = "`raie registry fork --reason` makes this copy a registry of its own"
_MOVE = "`raie registry move --reason` takes the store over if that other database is gone"


@dataclass(frozen=True)
class Ownership:
    """How the database stands to its part of the store.

    others: ids of registries in the same root, asked only where there can be any.  behind: the newest chain head that
    the store keeps and the database's chain does not hold, as `number:hash`.  lost: whether the marker is gone that
    this database has written here under.
    """

    epoch: identity.Epoch
    marker: Marker | None
    standing: Standing
    others: tuple[str, ...] = ()
    behind: str | None = None
    lost: bool = False

    @property
    def shares_root(self) -> bool:
        """Whether other registries lie in the same root: all may write there, none may collect."""
        return bool(self.others) or (self.standing == "other" and not self.epoch.prefix)

    @property
    def read_only(self) -> str | None:
        """Why nothing may be written, in one line with the ways out; None where everything may be."""
        part, mine = self.epoch.prefix or "the root", self.epoch.registry
        expected = f"Expected registry {mine} to own {part} of its store"
        if self.standing == "copy":
            return f"{expected}, found that this database is a copy: the store names another one; {_FORK}, {_MOVE}"
        if self.standing == "stale" and self.marker is not None:
            took = f"another database has taken it over (epoch {self.marker.epoch}, here {self.epoch.number})"
            return f"{expected}, found that {took}; {_FORK}, {_MOVE}"
        if self.behind is not None:
            kept = f"the store keeps chain head {self.behind[:24]}, which this database's audit lacks"
            return f"{expected}, found an older or another state of it: {kept}; {_FORK}, {_MOVE}"
        if self.standing == "unreadable":
            return f"{expected}, found a {marker.NAME} there that is no marker; {_MOVE}"
        if self.lost:
            gone = f"no {marker.NAME} there, although this database has written under it"
            return f"{expected}, found {gone}; check the store's URL, and {_MOVE}"
        if self.standing == "other" and self.epoch.prefix and self.marker is not None:
            return f"{expected}, found the marker of registry {self.marker.registry} there; {_MOVE}"
        return None

    @property
    def shared(self) -> str | None:
        """Why nothing may be collected though it may be written, in one line; None where it may be."""
        if not self.shares_root:
            return None
        named = [self.marker.registry] if self.standing == "other" and self.marker is not None else []
        sharers = ", ".join(dict.fromkeys([*named, *self.others]))
        return (
            f"Expected registry {self.epoch.registry} alone in the root of its store, found registry {sharers} there "
            "too, whose blobs could be the same; `raie registry separate --reason` gives this one a part of its own"
        )


@dataclass(frozen=True)
class Report:
    """What verify says of the ownership: problems, and what is worth knowing, one line each."""

    problems: tuple[str, ...]
    notes: tuple[str, ...]


def look(registry: Registry, *, thorough: bool = True) -> Ownership:
    """How the registry stands to its part of the store; writes nothing.

    thorough: also whether other registries share its root, and whether the store has seen more than the database.
    Raises StoreUnreachable, DatabaseUnreachable, and Untrusted for a database without an identity.
    """
    store = registry.store
    # What the store keeps is read before the chain that must hold it: a head kept in between is no sign of anything.
    with reading(registry.engine) as connection:
        epoch, number = identity.current(connection), int(chain_head(connection).partition(":")[0])
    data = store.get_record(marker.NAME)
    kept = list(store.records(epoch.heads_folder, f"{epoch.heads_folder}/{number:012d}")) if thorough else []
    owner = None if data is None else marker.read(data)
    with reading(registry.engine) as connection:
        earlier = {past.registry for past in identity.recorded(connection)}
        behind, wrote = _behind(connection, kept), _wrote_since(connection, epoch.at)
    prints = marker.database_fingerprint(registry.engine), marker.store_fingerprint(store)
    standing = marker.compare(owner, epoch, earlier, *prints)
    if data is not None and owner is None:
        standing = "unreadable"
    may_share = not epoch.prefix and (thorough or standing == "unclaimed")
    others = tuple(other_registries(store, {epoch.registry, *earlier})) if may_share else ()
    lost = owner is None and data is None and wrote and not others
    return Ownership(epoch, owner, standing, others, behind, lost)


def other_registries(store: ArtifactStore, mine: set[str]) -> Iterator[str]:
    """The ids of those that keep their chain heads in this part of the store and have not left it."""
    folders = (_FOLDER.fullmatch(name) for name in sorted(store.record_folders()))
    for registry_id in dict.fromkeys(match[1] for match in folders if match and match[1] not in mine):
        if store.get_record(f"audit/{registry_id}/{SEPARATED}") is None:
            yield registry_id


def claim(registry: Registry, epoch: identity.Epoch, store: ArtifactStore | None = None) -> None:
    """Writes the marker of an epoch into a part of the store, the registry's own where none is given."""
    store = registry.store if store is None else store
    if isinstance(store, LocalStore):
        store.make_root()  # its inode is part of the marker
    prints = marker.database_fingerprint(registry.engine), marker.store_fingerprint(store)
    store.put_record(marker.NAME, marker.Marker(epoch.registry, epoch.number, *prints).to_bytes())


def require_writable(
    registry: Registry, *, fresh: bool = False, store_needed: bool = True, room_needed: bool = True
) -> None:
    """Raises NotOwner unless this database may write, and claims a part of the store that is nobody's yet.

    One small read and one listing of the store, asked anew after half a minute.
    fresh: ask now.  store_needed: False for what touches the database alone, which an absent store must not stop.
    room_needed: False for what makes room on a full disk, and is the first to find a marker to be written there.
    Raises StoreUnreachable, StoreFull and DatabaseUnreachable.
    """
    checked = registry.checked.get("writable")
    if checked is not None and not fresh and time.monotonic() - checked < _RECHECK_S:
        return
    if not store_needed:
        _require_if_answered(registry)
        return
    require_store(registry.engine, registry.store)
    state = look(registry)
    if (why := state.read_only) is not None:
        raise NotOwner(why)
    # The marker of a folder that was moved: the next copy of the database is compared with where it is now.
    fingerprint = marker.store_fingerprint(registry.store)
    stays = state.marker is None or not fingerprint or marker.same(state.marker.store, fingerprint)
    if (state.standing == "unclaimed" and not state.shares_root) or (state.standing == "owner" and not stays):
        with nullcontext() if room_needed else suppress(StoreFull):
            claim(registry, state.epoch)
    registry.checked["writable"] = time.monotonic()


def _require_if_answered(registry: Registry) -> None:
    """Raises NotOwner where the store says soon that this database may not write."""
    try:
        registry.store.require_place()
        state = Deadline(_SOON_S).run(lambda: look(registry, thorough=False))
    except (StoreUnreachable, TimeoutError):
        return
    if (why := state.read_only) is not None:
        raise NotOwner(why)


def require_collectable(registry: Registry, *, dry_run: bool = False) -> None:
    """Raises NotOwner unless whatever lies in the registry's part of the store is the registry's own.

    dry_run: claim nothing.
    """
    if not dry_run:
        require_writable(registry, fresh=True, room_needed=False)
    state = look(registry)
    if (why := state.read_only or state.shared) is not None:
        raise NotOwner(why)


def check(registry: Registry, retired: int = 0) -> Report:
    """Compares the identity's rows, the audit chain and the store's marker.

    retired: how many kept chain heads belong to events that an earlier epoch lost.
    """
    state = look(registry)
    with reading(registry.engine) as connection:
        problems = identity.problems(connection)
    why = state.read_only
    if state.standing in ("other", "unreadable") or state.lost:
        problems += [line for line in [why] if line is not None]
        why = None
    problems += [line for line in [state.shared] if line is not None]
    notes = [] if why is None else [f"read-only: {why}"]
    if retired:
        notes.append(
            f"{retired} kept chain heads are of events that were gone when epoch {state.epoch.number} began; the "
            f"reason given was {state.epoch.reason!r}"
        )
    return Report(tuple(problems), tuple(notes))


def _wrote_since(connection: Connection, at: float) -> bool:
    """Whether a blob was put since the epoch began: its marker came first."""
    return connection.execute(select(blobs.c.digest).where(blobs.c.put_at > at).limit(1)).first() is not None


def _behind(connection: Connection, names: list[str]) -> str | None:
    """The newest of these chain heads that the chain does not hold, as `number:hash`."""
    lacking = []
    for match in filter(None, map(_HEAD.fullmatch, names)):
        here = select(audit_events.c.hash).where(audit_events.c.id == int(match[2]))
        if connection.execute(here).scalar() != match[3]:
            lacking.append((int(match[2]), match[3]))
    return "{}:{}".format(*max(lacking)) if lacking else None
