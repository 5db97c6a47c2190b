"""The database's revisions, and a history of each to put into a database that was brought there.

A new revision needs one file: `samples/NNNN.json`, the rows that a registry of that revision added to the history of the
revisions before it, by table, in an order in which they can be inserted; an empty object where it added none. They never
change afterwards. The first one holds the texts of its blobs, too.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from unittest import mock

from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, make_url, text, update

from raie import migrations
from raie.registry import audit
from raie.registry.db import triggers
from raie.registry.db.engine import open_engine
from raie.registry.db.tables import audit_events, audit_head
from tests.conftest import database

__all__ = ["BLOBS", "REVISIONS", "SAMPLES", "Shelf", "settle", "without_digests"]

SCRIPTS = ScriptDirectory(str(Path(migrations.__file__).parent))
REVISIONS = [script.revision for script in SCRIPTS.walk_revisions()][::-1]
"""Oldest first."""
BLOBS = "blobs of the store"
SAMPLES = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in (Path(__file__).parent / "samples").glob("*.json")
}


@dataclass(frozen=True)
class Shelf:
    """Databases of one kind, each filled history made once: of SQLite in a folder, or on a server of PostgreSQL.

    stays: ends with the last test that copies a history.  made: revision -> the URL of its history.
    """

    folder: Path
    server: str | None
    stays: ExitStack
    made: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def database(self, template: str | None = None) -> Iterator[str]:
        """The URL of a database, while the block runs: an empty one, or a copy of another one.

        Args:
            template: the URL of the other one; nobody may be connected to it.

        Yields:
            The URL.
        """
        name = None if template is None else str(make_url(template).database)
        if self.server is not None:
            with database(self.server, name or "template1") as url:
                yield url
            return
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            if name is not None:
                shutil.copyfile(name, f"{folder}/registry.db")
            yield f"sqlite:///{folder}/registry.db"

    def filled(self, revision: str) -> str:
        """The URL of a database that was brought to a revision, each sample inserted at its own one; to be copied."""
        if revision not in self.made:
            earlier = REVISIONS[: REVISIONS.index(revision)]
            template = self.filled(earlier[-1]) if earlier else None
            self.made[revision] = url = self.stays.enter_context(self.database(template))
            _go_on(url, revision)
        return self.made[revision]


def _go_on(url: str, revision: str) -> None:
    """Brings a database of the revision before to this one, and inserts its sample."""
    # One identity and one time, or an audit event of a later sample could not follow those that migrations append.
    with (
        mock.patch("secrets.token_hex", lambda size: "5a" * size),
        mock.patch("time.time", return_value=1_760_002_000.0),
    ):
        migrations.upgrade(url, revision)
    with open_engine(url).begin() as connection:
        _insert(connection, revision)


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
