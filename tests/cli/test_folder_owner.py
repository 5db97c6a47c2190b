"""A raie.toml that lies where nobody put it on purpose: whose it is decides whether a command uses it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from raie.configuration.folder_owner import TRUSTED
from raie.errors import WorkspaceError
from raie.workspace_file import draft, find
from tests.cli.conftest import Raie

ROOT, ADA, EVE = 0, 1000, 1001
OWN_CODE = '\n[engine.backbone]\nkind = "file"\npath = "theirs.py"\n'
pytestmark = pytest.mark.skipif(os.geteuid() != ROOT, reason="gives files to other users")


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eve's workspace, in whose subfolder the user stands."""
    file = tmp_path / "raie.toml"
    file.write_text(draft(None, None, None), encoding="utf-8")
    os.chown(file, EVE, EVE)
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.delenv(TRUSTED, raising=False)
    return tmp_path


def as_user(monkeypatch: pytest.MonkeyPatch, user: int) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)


@pytest.mark.parametrize("user", [ROOT, ADA])
def test_another_users_raie_toml_in_a_folder_above_is_not_used(
    trap: Path, raie: Raie, monkeypatch: pytest.MonkeyPatch, user: int
) -> None:
    as_user(monkeypatch, user)
    for command in (("log",), ("status",), ("setup", "log.csv"), ("mlflow", "sync")):
        ran = raie(*command)
        assert (ran.code, ran.out) == (1, "")
        assert (
            f"{trap / 'raie.toml'} belongs to another user (uid {EVE}): run raie with --workspace {trap}"
            in ran.err
        )
    assert not (trap / ".raie").exists()
    monkeypatch.chdir(trap)
    with pytest.raises(WorkspaceError, match="another user"):
        find()


def test_it_is_used_where_it_is_named(trap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find(trap).folder == trap
    for trusted in (str(trap), f"/elsewhere{os.pathsep}{trap}/inner/..", "*"):
        monkeypatch.setenv(TRUSTED, trusted)
        assert find().folder == trap
    monkeypatch.setenv(TRUSTED, f"{trap}/inner")
    with pytest.raises(WorkspaceError):
        find()


def test_root_uses_what_belongs_to_whoever_called_sudo_and_nobody_else_does(
    trap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_UID", str(EVE))
    assert find().folder == trap
    as_user(monkeypatch, ADA)
    with pytest.raises(WorkspaceError):
        find()
    as_user(monkeypatch, EVE)
    assert find().folder == trap


def test_an_administrators_workspace_is_used_by_who_stands_in_it(
    trap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(trap / "raie.toml", ROOT, ROOT)
    as_user(monkeypatch, ADA)
    with pytest.raises(WorkspaceError):
        find()
    monkeypatch.chdir(trap)
    assert find().folder == trap


def test_a_link_of_another_user_to_the_users_own_file_is_another_users(
    trap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = trap / "own.toml"
    (trap / "raie.toml").rename(own)
    os.chown(own, ROOT, ROOT)
    (trap / "raie.toml").symlink_to(own)
    os.chown(trap / "raie.toml", EVE, EVE, follow_symlinks=False)
    with pytest.raises(WorkspaceError, match="another user"):
        find()


@pytest.mark.parametrize("command", [("setup", "log.csv"), ("compare", "log.csv")], ids=" ".join)
def test_python_that_another_users_raie_toml_names_never_runs(
    trap: Path, raie: Raie, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    (trap / "raie.toml").write_text(draft(None, None, None) + OWN_CODE, encoding="utf-8")
    (trap / "theirs.py").write_text(f"open({str(trap / 'ran')!r}, 'w')")
    (trap / "inner" / "log.csv").write_text("user_id,item_id,timestamp\na,b,1\n")
    assert raie("--workspace", str(trap), "init").code == 0
    ran = raie("--workspace", str(trap), *command)
    assert (ran.code, ran.out) == (1, "")
    assert "belongs to another user" in ran.err
    assert not (trap / "ran").exists()
    assert find(trap).backbone_file is None
    monkeypatch.setenv("RAIE_BACKBONE_FILE", "/mine.py")
    assert find(trap).backbone_file == Path("/mine.py")
