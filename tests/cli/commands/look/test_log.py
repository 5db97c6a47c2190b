"""What the history looks like: log, lineage, edits and regions, as text and as JSON."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import text

from raie.registry import Author, Registry
from raie.workspace import Workspace
from tests.cli import history
from tests.cli.conftest import Raie

MODEL = history.MODEL


def settled(text: str, registry: Registry) -> str:
    """The text with ids and times that do not depend on the machine: s1 is the snapshot of edit 1."""
    for edit in registry.edits(MODEL):
        if edit.result is not None:
            text = text.replace(edit.result[:12], f"s{edit.number}".ljust(12))
    text = re.sub(r"\b[0-9a-f]{12}\b", "<digest    >", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "<when          >", text)
    return "\n".join(line.rstrip() for line in text.splitlines())


def test_the_log_is_a_tree_with_who_when_what_and_why(raie: Raie, registry: Registry) -> None:
    expected = """\
●    s6            edit 6  rollback  <when          >  ada    ◂ head
│                  reverted region 1 to v1 · undid edit 2 · a week of bot traffic
●    s5            edit 5  edit      <when          >  ada    ◂ staging
│                  updated region 2 · weekly log
│ ○  s4            edit 4  compose   <when          >  grace  ◂ production
│ │                replaced region 0 to v2 · region 0 first
● │  s3            edit 3  edit      <when          >  grace
│ │                updated region 0; added region 3 · new catalogue
├─╯
●    s2            edit 2  edit      <when          >  ada    undone by edit 6
│                  updated region 1 · weekly log
●    s1            edit 1  setup     <when          >  ada
                   set up regions 0, 1, 2 · first log"""
    assert settled(raie("log").out, registry) == expected


def test_the_log_says_when_there_is_more_than_it_shows(raie: Raie, workspace: Workspace) -> None:
    assert "--limit" in raie("log", "-n", "2").out
    assert len(raie("log", "-n", "2", "--json").json["snapshots"]) == 2
    assert "--limit" not in raie("log", "-n", "6").out


def test_the_log_does_not_hide_an_edit_that_was_never_finished(raie: Raie, registry: Registry) -> None:
    registry.begin(MODEL, "edit", seed=1, author=Author("ada"))
    assert raie("log").out.startswith("edit 7 of ada is running\n")
    assert raie("log", "--json").json["open_edits"] == [7]
    with registry.engine.begin() as connection:
        connection.execute(text("UPDATE edits SET lease_expires_at = 1 WHERE number = 7"))
    assert "raie edit resume 7" in raie("log").out
    assert raie("edit", "abort", "7", "--yes").code == 0
    assert raie("log", "--json").json["open_edits"] == []


def test_words_of_others_cannot_redraw_the_terminal(raie: Raie, registry: Registry) -> None:
    history.edit(registry, [2], reason="first\n\x1b[2Jsecond")
    assert "\x1b" not in raie("log").out
    assert "first [2Jsecond" in raie("log").out


def test_the_lineage_of_a_snapshot_goes_back_to_the_data_of_each_region(raie: Raie, registry: Registry) -> None:
    expected = """\
