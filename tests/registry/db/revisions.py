"""The database's revisions, and a history of each to put into a database that was brought there.

A new revision needs one file: `samples/NNNN.json`, the rows that a registry of that revision added to the history of the
revisions before it, by table, in an order in which they can be inserted; an empty object where it added none. They never
change afterwards. The first one holds the texts of its blobs, too.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from unittest import mock

from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text, update

from raie import migrations
from raie.registry import audit
from raie.registry.db import triggers
from raie.registry.db.engine import open_engine
from raie.registry.db.tables import audit_events, audit_head

__all__ = ["BLOBS", "REVISIONS", "SAMPLES", "filled", "settle", "without_digests"]

SCRIPTS = ScriptDirectory(str(Path(migrations.__file__).parent))
REVISIONS = [script.revision for script in SCRIPTS.walk_revisions()][::-1]
"""Oldest first."""
BLOBS = "blobs of the store"
SAMPLES = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in (Path(__file__).parent / "samples").glob("*.json")
}


def filled(url: str, revision: str) -> None:
    """Brings an empty database to a revision, each sample inserted at its own one."""
    for step in REVISIONS[: REVISIONS.index(revision) + 1]:
        # One identity and one time, or an audit event of a later sample could not follow those that migrations append.
        with (
            mock.patch("secrets.token_hex", lambda size: "5a" * size),
            mock.patch("time.time", return_value=1_760_002_000.0),
        ):
            migrations.upgrade(url, step)
        with open_engine(url).begin() as connection:
            _insert(connection, step)


def settle(connection: Connection) -> None:
    """Runs the triggers that wait for the transaction's end: nothing else can be done to their tables before."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")


def without_digests(engine: Engine) -> None:
    """Writes the audit anew as a raie from before revision 0005 would have: no event says anything of its rows."""
    with engine.begin() as connection:
        triggers.drop(connection, ["audit_events"])
        events, previous = list(audit.events(connection)), audit.GENESIS
        for event in events:
            fields = asdict(replace(event, previous=previous, digest=None))
            del fields["hash"]
            fields["hash"] = previous = audit._link(fields)
            connection.execute(update(audit_events).where(audit_events.c.id == event.id).values(fields))
        connection.execute(update(audit_head).values(hash=previous))
        settle(connection)
        triggers.create(connection, ["audit_events"])


def _insert(connection: Connection, revision: str) -> None:
    for table, rows in SAMPLES[revision].items():
        if table == "audit_head":  # the one row that a revision makes itself
            connection.execute(text("DELETE FROM audit_head"))
        for row in rows if table != BLOBS else []:
            names = ", ".join(row)
            values = ", ".join(f":{name}" for name in row)
            connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)
