"""The ends of the audit chain that are kept outside the database: in the artifact store, one small object each.

`audit/<registry>/<number>-<hash>.json`: the name says all of it, so an end is never overwritten by another one, and
reading them is one listing. Whoever rewrites the table must also remove them there, which its policy can forbid.
"""

from __future__ import annotations

import re

from sqlalchemy import select

from registry.audit import Anchor, chain_head
from registry.blobs import require_store
from registry.canonical import canonical_json
from registry.database import reading
from registry.models import identity
from registry.transaction import Registry

__all__ = ["publish", "published"]

_NAME = re.compile(r"audit/[0-9a-f]{32}/([0-9]{1,18})-([0-9a-f]{64})\.json")


def publish(registry: Registry) -> str | None:
    """Keeps the chain's end in the store and returns it; None where nothing has happened yet. Idempotent.

    Raises DatabaseUnreachable, StoreUnreachable and StoreFull.
    """
    require_store(registry.engine, registry.store)
    with reading(registry.engine) as connection:
        end, folder = chain_head(connection), _folder(connection.execute(select(identity.c.registry)).scalar_one())
    number, _, hashed = end.partition(":")
    if number == "0":
        return None
    data = canonical_json({"event": int(number), "hash": hashed})
    registry.store.put_record(f"{folder}/{int(number):012d}-{hashed}.json", data)
    return end


def published(registry: Registry) -> list[Anchor]:
    """Every end that was kept of this registry, oldest first; raises DatabaseUnreachable and StoreUnreachable."""
    require_store(registry.engine, registry.store)
    with reading(registry.engine) as connection:
        folder = _folder(connection.execute(select(identity.c.registry)).scalar_one())
    found = (_NAME.fullmatch(name) for name in sorted(registry.store.records(folder)))
    return [Anchor(int(match[1]), match[2], "the store") for match in found if match]


def _folder(registry: str) -> str:
    return f"audit/{registry}"
