"""Commands run in this process, through the same error edge as the console script."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from raie.cli import main
from raie.migrations import upgrade
from raie.registry import Registry
from raie.workspace import Workspace
from raie.workspace_file import draft, find
from tests.cli import history, trained


@dataclass(frozen=True)
class Ran:
    """What one command line printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Raie = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder and no variable of the developer's own."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "STORE", "MODEL", "EXECUTOR", "WORKSPACE", "DEBUG"):
        monkeypatch.delenv(f"RAIE_{name}", raising=False)
    monkeypatch.setenv("RAIE_ACTOR", "ada")


@pytest.fixture
def raie(capfd: pytest.CaptureFixture[str]) -> Raie:
    """Run `raie` with these arguments."""

    def run(*arguments: str) -> Ran:
        capfd.readouterr()
        code = main.run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return run


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the history of history.py, made once."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "raie.toml").write_text(draft(None, None, None), encoding="utf-8")
    workspace = find(folder)
    upgrade(workspace.database)
    history.make(workspace.registry())
    return folder


@pytest.fixture
def workspace(_made: Path, tmp_path: Path) -> Workspace:
    """A copy of that workspace in the current folder."""
    shutil.copytree(_made, tmp_path, dirs_exist_ok=True)
    return find(tmp_path)


@pytest.fixture
def registry(workspace: Workspace) -> Registry:
    """The registry of that workspace."""
    return workspace.registry()


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a small trained model, set up once."""
    return trained.made(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def edited_folder(trained_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That workspace after its first edit, applied once."""
    return trained.edited(trained_folder, tmp_path_factory.mktemp("edited"))


@pytest.fixture(scope="session")
def whole(edited_folder: Path) -> str:
    """The head after that edit, which nothing interrupted."""
    return trained.head_of(edited_folder)


@pytest.fixture
def ready(trained_folder: Path, tmp_path: Path) -> Path:
    """A copy of the trained workspace in the current folder, ready for its first edit."""
    return shutil.copytree(trained_folder, tmp_path, dirs_exist_ok=True)


@pytest.fixture
def edited(edited_folder: Path, tmp_path: Path) -> Path:
    """A copy of the edited workspace in the current folder."""
    return shutil.copytree(edited_folder, tmp_path, dirs_exist_ok=True)
