"""MLflow from the command line: it may be away, and nothing is lost or waits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.workspace import Workspace
from tests.cli.conftest import Raie

ROOT = Path(__file__).resolve().parents[2]
AWAY = '[mlflow]\ntracking_uri = "http://ada:s3cret@127.0.0.1:1"\n'


def test_status_says_how_much_waits(raie: Raie, workspace: Workspace) -> None:
    value = raie("mlflow", "status", "--json").json
    assert (value["pending"], value["published"], value["reachable"]) == (9, 0, False)
    assert "raie mlflow sync" in raie("mlflow", "status").out


def test_an_mlflow_that_is_away_is_code_6_and_everything_waits(raie: Raie, workspace: Workspace) -> None:
    (workspace.folder / "raie.toml").write_text(AWAY, encoding="utf-8")
    ran = raie("mlflow", "sync")
    assert ran.code == 6
    assert "9 wait" in ran.out
    status = raie("mlflow", "status")
    assert status.code == 0
    assert "s3cret" not in ran.out + ran.err + status.out + status.err


def test_sync_publishes_everything_once(workspace: Workspace) -> None:
    published = [_sync(workspace) for _ in range(2)]
    assert [line.split(",")[0] for line in published] == ["published 9", "published 0"]


def _sync(workspace: Workspace) -> str:
    # A process of its own: mlflow's import is heavy and warns.
    command = [sys.executable, "-m", "cli.main", "--workspace", str(workspace.folder), "mlflow", "sync"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True).stdout


def test_ui_serves_the_workspaces_own_records(
    raie: Raie, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(os, "execve", lambda path, arguments, environment: started.extend(arguments))
    ran = raie("mlflow", "ui", "--port", "5001")
    assert "http://127.0.0.1:5001" in ran.out
    assert f"sqlite:///{workspace.folder}/.raie/mlflow.db" in started
    (workspace.folder / "raie.toml").write_text(AWAY, encoding="utf-8")
    assert raie("mlflow", "ui").code == 2, "a server's pages are there already"
