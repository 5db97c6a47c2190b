"""The marker in a registry's part of the store, and whether a database is the one that it names.

`registry.json` names the registry, its epoch and its database. A copy of the database, as a drill or a restore makes
one, is another database with the same identity: nothing in it says so, so the marker holds what no copy shares, a
fingerprint. Of SQLite that is the file's inode, which a rename keeps and a copy does not; of PostgreSQL the server's
system identifier and the database's oid. Where the database and the folder of the store both changed, they were copied
or moved together, and nothing is shared. Everything here is pure but for the two functions that take fingerprints.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Engine, text

from raie.registry.canonical import canonical_json, parse_json
from raie.registry.db.engine import reading
from raie.registry.errors import InvalidValue
from raie.registry.ownership.identity import Epoch
from raie.registry.store.base import ArtifactStore
from raie.registry.store.local import LocalStore

__all__ = [
    "NAME",
    "Fingerprint",
    "Marker",
    "Standing",
    "compare",
    "database_fingerprint",
    "read",
    "store_fingerprint",
]

NAME = "registry.json"
_FORMAT = 1
_MAX_BYTES = 65_536

Fingerprint = Mapping[str, str | None]
"""Names of what a copy does not share, each with its value; None for one that could not be asked."""

Standing = Literal["owner", "unclaimed", "copy", "stale", "other", "unreadable"]
"""How a database stands to a part of a store.

owner: the marker names it.  unclaimed: no marker, one of an earlier epoch, or one that was copied or moved along with
the database; writing claims it.  copy: the marker names another database of this registry.  stale: another database
has begun a later epoch.  other: the marker names another registry.  unreadable: it is not a marker.
"""


@dataclass(frozen=True)
class Marker:
    """What `registry.json` says; released: the registry has left this part of the store to others."""

    registry: str
    epoch: int
    database: Fingerprint
    store: Fingerprint
    released: bool = False

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json({"format": _FORMAT, **asdict(self)})


def read(data: bytes) -> Marker | None:
    """The marker of these bytes; None where they are none, as a page of a proxy or an edited file."""
    try:
        value = parse_json(data[:_MAX_BYTES])
    except (InvalidValue, UnicodeDecodeError):
        return None
    fits = isinstance(value, Mapping) and value.get("format") == _FORMAT
    return _marker(value) if fits else None


def _marker(value: Mapping[str, Any]) -> Marker | None:
    prints = (value.get("database"), value.get("store"))
    typed = isinstance(value.get("registry"), str) and type(value.get("epoch")) is int
    if not typed or not all(_is_fingerprint(fingerprint) for fingerprint in prints):
        return None
    return Marker(value["registry"], value["epoch"], *prints, released=value.get("released") is True)  # type: ignore[arg-type]


def _is_fingerprint(value: Any) -> bool:
    return isinstance(value, Mapping) and all(v is None or isinstance(v, str) for v in value.values())


def compare(
    marker: Marker | None, epoch: Epoch, earlier: Collection[str], database: Fingerprint, store: Fingerprint
) -> Standing:
    """How a database stands to the part of the store with this marker.

    earlier: ids that the registry had before, as its chain records.  database, store: their fingerprints now.
    """
    if marker is None or marker.released:
        return "unclaimed"
    if marker.registry != epoch.registry and marker.registry not in earlier:
        return "other"
    if marker.epoch > epoch.number:
        return "stale"
    # Of a command that was killed between its commit and the marker: this database has begun the later epoch.
    if marker.epoch < epoch.number or marker.registry != epoch.registry:
        return "unclaimed"
    if same(marker.database, database):
        return "owner"
    return "unclaimed" if _both_known(marker.store, store) and not same(marker.store, store) else "copy"


def same(a: Fingerprint, b: Fingerprint) -> bool:
    """Whether two fingerprints are of one thing, as far as both could be asked."""
    if a.keys() != b.keys():
        return False
    return all(a[name] == b[name] for name in a if a[name] is not None and b[name] is not None)


def _both_known(a: Fingerprint, b: Fingerprint) -> bool:
    return bool(a) and bool(b)


def database_fingerprint(engine: Engine) -> Fingerprint:
    """What a copy of the database does not share with it; raises DatabaseUnreachable."""
    if engine.dialect.name != "postgresql":
        file = Path(str(engine.url.database))
        return {"file": str(file.stat().st_ino) if file.exists() else None}
    allowed = text("SELECT has_function_privilege('pg_control_system()', 'EXECUTE')")
    with reading(engine) as connection:
        own = connection.execute(text("SELECT oid FROM pg_database WHERE datname = current_database()"))
        database, system = str(own.scalar_one()), None
        if connection.execute(allowed).scalar_one():
            rows = connection.execute(text("SELECT system_identifier FROM pg_control_system()"))
            system = str(rows.scalar_one())
    return {"database": database, "system": system}


def store_fingerprint(store: ArtifactStore) -> Fingerprint:
    """What a copy of a folder does not share with it; empty for S3, where a name is all that there is."""
    if isinstance(store, LocalStore) and store.root.is_dir():
        return {"folder": str(store.root.stat().st_ino)}
    return {}
