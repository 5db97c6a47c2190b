"""The same commands on every database and every store."""

from __future__ import annotations

import pytest

from raie.workspace_file import find
from tests.cli import history
from tests.cli.conftest import Raie


def test_the_commands_work_on_every_database_and_store(
    raie: Raie, database_url: str, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAIE_DATABASE_URL", database_url)
    assert raie("init", "--store", store_url).code == 0
    registry = find().registry()
    history.make(registry)
    assert raie("promote", "head", "--reason", "all of it").code == 0
    assert raie("promote", "--region", "2", "--version", "1").code == 0
    assert raie("rollback", "3").code == 0
    assert raie("rollback", "--to", "edit:2").code == 0
    kinds = [snapshot["kind"] for snapshot in raie("log", "--json").json["snapshots"]]
    assert kinds == ["rollback", "rollback", "compose", "rollback", "edit", "compose", "edit", "edit", "setup"]
    assert raie("edit", "diff", "head", "edit:2", "--json").json["same_content"]
    for command in (
        ["lineage"],
        ["regions", "list"],
        ["edit", "list"],
        ["alias", "history"],
        ["mlflow", "status"],
    ):
        assert raie(*command).code == 0
    registry.put(b"nobody's")
    ran = raie("gc", "--grace", "0", "--yes", "--json")
    assert ran.code == 0, ran.err
    assert len(ran.json["deleted"]) == 1
    assert raie("verify").code == 0
    assert raie("db", "upgrade").code == 0
