"""A copy of a workspace's database is refused in one line with the ways out, and each way out works."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from raie.workspace import Workspace
from tests.cli.conftest import Raie
from tests.registry.db.legacy import legacy


@pytest.fixture
def drill(raie: Raie, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the commands use a copy of the database on the same store."""
    assert raie("audit", "verify").code == 0, "the workspace is a copy itself, and owns its store from here on"
    shutil.copy(workspace.folder / ".raie" / "registry.db", tmp_path / "drill.db")
    monkeypatch.setenv("RAIE_DATABASE_URL", f"sqlite:///{tmp_path / 'drill.db'}")


def test_show_says_which_registry_this_is_and_that_it_may_write(raie: Raie, workspace: Workspace) -> None:
    raie("verify")
    shown = raie("registry", "show", "--json").json
    assert (shown["epoch"], shown["standing"], shown["writable"], shown["collectable"]) == (1, "owner", True, True)
    assert shown["prefix"] == f"registries/{shown['registry']}"
    assert shown["marker"] == {"registry": shown["registry"], "epoch": 1, "released": False}
    assert "may write, expire and collect" in raie("registry", "show").out


@pytest.mark.usefixtures("drill")
def test_a_copy_is_refused_in_one_line_and_goes_on_as_a_fork(
    raie: Raie, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = raie("registry", "show", "--json").json
    assert (before["standing"], before["writable"]) == ("copy", False)
    for command in (
        ("promote", "edit:1"),
        ("rollback", "2"),
        ("expire", "--keep-last", "1", "--yes"),
        ("gc", "--yes"),
        ("init",),
    ):
        ran = raie(*command)
        *_, last = ran.err.splitlines()
        assert (ran.code, last[:6]) == (4, "error:"), ran
        assert "raie registry fork --reason" in last
    assert raie("log").code == 0
    assert "note  read-only" in raie("verify").out
    assert raie("registry", "fork", "--yes").code == 2, "a reason is required"
    assert raie("registry", "fork", "--reason", "drill").code == 1, "nobody can be asked"
    done = raie("registry", "fork", "--reason", "drill", "--yes")
    assert done.code == 0
    after = raie("registry", "show", "--json").json
    assert after["registry"] != before["registry"]
    assert (after["epoch"], after["standing"]) == (2, "owner")
    assert raie("rollback", "2").code == 0
    assert raie("verify").code == 0
    monkeypatch.delenv("RAIE_DATABASE_URL")
    assert raie("gc", "--grace", "0", "--yes").code == 0
    assert raie("verify").code == 0


@pytest.mark.usefixtures("drill")
def test_a_copy_that_takes_the_store_over_refuses_the_database_that_had_it(
    raie: Raie, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "epoch 2" in raie("registry", "move", "--reason", "a new server", "--yes").out
    assert "already" in raie("registry", "move", "--reason", "again", "--yes").out
    assert raie("rollback", "2").code == 0
    monkeypatch.delenv("RAIE_DATABASE_URL")
    ran = raie("rollback", "2")
    assert ran.code == 4
    assert "another database has taken it over (epoch 2, here 1)" in ran.err


def test_a_root_that_is_shared_is_named_and_left(
    raie: Raie, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = str(tmp_path / "shared")
    for name in ("one", "two"):
        legacy(f"sqlite:///{tmp_path / name}.db", store)
        monkeypatch.setenv("RAIE_DATABASE_URL", f"sqlite:///{tmp_path / name}.db")
        monkeypatch.setenv("RAIE_STORE", store)
        code = raie("--workspace", name, "init").code
        monkeypatch.setenv("RAIE_WORKSPACE", name)
    assert code == 4, "the second finds the first"
    assert "raie registry separate --reason" in raie("gc", "--yes").err
    assert raie("verify").code == 5
    assert raie("registry", "show", "--json").json["collectable"] is False
    assert raie("registry", "separate", "--reason", "of its own", "--yes").code == 0
    assert (raie("verify").code, raie("gc", "--yes").code) == (0, 0)
    assert "already" in raie("registry", "separate", "--reason", "again", "--yes").out
    monkeypatch.setenv("RAIE_WORKSPACE", "one")
    monkeypatch.setenv("RAIE_DATABASE_URL", f"sqlite:///{tmp_path / 'one'}.db")
    assert (raie("gc", "--yes").code, raie("verify").code) == (0, 0)
