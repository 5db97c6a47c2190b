"""MLflow from the command line: it may be away, and nothing is lost or waits."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import update

from raie.registry.db.engine import write
from raie.registry.db.tables import outbox_events
from raie.workspace import Workspace
from tests.cli.conftest import Raie
from tests.conftest import free_port

ROOT = Path(__file__).resolve().parents[4]
AWAY = '[mlflow]\ntracking_uri = "http://ada:s3cret@127.0.0.1:1"\n'


def test_status_says_how_much_waits(raie: Raie, workspace: Workspace) -> None:
    value = raie("mlflow", "status", "--json").json
    assert (value["pending"], value["published"], value["reachable"]) == (9, 0, False)
    assert "raie mlflow sync" in raie("mlflow", "status").out


def test_an_mlflow_that_is_away_is_code_6_and_everything_waits(raie: Raie, workspace: Workspace) -> None:
    (workspace.folder / "raie.toml").write_text(AWAY, encoding="utf-8")
    ran = raie("mlflow", "sync")
    assert ran.code == 6
    assert "9 pending" in ran.out
    status = raie("mlflow", "status")
    assert status.code == 0
    assert "s3cret" not in ran.out + ran.err + status.out + status.err


@pytest.mark.parametrize("password", ["hun/ter2", "p@hun/ter2", "hun ter2"])
def test_a_password_that_is_not_encoded_is_refused_in_one_line_and_no_part_of_it_is_shown(
    raie: Raie, workspace: Workspace, password: str
) -> None:
    (workspace.folder / "raie.toml").write_text(AWAY.replace("s3cret", password), encoding="utf-8")
    for command in (("sync",), ("sync", "--json"), ("status",), ("status", "--json"), ("ui",)):
        ran = raie("mlflow", *command)
        assert ran.code == 2
        assert len(ran.err.splitlines()) == 1
        assert "percent-encoded" in ran.err
        assert not re.search("hun|ter2|bug", ran.out + ran.err)


def test_status_names_each_event_that_failed_and_ends_with_1(raie: Raie, workspace: Workspace) -> None:
    failed = {"last_error": "MlflowException: Invalid metric name: 'a*b'", "attempts": 3}
    write(
        workspace.registry().engine,
        lambda c: c.execute(update(outbox_events).where(outbox_events.c.id == 2).values(failed)),
    )
    ran = raie("mlflow", "status")
    assert ran.code == 1
    (line,) = [line for line in ran.out.splitlines() if line.startswith("event ")]
    assert re.fullmatch(r"event 2 \(\w+, (edit|alias) \w+, recsys, 3 attempts\): MlflowException: .*'a\*b'", line)
    value = raie("mlflow", "status", "--json").json
    assert [(f["event"], f["attempts"]) for f in value["failures"]] == [(2, 3)]


def test_sync_publishes_everything_once_and_status_names_an_alias_moved_in_mlflow(
    raie: Raie, workspace: Workspace
) -> None:
    published, page = [_sync(workspace)], workspace.folder / ".raie" / "mlflow-artifacts"
    (page,) = page.rglob("history.html")
    written = page.stat().st_mtime_ns
    published.append(_sync(workspace))
    assert [line.split(",")[0] for line in published] == ["published 9", "published 0"]
    assert (page.stat().st_mtime_ns, page.read_text("utf-8").count('"edit":[1,2,3,4,5,6]')) == (written, 1)
    with closing(sqlite3.connect(workspace.folder / ".raie" / "mlflow.db")) as mlflow:
        ((about,),) = mlflow.execute("SELECT description FROM registered_models").fetchall()
    run = page.parts[-3]
    assert f"/runs/{run}/artifacts/history.html?workflowType=machine_learning)" in about
    with closing(sqlite3.connect(workspace.folder / ".raie" / "mlflow.db")) as mlflow, mlflow:
        mlflow.execute("UPDATE registered_model_aliases SET version = 1 WHERE alias = 'production'")
    status = raie("mlflow", "status")
    assert status.code == 1
    assert re.search(
        r"alias production of recsys: the registry has \w+, MLflow has version 1 \(\w+\); ", status.out
    )


def _sync(workspace: Workspace) -> str:
    # A process of its own: mlflow's import is heavy and warns.
    command = [sys.executable, "-m", "raie.cli.main", "--workspace", str(workspace.folder), "mlflow", "sync"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True).stdout


def test_ui_serves_the_workspaces_own_records(
    raie: Raie, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a sync leaves it, but for the tables that nobody looks at here.
    with closing(sqlite3.connect(workspace.folder / ".raie" / "mlflow.db")) as mlflow, mlflow:
        mlflow.execute("CREATE TABLE experiments (experiment_id INTEGER)")
        mlflow.execute("INSERT INTO experiments VALUES (0)")
    started: list[str] = []
    monkeypatch.setattr(os, "execve", lambda path, arguments, environment: started.extend(arguments))
    port = str(free_port())
    ran = raie("mlflow", "ui", "--port", port, "--no-open")
    assert f"http://127.0.0.1:{port}/#/models?workflowType=machine_learning" in ran.out
    with closing(sqlite3.connect(workspace.folder / ".raie" / "mlflow.db")) as mlflow, mlflow:
        mlflow.execute("CREATE TABLE registered_models (name TEXT)")
        mlflow.execute("INSERT INTO registered_models VALUES ('recsys')")
    ran = raie("mlflow", "ui", "--port", port, "--no-open")
    assert f"http://127.0.0.1:{port}/#/models/recsys?workflowType=machine_learning" in ran.out
    assert f"sqlite:///{workspace.folder}/.raie/mlflow.db" in started
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = raie("mlflow", "ui", "--port", str(taken.getsockname()[1]))
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)
    assert "another process serves" in ran.err
    (workspace.folder / "raie.toml").write_text(AWAY, encoding="utf-8")
    assert raie("mlflow", "ui").code == 2, "a server's pages are there already"
