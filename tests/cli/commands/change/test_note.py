"""`raie note` and `raie tag`: what people write on a snapshot stays, and is shown where they look."""

from __future__ import annotations

from raie.registry import Registry
from raie.registry.maintenance.verify import verify
from raie.workspace import Workspace
from tests.cli import trained
from tests.cli.conftest import Raie


def test_notes_stay_and_the_newest_one_is_in_the_log(raie: Raie, registry: Registry) -> None:
    assert raie("note", "production", "clicks fell").out.startswith("note on ")
    assert raie("note", "4", "they are back\n\x1b[2J").code == 0
    notes = raie("show", "production", "--json").json["notes"]
    assert [note["text"] for note in notes] == ["clicks fell", "they are back\n\x1b[2J"]
    assert [note["actor"] for note in notes] == ["ada", "ada"]
    assert "clicks fell" in raie("show", "production").out
    log = raie("log").out
    assert "note: they are back" in log
    assert "clicks fell" not in log
    assert "\x1b[2J" not in log
    entries = {entry["edit"]: entry for entry in raie("log", "--json").json["snapshots"]}
    assert (entries[4]["note"], entries[5]["note"]) == ("they are back\n\x1b[2J", None)
    assert "note" in raie("audit", "log").out
    assert verify(registry).ok


def test_tags_are_shown_in_log_show_and_status_until_they_are_removed(raie: Raie, registry: Registry) -> None:
    assert raie("tag", "head", "frozen", "--reason", "sale").out.endswith("is tagged frozen\n")
    assert raie("tag", "production", "reviewed").code == raie("tag", "edit:2", "reviewed").code == 0
    entries = {entry["edit"]: entry["tags"] for entry in raie("log", "--json").json["snapshots"]}
    assert entries == {6: ["frozen"], 5: [], 4: ["reviewed"], 3: [], 2: ["reviewed"], 1: []}
    assert "# frozen" in raie("log").out
    assert raie("show", "--json").json["tags"] == ["frozen"]
    status = raie("status", "--json").json
    assert status["head"]["tags"] == ["frozen"]
    assert {alias["alias"]: alias["tags"] for alias in status["aliases"]} == {
        "production": ["reviewed"],
        "staging": [],
    }
    assert "# reviewed" in raie("status").out
    assert raie("tag", "head", "frozen", "--remove").code == 0
    assert raie("show", "--json").json["tags"] == []
    assert [event["action"] for event in raie("audit", "log", "--json").json["events"][:4]] == [
        "untag",
        "tag",
        "tag",
        "tag",
    ]
    assert verify(registry).ok


def test_a_tag_that_is_there_is_not_given_twice(raie: Raie, workspace: Workspace) -> None:
    first = raie("tag", "head", "frozen", "--reason", "sale", "--json").json
    assert raie("tag", "head", "frozen", "--reason", "again", "--json").json == first
    raie("tag", "head", "frozen", "--remove")
    assert raie("tag", "head", "frozen", "--json").json["reason"] == ""


def test_what_cannot_be_written_is_refused_in_one_line(raie: Raie, workspace: Workspace) -> None:
    trained.refused(raie("note", "head", "  "), 2, ["Expected a note"])
    trained.refused(raie("note", "head", "x" * 10_001), 2, ["10,001"])
    trained.refused(raie("note", "edit:99", "x"), 1)
    trained.refused(raie("tag", "head", "a\x1b[2J"), 2, ["Expected a printable tag"])
    trained.refused(raie("tag", "head", "frozen", "--remove"), 1, ["'frozen'", "found none"])
