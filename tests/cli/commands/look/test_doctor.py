"""`raie doctor` from the command line: a line for each check, and a code for scripts."""

from __future__ import annotations

import pytest

from raie.environment.machine_checks import Check, State
from raie.workspace import Workspace
from tests.cli.conftest import Raie


@pytest.fixture(autouse=True)
def _without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raie.environment.doctor.torch_check", lambda: Check("torch", State.OK, "not asked"))


def test_each_check_is_a_line_with_its_state_and_the_last_line_counts_them(
    raie: Raie, workspace: Workspace
) -> None:
    ran = raie("doctor")
    *lines, total = ran.out.splitlines()
    assert ran.code == 0
    assert {line.split()[0] for line in lines} <= {"ok", "warn", "skipped"}
    assert total.endswith("skipped")
    value = raie("doctor", "--json").json
    assert value["failed"] is False
    assert [check["name"] for check in value["checks"]] == [line.split()[1] for line in lines]
    assert set(value["checks"][0]) == {"name", "state", "text", "advice"}


def test_a_check_that_fails_is_code_7(raie: Raie, workspace: Workspace) -> None:
    (workspace.folder / ".raie" / "registry.db").unlink()
    ran = raie("doctor")
    assert ran.code == 7
    assert [line.split()[1] for line in ran.out.splitlines() if line.startswith("fail")] == ["database"]
    assert raie("doctor", "--json").json["failed"] is True
