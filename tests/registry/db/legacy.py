"""Registries as they were made before each had its own part of the store: their objects lie in the store's root."""

from __future__ import annotations

import hashlib

from sqlalchemy import Connection, text

from raie import migrations
from raie.registry import Registry
from raie.registry.canonical import canonical_json

__all__ = ["legacy"]


def _append_upgrade(connection: Connection, before: str | None, after: str | None) -> None:
    """The event of an upgrade as revision 0003 has it: there was no digest in it."""
    fields = {
        "id": 1,
        "at": 1700000000.0,
        "actor": "ada",
        "action": "upgrade",
        "model": None,
        "subject": "schema",
        "source": before,
        "target": after,
        "reason": "",
        "client": "raie 0.1.0",
    }
    hashed = hashlib.sha256(b"0" * 64 + canonical_json(fields)).hexdigest()
    row = fields | {"previous": "0" * 64, "hash": hashed}
    connection.execute(text(f"INSERT INTO audit_events ({', '.join(row)}) VALUES (:{', :'.join(row)})"), row)
    connection.execute(text("UPDATE audit_head SET event = 1, hash = :hash"), {"hash": hashed})


def legacy(database_url: str, store_url: str) -> Registry:
    """A registry that an older raie has initialised, brought to this revision; it holds nothing yet."""
    migrations.upgrade(database_url, "0003", on_upgrade=_append_upgrade)
    migrations.upgrade(database_url)
    return Registry.open(database_url, store_url)