s4            edit 4  compose  <when          >  grace  ◂ production
├─ backbone  config <digest    >  weights <digest    >
├─ space     <digest    >
├─ shared    catalogue, settings
├─ region 0  v2
│  ├─ v2  edit 3  update  40 windows   moved 2.9°  data <digest    >  <when          >  grace
│  └─ v1  edit 1  setup   100 windows  moved 2.9°  data <digest    >  <when          >  ada
├─ region 1  v2
│  ├─ v2  edit 2  update  41 windows   moved 2.9°  data <digest    >  <when          >  ada
│  └─ v1  edit 1  setup   200 windows  moved 2.9°  data <digest    >  <when          >  ada
├─ region 2  v1
│  └─ v1  edit 1  setup  300 windows  moved 2.9°  data <digest    >  <when          >  ada
└─ parent    s2"""
    assert settled(raie("lineage", "production").out, registry) == expected


def test_the_lineage_after_a_rollback_is_that_of_the_version_that_came_back(
    raie: Raie, workspace: Workspace
) -> None:
    regions = {r["region"]: r for r in raie("lineage", "--json").json["regions"]}
    assert [link["edit"] for link in regions[1]["from"]] == [1]
    assert [link["edit"] for link in regions[0]["from"]] == [3, 1]
    assert [r["region"] for r in raie("lineage", "head", "--region", "3", "--json").json["regions"]] == [3]
    assert raie("lineage", "edit:2", "--region", "3").code == 2


def test_edits_are_listed_newest_first_and_open_ones_on_their_own(raie: Raie, registry: Registry) -> None:
    listed = raie("edit", "list", "--json").json["edits"]
    assert [edit["edit"] for edit in listed] == [6, 5, 4, 3, 2, 1]
    assert raie("edit", "list", "--open").out == "no open edit\n"
    registry.begin(MODEL, "edit", seed=1, author=Author("ada"))
    opened = raie("edit", "list", "--open", "--json").json["edits"]
    assert [(edit["edit"], edit["state"]) for edit in opened] == [(7, "running")]
    assert len(raie("edit", "list", "-n", "3").out.splitlines()) == 1 + 3 + 1


def test_an_edit_shows_what_it_did_to_each_region_and_what_it_reported(raie: Raie, workspace: Workspace) -> None:
    shown = raie("edit", "show", "1").out
    assert "ndcg.after" in shown
    assert "0.125" in shown
    value = raie("edit", "show", "3", "--json").json
    assert [(o["region"], o["action"], o["version"]) for o in value["operations"]] == [
        (0, "update", 2),
        (3, "add", 1),
    ]
    assert (value["actor"], value["reason"], value["state"]) == ("grace", "new catalogue", "committed")
    assert raie("edit", "show", "edit:1").out == shown
    for number in ("edit:0", "edit:", "edit:x", "0", "head"):
        assert raie("edit", "show", number).code == 2
    assert raie("edit", "show", "99").code == 1


def test_an_open_edit_shows_what_is_finished_and_the_way_on(raie: Raie, registry: Registry) -> None:
    edit = registry.begin(MODEL, "edit", seed=1, author=Author("ada"))
    registry.record_checkpoint(MODEL, edit.number, "region 2", {"lora": "a" * 64})
    shown = raie("edit", "show", str(edit.number)).out
    assert "region 2" in shown
    assert f"raie edit resume {edit.number}" in shown


def test_a_difference_names_regions_versions_and_what_stayed(raie: Raie, workspace: Workspace) -> None:
    value = raie("edit", "diff", "3", "--json").json
    assert [(r["region"], r["difference"], r["older_version"], r["newer_version"]) for r in value["regions"]] == [
        (0, "changed", 1, 2),
        (3, "added", None, 1),
    ]
    assert value["unchanged_regions"] == [1, 2]
    assert "untouched regions  1, 2" in raie("edit", "diff", "edit:3").out
    assert "the same content" in raie("edit", "diff", "head", "edit:6").out
    assert "removed" in raie("edit", "diff", "head", "production").out
    assert raie("edit", "diff", "1").code == 2, "the first snapshot has nothing before it"


def test_an_edit_is_closed_only_when_asked_and_not_while_somebody_works_on_it(
    raie: Raie, registry: Registry
) -> None:
    edit = registry.begin(MODEL, "edit", seed=1, author=Author("ada"))
    number = str(edit.number)
    assert raie("edit", "abort", number).code == 1, "nobody could be asked"
    assert raie("edit", "abort", number, "--yes").code == 4, "this process holds its lease"
    assert raie("edit", "abort", number, "--yes", "--force", "--reason", "wrong log").code == 0
    closed = registry.edit(MODEL, edit.number)
    assert (closed.state, closed.close_reason) == ("aborted", "wrong log")
    assert raie("edit", "abort", "3", "--yes").code == 4, "a committed edit is rolled back, not aborted"


def test_the_regions_of_a_snapshot_are_listed_with_versions_and_weights(raie: Raie, workspace: Workspace) -> None:
    value = raie("regions", "list", "production", "--json").json
    assert [(r["region"], r["version"], r["adapter"]) for r in value["regions"]] == [
        (0, 2, True),
        (1, 2, True),
        (2, 1, False),
    ]
    assert sum(r["weight"] for r in value["regions"]) == pytest.approx(1)
    assert len(raie("regions", "list").out.splitlines()) == 1 + 4 + 2


def test_every_version_of_a_region_is_shown_with_who_holds_it(raie: Raie, workspace: Workspace) -> None:
    versions = raie("regions", "show", "1", "--json").json["versions"]
    assert [(v["version"], v["held_by"]) for v in versions] == [(2, ["production", "staging"]), (1, ["head"])]
    assert "◂ head" in raie("regions", "show", "1").out
    assert raie("regions", "show", "9").code == 1


READING = [
    ["log"],
    ["lineage"],
    ["edit", "list"],
    ["edit", "show", "3"],
    ["show"],
    ["diff", "3"],
    ["regions", "list"],
    ["regions", "show", "0"],
    ["alias", "list"],
    ["alias", "history"],
    ["verify"],
    ["gc", "--dry-run"],
    ["db", "current"],
    ["mlflow", "status"],
]


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_every_reading_command_prints_json_with_iso_times_beside_epochs(
    raie: Raie, workspace: Workspace, command: list[str]
) -> None:
    ran = raie(*command, "--json")
    assert (ran.code, ran.err) == (0, "")
    for iso, epoch in _times(ran.json):
        assert datetime.fromisoformat(iso).timestamp() == int(epoch)


def _times(value: Any) -> list[tuple[str, float]]:
    if isinstance(value, list):
        return [pair for item in value for pair in _times(item)]
    if not isinstance(value, dict):
        return []
    here = [
        (value[k.removesuffix("_epoch")], v) for k, v in value.items() if k.endswith("_epoch") and v is not None
    ]
    return here + [pair for item in value.values() for pair in _times(item)]


def test_the_keys_of_the_log_are_a_promise(raie: Raie, workspace: Workspace) -> None:
    value = raie("log", "--json").json
    assert list(value) == ["model", "head", "open_edits", "snapshots", "more"]
    assert list(value["snapshots"][0]) == [
        "id",
        "parent",
        "edit",
        "content_digest",
        "created_at",
        "created_at_epoch",
        "expired",
        "kind",
        "actor",
        "reason",
        "data_digest",
        "is_head",
        "aliases",
        "changes",
        "undoes",
        "undone_by",
        "tags",
        "note",
    ]
    assert list(value["snapshots"][0]["changes"][0]) == ["region", "action", "version", "windows", "centre_shift"]
