"""Events from the command line: OpenLineage into a file, webhooks, and what to do with one that fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from raie.registry.events import signature
from raie.workspace import Workspace
from raie.workspace_file import find
from tests.cli.conftest import Raie
from tests.registry.events.receiver import Service

SECRET = "shared-s3cret"
FILE = '\n[events.lineage]\nformat = "openlineage"\nfile = "out/lineage.jsonl"\n'
HOOK = (
    '\n[events.pager]\nformat = "webhook"\nurl = "{url}"\nsecret_variable = "PAGER_SECRET"\nstart = "beginning"\n'
)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def configure(workspace: Workspace, *tables: str) -> None:
    with (workspace.folder / "raie.toml").open("a", encoding="utf-8") as file:
        file.write("".join(tables))


def test_the_history_goes_into_a_file_once(raie: Raie, workspace: Workspace) -> None:
    assert "no consumer of events" in raie("events", "status").out
    configure(workspace, FILE)
    (before,) = raie("events", "status", "--json").json["consumers"]
    assert (before["name"], before["pending"], before["registered"]) == ("lineage", 9, False)
    assert "delivered 9, 0 pending" in raie("events", "send").out
    assert raie("events", "send", "--json").json["consumers"][0]["delivered"] == 0
    lines = [json.loads(line) for line in Path("out/lineage.jsonl").read_text().splitlines()]
    assert [line["eventType"] for line in lines] == ["START", "COMPLETE"] * 9
    assert {line["job"]["name"] for line in lines} == {"recsys.edit", "recsys.promotion", "recsys.rollback"}


def test_a_webhook_gets_promotions_and_rollbacks_signed_with_the_secret_of_the_environment(
    raie: Raie, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGER_SECRET", SECRET)
    service = Service()
    configure(workspace, HOOK.format(url=service.url))
    with service.running():
        ran = raie("events", "send", "pager")
    assert (ran.code, ran.out) == (0, "pager: delivered 4, 0 pending\n")
    types = [request.json["type"] for request in service.requests]
    assert types == ["raie.promotion", "raie.promotion", "raie.promotion", "raie.rollback"]
    last = service.requests[-1]
    signature.verify(SECRET, last.body, last.headers["Raie-Signature"], now=workspace_time(last.headers))


def workspace_time(headers: dict[str, str]) -> int:
    return int(headers["Raie-Signature"].partition(",")[0].removeprefix("t="))


def test_a_dead_receiver_is_code_6_and_a_promotion_does_not_notice(
    raie: Raie, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGER_SECRET", SECRET)
    service = Service()
    configure(workspace, FILE, HOOK.format(url=service.url))
    ran = raie("events", "send")
    assert ran.code == 6
    assert "lineage: delivered 9, 0 pending" in ran.out
    assert "found nothing there; the events wait" in ran.out
    assert raie("promote", "head").code == 0
    status = raie("events", "status")
    assert status.code == 1
    assert "5, the oldest since" in status.out
    shown = ran.out + ran.err + status.out + status.err + raie("events", "status", "--json").out
    assert SECRET not in shown
    assert "s3cretpath" not in shown


def test_a_poison_event_is_retried_and_then_skipped_and_the_audit_says_why(
    raie: Raie, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGER_SECRET", SECRET)
    service = Service(status=422)
    configure(workspace, HOOK.format(url=service.url))
    with service.running():
        assert raie("events", "send").code == 1
        (failed,) = raie("events", "status", "--json").json["consumers"][0]["failures"]
        number = str(failed["event"])
        assert "found 422: it refuses the event" in failed["error"]
        assert raie("events", "retry", number).code == 1
        assert "--yes" in raie("events", "skip", number, "--reason", "no").err
        assert raie("events", "skip", "1", "--reason", "no", "--yes").code == 1
        skipped = raie("events", "skip", number, "--reason", "cannot be parsed", "--yes")
        assert (skipped.code, skipped.out) == (0, f"pager goes on after event {number}\n")
        service.status = 200
        assert raie("events", "send", "--json").json["consumers"][0]["delivered"] == 3
    log = raie("audit", "log").out
    assert "skip event" in log
    assert "cannot be parsed" in log
    assert raie("verify").code == 0


def test_a_missing_secret_stops_its_own_consumer_alone(raie: Raie, workspace: Workspace) -> None:
    configure(workspace, FILE, HOOK.format(url="http://127.0.0.1:9/"))
    ran = raie("events", "send")
    assert ran.code == 1
    assert "lineage: delivered 9, 0 pending" in ran.out
    assert "in the environment as PAGER_SECRET, found none" in ran.out
    assert raie("events", "send", "nobody").code == 2


def test_the_environment_names_a_url_before_the_file(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(workspace, HOOK.format(url="http://a.example.org/"))
    monkeypatch.setenv("RAIE_EVENTS_PAGER_URL", "https://b.example.org/T0/s3cret")
    (consumer,) = find(workspace.folder).consumers
    assert consumer.url == "https://b.example.org/T0/s3cret"
    assert "s3cret" not in repr(consumer)


def test_an_edit_says_which_part_of_which_log_it_took(raie: Raie, edited: Path) -> None:
    with (edited / "raie.toml").open("a", encoding="utf-8") as file:
        file.write(FILE)
    assert raie("events", "send").code == 0
    ends = [json.loads(line) for line in Path("out/lineage.jsonl").read_text().splitlines()][1::2]
    setup, edit = (end["inputs"][0]["inputFacets"] for end in ends)
    assert "after" not in setup["raie_interactions"]
    assert edit["raie_interactions"]["after"] == setup["raie_interactions"]["until"]
    assert edit["raie_interactions"]["until"].startswith("2024-05-")
    assert edit["dataQualityMetrics"]["rowCount"] > 0
    assert ends[1]["inputs"][0]["name"].endswith("log.csv")


WRONG: dict[str, tuple[str, str]] = {
    "an unknown format": ('[events.a]\nformat = "kafka"', "'openlineage' or 'webhook'"),
    "an unknown key": ('[events.a]\nformat = "webhook"\nfile = "x"', "unknown key 'events.a.file'"),
    "neither file nor url": ('[events.a]\nformat = "openlineage"', "must have either file or url"),
    "a url that is none": ('[events.a]\nformat = "openlineage"\nurl = "file:///hunter2"', "an http or https URL"),
    "a user in a url": ('[events.a]\nformat = "openlineage"\nurl = "https://hunter2@h/"', "without a user"),
    "a secret in place of a variable": (
        '[events.a]\nformat = "webhook"\nurl = "https://h/"\nsecret_variable = "hunter2"',
        "the name of a variable",
    ),
    "no secret": ('[events.a]\nformat = "webhook"\nurl = "https://h/"', "events.a.secret_variable"),
    "an unknown type": ('[events.a]\nformat = "openlineage"\nfile = "x"\ntypes = ["deploy"]', "a list of some of"),
    "no table": ("[events]\na = 1", "a table [events.NAME]"),
    "a name with a capital": ('[events.A]\nformat = "openlineage"\nfile = "x"', "a table [events.NAME]"),
}


@pytest.mark.parametrize(("text", "expected"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_in_raie_toml_is_one_line_without_a_secret(
    raie: Raie, workspace: Workspace, text: str, expected: str
) -> None:
    configure(workspace, f"\n{text}\n")
    ran = raie("events", "status")
    assert ran.code in (1, 2)
    assert expected in ran.err
    assert len(ran.err.splitlines()) == 1
    assert "hunter2" not in ran.err


def test_a_workspace_of_somebody_else_sends_nothing(workspace: Workspace) -> None:
    from dataclasses import replace

    from raie.errors import WorkspaceError
    from raie.publishing import events

    configure(workspace, FILE)
    foreign: Any = replace(find(workspace.folder), runs_code=False)
    with pytest.raises(WorkspaceError, match="belongs to another user"):
        events.send(foreign)
    assert not Path("out").exists()
