"""Erasing through the commands: what is shown before, what is refused, and what --prove exits with."""

from __future__ import annotations

from pathlib import Path

import pytest

from raie.edits.notes import note
from raie.engine.answers import Answer
from raie.registry import Author, Registry
from raie.serving.request_log import RequestLog
from raie.workspace import Workspace
from tests.cli.conftest import Raie
from tests.cli.trained import refused


def test_a_command_erases_or_proves_and_not_both(raie: Raie, workspace: Workspace) -> None:
    for words in ((), ("--user", "a", "--prove", "b")):
        ran = raie("erase", *words)
        assert ran.code == 2
        assert "--user ID" in ran.err


def test_an_erasure_asks_for_a_key_and_a_long_one(raie: Raie, workspace: Workspace, tmp_path: Path) -> None:
    refused(raie("erase", "--user", "4711", "--reason", "request 17", "--yes"), 2, ["RAIE_ERASE_KEY"])
    short = tmp_path / "short.key"
    short.write_bytes(b"fifteen bytes..")
    ran = raie("erase", "--user", "4711", "--reason", "request 17", "--key", str(short), "--yes")
    refused(ran, 2, ["16 bytes or more", "found 15"])


def test_prove_finds_a_note_that_names_the_user_and_exits_with_7(raie: Raie, workspace: Workspace) -> None:
    nothing = raie("erase", "--prove", "visitor-4711", "--json")
    assert nothing.code == 0
    assert nothing.json["left"] is False
    note(workspace, "head", "asked by visitor-4711")
    left = raie("erase", "--prove", "visitor-4711", "--json")
    assert left.code == 7
    assert {row["where"]: row["count"] for row in left.json["rows"]} == {
        "snapshot_notes.reason": 1,
        "audit_events.reason": 1,
    }
    assert "snapshot_notes.reason" in raie("erase", "--prove", "visitor-4711").out


def test_prove_counts_the_rows_of_a_log_of_requests(raie: Raie, workspace: Workspace, tmp_path: Path) -> None:
    log = RequestLog(tmp_path / "requests", users=True)
    answer = Answer(items=(), titles=(), scores=(), snapshot="a" * 64, region=0, ignored=0)
    log.offer([answer] * 3, ["visitor-4711", "somebody", "visitor-4711"])
    log.start()
    log.stop(10.0)
    left = raie("erase", "--prove", "visitor-4711", "--requests", str(tmp_path / "requests"), "--json")
    assert left.code == 7
    assert [row["count"] for row in left.json["requests"]] == [2]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_prove_finds_what_mlflow_shows(raie: Raie, registry: Registry) -> None:
    registry.promote("recsys", "head", "canary", Author("ada", "for visitor-4711"))
    assert raie("mlflow", "sync").code == 0
    shown = {row["where"] for row in raie("erase", "--prove", "visitor-4711", "--json").json["mlflow"]}
    assert any(where.startswith("model_version_tags.") for where in shown), shown
