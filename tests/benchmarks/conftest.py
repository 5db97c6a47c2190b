"""Where durability is measured: databases and stores on a disk, every commit synced."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from raie import migrations
from raie.registry import Registry
from raie.registry.store.local import LocalStore
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
    if request.param == "sqlite":
        yield _made(f"sqlite:///{disk / 'registry.db'}", disk)
        return
    with running_postgres(durable=True) as url:
        yield _made(url, disk)


def _made(url: str, disk: Path) -> Registry:
    migrations.upgrade(url)
    registry = Registry.open(url, str(disk / "store"))
    registry.require_writable()  # claims its part of the store, as the first command does
    root = cast(LocalStore, registry.store).root
    for number in range(256):
        (root / "sha256" / f"{number:02x}").mkdir(parents=True, exist_ok=True)
    (root / "incoming").mkdir(exist_ok=True)
    return registry
