"""The audit log through the commands: kept outside after every change, exported, and verified without the database."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from raie import chain_head
from raie.migrations import downgrade
from raie.registry import Author, LocalStore, Registry, StoreUnreachable
from raie.registry.db import triggers
from raie.registry.db.engine import open_engine
from raie.registry.maintenance.checkpoints import published
from raie.workspace import Workspace
from raie.workspace_file import find
from tests.cli.conftest import Raie
from tests.registry.db.revisions import without_digests

WRITES = [
    ("promote", "edit:5", "--to", "canary"),
    ("promote", "--region", "0", "--version", "1"),
    ("rollback", "5"),
    ("edit", "abort", "7", "--force", "--yes"),
    ("gc", "--grace", "0", "--yes"),
    ("expire", "--keep-last", "1", "--yes"),
]


def rewrite(registry: Registry) -> None:
    """What an owner of the database can do: forge an event, and hash the chain anew from there on."""
    with registry.engine.begin() as connection:
        triggers.drop(connection)
        previous, number = "0" * 64, 0
        for row in connection.execute(text("SELECT * FROM audit_events ORDER BY id")).all():
            fields = dict(row._mapping) | {"previous": previous}
            fields["actor"] = "mallory" if row.id == 2 else row.actor
            rest = {key: value for key, value in fields.items() if key not in ("previous", "hash")}
            canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            number, previous = row.id, hashlib.sha256((previous + canonical).encode()).hexdigest()
            update = "UPDATE audit_events SET actor = :actor, previous = :previous, hash = :new WHERE id = :id"
            connection.execute(text(update), fields | {"new": previous})
        connection.execute(text("UPDATE audit_head SET event = :n, hash = :h"), {"n": number, "h": previous})


def chain_of(lines: list[str]) -> list[dict[str, Any]]:
    """The events of an export, verified with nothing but a hash function."""
    events = [json.loads(line) for line in lines]
    for event, before in zip(events, [None, *events], strict=False):
        fields = {key: value for key, value in event.items() if key not in ("previous", "hash")}
        canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert event["hash"] == hashlib.sha256((event["previous"] + canonical).encode()).hexdigest()
        assert before is None or event["previous"] == before["hash"]
    return events


@pytest.mark.parametrize("command", WRITES, ids=" ".join)
def test_every_command_that_writes_keeps_the_chain_head_in_the_store(
    raie: Raie, registry: Registry, command: tuple[str, ...]
) -> None:
    registry.begin("recsys", "edit", seed=1, author=Author("ada"))
    registry.put(b"nobody's")
    before = {kept.number for kept in published(registry)}
    assert raie(*command).code == 0
    end = raie("audit", "log", "-n", "1", "--json").json["events"][0]
    assert (end["event"], end["hash"]) == (published(registry)[-1].number, published(registry)[-1].hash)
    assert end["event"] not in before


def test_a_table_that_was_rewritten_from_its_start_is_noticed_without_a_checkpoint_by_hand(
    raie: Raie, registry: Registry
) -> None:
    raie("promote", "head")
    assert raie("audit", "verify").code == 0
    rewrite(registry)
    ran = raie("audit", "verify", "--json")
    assert (ran.code, ran.json["ok"]) == (5, False)
    assert any("was rewritten: the store expects hash" in problem for problem in ran.json["problems"])
    raie("promote", "edit:2", "--to", "canary")
    assert raie("audit", "verify").code == 5, "what was published since does not make the forgery good"
    assert raie("verify").code == 5


def test_a_table_whose_last_events_were_cut_off_is_noticed(raie: Raie, registry: Registry) -> None:
    raie("promote", "edit:2", "--to", "canary")
    raie("promote", "edit:3", "--to", "canary")
    with registry.engine.begin() as connection:
        triggers.drop(connection)
        last = connection.execute(text("SELECT max(id) FROM audit_events")).scalar_one()
        connection.execute(text("DELETE FROM audit_events WHERE id = :n"), {"n": last})
        end = "UPDATE audit_head SET event = :n, hash = (SELECT hash FROM audit_events WHERE id = :n)"
        connection.execute(text(end), {"n": last - 1})
    (problem,) = raie("audit", "verify", "--json").json["problems"]
    assert problem == f"the store names event {last}, and the last event is {last - 1}: events were cut off"


def test_mlflow_that_is_not_there_is_named_where_its_chain_heads_are_asked_for(
    raie: Raie, workspace: Workspace
) -> None:
    ran = raie("audit", "verify", "--mlflow")
    assert ran.code == 6
    assert "Expected MLflow at" in ran.err
    assert not Path(".raie/mlflow.db").exists()


def test_a_checkpoint_that_somebody_kept_is_compared_as_well(raie: Raie, workspace: Workspace) -> None:
    head = raie("audit", "verify", "--json").json["head"]
    assert raie("audit", "verify", "--checkpoint", head).code == 0
    number, _, _ = head.partition(":")
    assert raie("audit", "verify", "--checkpoint", f"{number}:{'0' * 64}").code == 5
    assert raie("audit", "verify", "--checkpoint", head.upper()).code == 0
    for command in (("audit", "verify"), ("verify",)):
        for checkpoint in ("nonsense", head[:12], "3:zz"):
            ran = raie(*command, "--checkpoint", checkpoint)
            assert (ran.code, ran.out) == (2, "")
            assert "the whole hash" in ran.err


def test_an_export_can_be_verified_without_the_database(raie: Raie, workspace: Workspace, tmp_path: Path) -> None:
    assert raie("audit", "export", "audit.jsonl").code == 0
    lines = (tmp_path / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    events = chain_of(lines)
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    assert {"identity", "begin", "commit", "rollback", "promote", "compose"} == {
        event["action"] for event in events
    }
    head = raie("audit", "verify", "--json").json["head"]
    assert head == f"{events[-1]['id']}:{events[-1]['hash']}"
    assert raie("audit", "export", "-").out.splitlines() == raie("audit", "export").out.splitlines() == lines


def test_an_export_goes_on_after_the_event_it_ended_with(raie: Raie, workspace: Workspace) -> None:
    lines = raie("audit", "export").out.splitlines()
    assert raie("audit", "export", "--since", "4").out.splitlines() == lines[4:]
    assert raie("audit", "export", "--since", str(len(lines))).out == ""
    with pytest.raises(AssertionError):
        chain_of([*lines[:3], *lines[4:]])
    with pytest.raises(AssertionError):
        chain_of([line.replace('"grace"', '"eve"') for line in lines])


def test_an_export_that_fails_leaves_the_file_as_it_was(raie: Raie, workspace: Workspace, tmp_path: Path) -> None:
    kept = tmp_path / "audit.jsonl"
    kept.write_text("yesterday's\n")
    (workspace.folder / ".raie" / "registry.db").unlink()
    assert raie("audit", "export", "audit.jsonl").code == 6
    assert kept.read_text() == "yesterday's\n"
    assert raie("audit", "export", "nowhere/audit.jsonl").code != 0
    assert sorted(path.name for path in tmp_path.glob("*audit*")) == ["audit.jsonl"]


@pytest.mark.parametrize("file", ["nowhere/audit.jsonl", "raie.toml/audit.jsonl"])
def test_an_export_that_cannot_be_written_names_the_file_that_was_asked_for(
    raie: Raie, workspace: Workspace, file: str
) -> None:
    ran = raie("audit", "export", file)
    assert ran.code == 1
    assert f"error: {file}: " in ran.err


def test_every_event_says_who_when_what_from_to_why_and_with_which_raie(
    raie: Raie, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAIE_ACTOR", "grace")
    moved = raie("promote", "edit:3", "--to", "staging", "--reason", "looked at", "--json").json
    event = raie("audit", "log", "-n", "1", "--json").json["events"][0]
    assert (event["actor"], event["action"], event["subject"]) == ("grace", "promote", "alias:staging")
    assert (event["from"], event["to"], event["reason"]) == (moved["from"], moved["to"], "looked at")
    assert event["at"].endswith("Z")
    assert event["client"].startswith("raie ")
    assert "grace" in raie("audit", "log").out


def test_a_new_and_an_upgraded_database_say_who_made_them_so(raie: Raie, monkeypatch: pytest.MonkeyPatch) -> None:
    raie("--workspace", "fresh", "init")
    event, first = raie("--workspace", "fresh", "audit", "log", "--json").json["events"]
    assert (first["action"], first["subject"]) == ("identity", "epoch:1")
    assert (event["action"], event["actor"], event["from"], event["to"]) == ("upgrade", "ada", None, event["to"])
    without_digests(open_engine(find(Path("fresh")).database))
    downgrade(find(Path("fresh")).database, "0001")
    monkeypatch.setenv("RAIE_WORKSPACE", "fresh")
    assert raie("db", "upgrade").code == 0
    newest = raie("audit", "log", "-n", "1", "--json").json["events"][0]
    assert (newest["action"], newest["subject"], newest["from"]) == ("upgrade", "schema", "0001")
    assert raie("audit", "verify").code == 0
    count = raie("audit", "verify", "--json").json["events"]
    raie("db", "upgrade")
    assert raie("audit", "verify", "--json").json["events"] == count, (
        "nothing was upgraded, so nothing is recorded"
    )


def test_a_store_that_is_away_does_not_fail_a_command_that_does_not_need_it(
    raie: Raie, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(store: LocalStore, name: str, data: bytes) -> None:
        raise StoreUnreachable("Expected the store to answer, found nothing there; look")

    monkeypatch.setattr(LocalStore, "put_record", refuse)
    ran = raie("promote", "edit:2", "--to", "canary")
    assert (ran.code, ran.err) == (0, "")
    assert published(registry) == []


def test_a_store_that_hangs_does_not_hold_a_command_up_that_does_not_need_it(
    raie: Raie, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()

    def hang(store: LocalStore, name: str, data: bytes) -> None:
        answers.wait()

    monkeypatch.setattr(LocalStore, "put_record", hang)
    monkeypatch.setattr(chain_head, "WAIT_S", 0.05)
    assert raie("promote", "edit:2", "--to", "canary").code == 0
    answers.set()
