"""Registries to break: each a fresh copy of one small history, on either database and either store."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import make_url

from raie import migrations
from raie.registry import ArtifactStore, Author, Registry, open_store
from raie.registry.audit import Checkpoint, chain_head
from raie.registry.db.engine import open_engine, reading
from raie.registry.outbox import drain
from raie.registry.ownership.identity import current
from raie.registry.ownership.standing import claim
from tests.conftest import S3_NAME, make_database, memory, run_sql
from tests.registry.building import MODEL, World
from tests.registry.crash.steps import ALIAS, REGIONS, Client, Site, Step, Teller, take

__all__ = ["Ground", "prepared"]

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Ground:
    """A small history to copy.

    blobs: their bytes.  checkpoint: the head of its audit chain.  server: the URL of PostgreSQL's maintenance database.
    """

    template: Site
    blobs: tuple[bytes, ...]
    checkpoint: Checkpoint
    server: str | None

    @contextmanager
    def copy(self) -> Iterator[tuple[Site, Client]]:
        """A registry with the history, which is gone afterwards, and a client of it."""
        with _new_place(self.server, self.template.environment) as site:
            if self.server is None:
                shutil.copy(_database(self.template), _database(site))
            else:
                make_database(self.server, _database(site), _database(self.template))
            shutil.copy(self.template.published, site.published)
            engine = open_engine(site.database_url)
            with reading(engine) as connection:
                epoch = current(connection)
            with _emptied_afterwards(open_store(site.store_url).within(epoch.prefix)) as store:
                for data in self.blobs:
                    store.put(data)
                registry = Registry(engine, store)
                claim(registry, epoch)
                yield site, Client(registry, site.published)


@contextmanager
def prepared(server: str | None, environment: Mapping[str, str]) -> Iterator[Ground]:
    """A model of four regions, an edit of each of the first three, and an alias; all of it was published.

    server: of PostgreSQL, None for SQLite.  environment: in which boto3 finds S3, empty for a folder.
    """
    with _new_place(server, environment) as site:
        if server is not None:
            make_database(server, _database(site))
        migrations.upgrade(site.database_url)
        client = site.open()
        with _emptied_afterwards(client.registry.store) as store:
            _make_history(client)
            with reading(client.registry.engine) as connection:
                number, _, hashed = chain_head(connection).partition(":")
            checkpoint = Checkpoint(int(number), hashed, "the history")
            yield Ground(site, tuple(store.get(blob.digest) for blob in store.iterate()), checkpoint, server)


def _make_history(client: Client) -> None:
    World(client.registry).setup(REGIONS)
    for region in range(REGIONS - 1):
        take(client, Step("edit", f"history {region}", region))
    client.registry.promote(MODEL, "head", ALIAS, Author("ada", "the history"))
    drain(client.registry.engine, Teller(client.published))


@contextmanager
def _new_place(server: str | None, environment: Mapping[str, str]) -> Iterator[Site]:
    """Names for a registry that is not there yet; whatever was made under them is gone afterwards."""
    name = f"crash_{os.getpid()}_{next(_numbers)}"
    with tempfile.TemporaryDirectory(prefix="raie-crash-", dir=memory()) as folder:
        url = f"sqlite:///{folder}/registry.db"
        if server is not None:
            url = make_url(server).set(database=name).render_as_string(hide_password=False)
        store = f"s3://{S3_NAME}/{name}" if environment else f"{folder}/store"
        site = Site(url, store, Path(folder, "published"), environment)
        try:
            yield site
        finally:
            if server is not None:
                run_sql(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _database(site: Site) -> str:
    return str(make_url(site.database_url).database)


@contextmanager
def _emptied_afterwards(store: ArtifactStore) -> Iterator[ArtifactStore]:
    yield store
    for blob in list(store.iterate()):
        store.delete(blob.digest)
