"""What is open, who works on it and where, and the way on where nobody does any more."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest
from sqlalchemy import text

from raie.edits import heartbeat
from raie.registry import Author, Registry
from raie.registry.leases import EDIT_LEASE_S
from raie.workspace import Workspace
from tests.cli.conftest import Raie

KILLED = """
import os, signal, sys
from raie.registry import Author, Registry
registry = Registry.open(sys.argv[1], sys.argv[2])
print(registry.begin("recsys", "edit", seed=1, author=Author("grace", "June")).number, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def killed(workspace: Workspace) -> int:
    """The process that began edit 7 and was killed."""
    command = [sys.executable, "-c", KILLED, workspace.database, workspace.store]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    process.wait(60)
    return process.pid


def test_an_edit_whose_process_was_killed_is_shown_with_since_when_who_and_where(
    raie: Raie, workspace: Workspace, killed: int
) -> None:
    (edit,) = raie("edit", "list", "--open", "--json").json["edits"]
    assert (edit["edit"], edit["state"], edit["actor"]) == (7, "abandoned", "grace")
    assert edit["lease_owner"].startswith(f"{socket.gethostname()}:{killed}:")
    assert 0 < edit["lease_expires_at_epoch"] - edit["created_at_epoch"] <= EDIT_LEASE_S + 1
    header, row, way = raie("edit", "list", "--open").out.splitlines()
    for part in ("begun (UTC)", "lease until (UTC)", "process", "host", "who"):
        assert part in header
    for part in ("abandoned", str(killed), socket.gethostname(), "grace", "June"):
        assert part in row
    assert way == "edit 7 is abandoned: raie edit resume 7, or raie edit abort 7"
    assert f"process {killed} on {socket.gethostname()}" in raie("edit", "show", "7").out
    assert "raie edit resume 7" in raie("log").out


def test_an_abandoned_edit_is_closed_and_no_longer_shown(raie: Raie, workspace: Workspace, killed: int) -> None:
    assert raie("edit", "abort", "7", "--reason", "never mind", "--yes").code == 0
    assert raie("edit", "list", "--open").out == "no open edit\n"
    assert raie("edit", "list", "--open", "--json").json["edits"] == []


def test_an_edit_that_somebody_works_on_is_not_taken_and_its_lease_owner_is_named(
    raie: Raie, registry: Registry
) -> None:
    registry.begin("recsys", "edit", seed=1, author=Author("ada"))
    (edit,) = raie("edit", "list", "--open", "--json").json["edits"]
    assert (edit["state"], edit["lease_owner"]) == ("running", registry.lease_owner)
    assert "abandoned" not in raie("edit", "list", "--open").out
    refused = raie("edit", "abort", "7", "--yes")
    assert refused.code == 4
    assert f"found {socket.gethostname()}:{os.getpid()}:" in refused.err


def test_a_lease_that_ran_out_on_another_host_is_shown_as_abandoned(raie: Raie, registry: Registry) -> None:
    registry.begin("recsys", "edit", seed=1, author=Author("ada"))
    with registry.engine.begin() as connection:
        over = "UPDATE edits SET lease_owner = 'far-away:12:ab', lease_expires_at = lease_expires_at - :s"
        connection.execute(text(f"{over} WHERE number = 7"), {"s": EDIT_LEASE_S + 1})
    row = raie("edit", "list", "--open").out.splitlines()[1]
    assert "abandoned" in row
    assert "far-away" in row


def test_a_lease_that_could_not_be_renewed_is_logged(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(heartbeat, "HEARTBEAT_S", 0.01)
    with heartbeat.kept_alive(registry, "recsys", 99):
        ends = time.monotonic() + 30
        while not caplog.records and time.monotonic() < ends:
            time.sleep(0.01)
    assert "the lease of edit 99 was not renewed: Expected an edit 99" in caplog.text
