"""The chain heads that are kept outside the database: in the registry's part of the store, one small object each.

`audit/<registry>/<number>-<hash>.json`, from the second epoch on `audit/<registry>-<epoch>/...`: the name says all of
it, so a head is never overwritten by another one, and reading them is one listing. Whoever rewrites the table must also
remove them there, which its policy can forbid.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping

from raie.registry.audit import Checkpoint, chain_head
from raie.registry.canonical import canonical_json
from raie.registry.db.engine import reading
from raie.registry.deadline import Deadline
from raie.registry.errors import RegistryError
from raie.registry.ownership import identity, marker
from raie.registry.ownership.reachable import require_store
from raie.registry.registry import Registry

__all__ = ["publish", "publish_if_answered", "published", "retired"]

_log = logging.getLogger(__name__)

_NAME = re.compile(r"audit/[0-9a-f]{32}(?:-[0-9]{1,9})?/([0-9]{1,18})-([0-9a-f]{64})\.json")


def publish(registry: Registry) -> str | None:
    """Keeps the chain head in the store and returns it; None where nothing has happened yet. Idempotent.

    Raises NotOwner where the store is not this database's, DatabaseUnreachable, StoreUnreachable and StoreFull.
    """
    registry.require_writable()
    with reading(registry.engine) as connection:
        head, folder = chain_head(connection), identity.current(connection).heads_folder
    number, _, hashed = head.partition(":")
    if number == "0":
        return None
    data = canonical_json({"event": int(number), "hash": hashed})
    registry.store.put_record(f"{folder}/{int(number):012d}-{hashed}.json", data)
    return head


def publish_if_answered(opened: Callable[[], Registry], wait_s: float) -> bool:
    """Keeps the chain head in the store if the store answers soon; the next call keeps what this one could not.

    Args:
        opened: gives the registry whose chain head it is; opening it counts towards the time.
        wait_s: how long the store is waited for, in seconds.

    Returns:
        Whether it is kept; where not, the log says why.
    """
    try:
        Deadline(wait_s).run(lambda: publish(opened()))
    except (RegistryError, TimeoutError) as error:
        _log.warning("the chain head was not kept in the store: %s", error)
        return False
    return True


def published(registry: Registry) -> list[Checkpoint]:
    """Every kept head that the chain must hold, oldest first; raises DatabaseUnreachable and StoreUnreachable."""
    return _kept(registry, _folders(registry))[0]


def retired(registry: Registry) -> int:
    """How many kept heads are of events that a restore cut off, and that a later epoch has left behind on purpose."""
    folders = _folders(registry)
    return _kept(registry, folders)[1] if any(end is not None for end in folders.values()) else 0


def _kept(registry: Registry, folders: Mapping[str, int | None]) -> tuple[list[Checkpoint], int]:
    kept, left = set[tuple[int, str]](), 0
    for folder, end in folders.items():
        for match in filter(None, map(_NAME.fullmatch, registry.store.records(folder))):
            if end is not None and int(match[1]) >= end:
                left += 1
            else:
                kept.add((int(match[1]), match[2]))
    return [Checkpoint(number, hashed, "the store") for number, hashed in sorted(kept)], left


def _folders(registry: Registry) -> Mapping[str, int | None]:
    """Where heads of this registry are kept, each with the event at which the next epoch began; None for no end.

    Of what the rows say, what the chain says and what the store's marker says: a row that was changed would name a
    folder in which nothing is, and nothing would then be compared.
    """
    require_store(registry.engine, registry.store)
    data = registry.store.get_record(marker.NAME)
    with reading(registry.engine) as connection:
        recorded, rows = identity.recorded(connection), identity.epochs(connection)
    ends = dict[str, int | None]()
    for epochs in (recorded, rows):
        for epoch, following in zip(epochs, [*epochs[1:], None], strict=True):
            ends.setdefault(epoch.heads_folder, None if following is None else following.event)
    owner = None if data is None else marker.read(data)
    # In a root that several share it may be another registry's.
    if owner is not None and not owner.released and rows and rows[-1].prefix:
        named = identity.Epoch(owner.epoch, owner.registry, "", 0, "", "", 0.0)
        ends.setdefault(named.heads_folder, None)
    return ends
