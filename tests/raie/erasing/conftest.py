"""The shop, made once, and the shop from which a user was erased once; every test works on a copy of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import raie as api
from raie.erasing.erase import erase
from raie.workspace import Workspace
from tests.cli.conftest import _somewhere_else, raie
from tests.raie.erasing import shops

__all__ = ["_somewhere_else", "raie"]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both logs, and a shop that was set up and edited once."""
    folder = tmp_path_factory.mktemp("shops")
    shops.write_logs(folder)
    shops.make(folder / "shop", folder / shops.LOG, shops.CUTS[1:])
    return folder


@pytest.fixture(scope="session")
def erased_once(made: Path) -> Path:
    """A copy of the shop without the user."""
    folder = shutil.copytree(made / "shop", made / "erased")
    erase(api.open(folder), shops.USER, key=shops.KEY, reason=shops.REASON)
    return folder


@pytest.fixture
def shop(made: Path, tmp_path: Path) -> Workspace:
    """The shop with the user."""
    return api.open(shutil.copytree(made / "shop", tmp_path / "shop"))


@pytest.fixture
def erased(erased_once: Path, tmp_path: Path) -> Workspace:
    """The shop without the user, whose old snapshots are still kept."""
    return api.open(shutil.copytree(erased_once, tmp_path / "erased"))


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The key's file, which the environment does not name."""
    monkeypatch.delenv("RAIE_ERASE_KEY", raising=False)
    file = tmp_path / "erase.key"
    file.write_bytes(shops.KEY)
    return file
