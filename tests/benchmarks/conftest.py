"""Where durability is measured: databases and stores on a disk, every commit synced."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import migrations
from registry import Registry
from tests.conftest import running_postgres


@pytest.fixture
def disk() -> Iterator[Path]:
    """A folder on a disk, removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="raie-benchmark-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def durable(request: pytest.FixtureRequest, disk: Path) -> Iterator[Registry]:
    """An empty registry of each database, with a store whose folders are there as in one that was used."""
    store = disk / "store"
    for number in range(256):
        (store / "sha256" / f"{number:02x}").mkdir(parents=True)
    (store / "incoming").mkdir()
    if request.param == "sqlite":
        yield _made(f"sqlite:///{disk / 'registry.db'}", store)
        return
    with running_postgres(durable=True) as url:
        yield _made(url, store)


def _made(url: str, store: Path) -> Registry:
    migrations.upgrade(url)
    return Registry.open(url, str(store))
