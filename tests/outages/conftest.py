"""A model that is made once and copied, and one report for the whole run: `make faults` shows it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from sqlalchemy import make_url

from raie import migrations
from raie.registry import LocalStore, Registry, open_store
from raie.registry.db.engine import reading
from raie.registry.ownership.identity import current
from raie.registry.ownership.standing import claim
from tests.conftest import S3_NAME, make_database, run_sql
from tests.outages.outage import ORPHAN, WORKS, Work
from tests.outages.report import Report
from tests.registry.building import World

DATABASE, STORE = "registry.db", "store"
Copy = Callable[[Path, Path], Registry]


@pytest.fixture(scope="session")
def report() -> Iterator[Report]:
    """Where every fault's outcome is written down; pytest swallows what is printed unless it is asked not to."""
    written = Report()
    yield written
    print(f"\n\n{written}")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a registry that holds a model, and an object that is nobody's."""
    folder = tmp_path_factory.mktemp("made")
    migrations.upgrade(f"sqlite:///{folder / DATABASE}")
    registry = opened(folder, folder)
    World(registry).setup()
    registry.store.put(ORPHAN)
    return folder


def opened(database: Path, store: Path) -> Registry:
    """The registry whose database and store lie in these folders."""
    return Registry.open(f"sqlite:///{database / DATABASE}", str(store / STORE))


@pytest.fixture(scope="session")
def copy(made: Path) -> Copy:
    """Copies the registry that was made, its database into one folder and its store into another."""

    def copied(database: Path, store: Path) -> Registry:
        shutil.copy(made / DATABASE, database)
        shutil.copytree(made / STORE, store / STORE)
        return opened(database, store)

    return copied


@pytest.fixture(scope="session")
def results(copy: Copy, tmp_path_factory: pytest.TempPathFactory) -> Mapping[Work, str]:
    """What each work gives where nothing goes wrong: an id depends on neither a clock nor a server."""
    folder = tmp_path_factory.mktemp("undisturbed")
    registry = copy(folder, folder)
    return {work: work(registry) for work in WORKS}


@pytest.fixture(scope="session")
def s3_client(s3_server: dict[str, str]) -> Any:
    """A client past every proxy; it takes longer to make one than to use it."""
    keys = {name.lower(): s3_server[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    return boto3.client("s3", endpoint_url=s3_server["AWS_ENDPOINT_URL"], region_name="us-east-1", **keys)


@pytest.fixture
def s3_registry(made: Path, scratch: Path, s3_client: Any, s3_folder: Path, s3_url: str) -> Registry:
    """A copy of the registry that was made whose blobs are in S3; it looks at them past the server."""
    prefix = s3_url.rpartition("/")[2]
    for blob in (made / STORE).rglob("sha256/*/*"):
        key = f"{prefix}/{blob.relative_to(made / STORE).as_posix()}"
        s3_client.put_object(Bucket=S3_NAME, Key=key, Body=blob.read_bytes())
    shutil.copy(made / DATABASE, scratch)
    copy = opened(scratch, scratch)
    with reading(copy.engine) as connection:
        epoch = current(connection)
    claim(copy, epoch, open_store(s3_url).within(epoch.prefix))
    return replace(copy, store=LocalStore(s3_folder / S3_NAME / prefix).within(epoch.prefix))


@pytest.fixture(scope="session")
def postgres_made(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A database of PostgreSQL with a model, to be copied, and the store that belongs to it."""
    name, store = "outages", tmp_path_factory.mktemp("outages") / STORE
    make_database(postgres_server, name)
    url = _named(postgres_server, name)
    migrations.upgrade(url)
    World(Registry.open(url, str(store))).setup()
    return name, store


@pytest.fixture
def postgres_registry(postgres_server: str, postgres_made: tuple[str, Path], scratch: Path) -> Iterator[Registry]:
    """A copy of that registry."""
    template, store = postgres_made
    copy = f"copy_{scratch.name.replace('-', '_')}"
    make_database(postgres_server, copy, template)
    shutil.copytree(store, scratch / STORE)
    yield Registry.open(_named(postgres_server, copy), str(scratch / STORE))
    run_sql(postgres_server, f"DROP DATABASE {copy} WITH (FORCE)")


def _named(server: str, database: str) -> str:
    return make_url(server).set(database=database).render_as_string(hide_password=False)
