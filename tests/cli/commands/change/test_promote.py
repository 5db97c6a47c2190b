"""What production serves, and the way back: promote, rollback, alias."""

from __future__ import annotations

import pytest

from raie.registry import LocalStore, Registry, StoreUnreachable, lineage
from raie.workspace import Workspace
from tests.cli import history
from tests.cli.conftest import Raie

MODEL = history.MODEL


@pytest.mark.parametrize(
    "arguments",
    [
        ["promote"],
        ["promote", "head", "--region", "1"],
        ["promote", "--region", "1"],
        ["promote", "--version", "1"],
        ["promote", "--region", "1", "--version", "1", "--expect", "head"],
        ["rollback"],
        ["rollback", "3", "--to", "head"],
        ["rollback", "--to", "head", "--cascade"],
        ["rollback", "production"],
    ],
)
def test_options_that_contradict_each_other_change_nothing(
    raie: Raie, registry: Registry, arguments: list[str]
) -> None:
    before = len(registry.edits(MODEL))
    assert raie(*arguments).code == 2
    assert len(registry.edits(MODEL)) == before


def test_promote_moves_the_alias_and_says_from_where_to_where(raie: Raie, registry: Registry) -> None:
    old, new = registry.resolve(MODEL, "production").id, registry.resolve(MODEL, "edit:5").id
    ran = raie("promote", "edit:5", "--reason", "passed review")
    assert (ran.code, ran.out) == (0, f"production {old[:12]} → {new[:12]}\n")
    move = raie("alias", "history", "--json").json["moves"][0]
    assert (move["from"], move["to"], move["actor"], move["reason"]) == (old, new, "ada", "passed review")


def test_promoting_again_says_that_it_is_there_already_and_moves_nothing(raie: Raie, registry: Registry) -> None:
    there = registry.resolve(MODEL, "production").id
    ran = raie("promote", there, "--reason", "again")
    assert ran.code == 0
    assert ran.out.startswith(f"production is at {there[:12]} already, since ")
    again = raie("promote", there, "--json").json
    assert (again["moved"], again["to"], again["reason"]) == (False, there, "region 0 first")
    assert len(raie("alias", "history", "--json").json["moves"]) == 2, "a retry is not a second move"
    composed = raie("promote", "--region", "0", "--version", "2", "--json").json
    assert (composed["moved"], composed["to"]) == (False, there)
    assert raie("promote", "head", "--json").json["moved"] is True


def test_what_an_alias_is_expected_at_is_looked_up_first(raie: Raie, registry: Registry) -> None:
    assert raie("promote", "head").code == 0
    for more in ((), ("--dry-run",)):
        assert raie("promote", "head", "--expect", "nosuch", *more).code == 1
        assert raie("promote", "head", "--expect", "edit:1", *more).code == 4
        assert raie("promote", "head", "--expect", "head", *more).code == 0


def test_a_new_alias_is_called_new_beside_the_others(raie: Raie, registry: Registry) -> None:
    head = registry.resolve(MODEL, "head").id
    ran = raie("promote", "head", "--to", "prodution")
    assert (ran.code, ran.out) == (
        0,
        f"prodution - → {head[:12]}\nnew alias, beside production, staging\n",
    )
    assert raie("promote", "edit:1", "--to", "prodution").out.count("\n") == 1


def test_what_lost_a_blob_is_not_promoted_and_what_is_whole_is(raie: Raie, registry: Registry) -> None:
    served, head = registry.resolve(MODEL, "production"), registry.resolve(MODEL, "edit:5")
    lost = head.content.regions[2]["lora"]
    registry.store.delete(lost)
    version = max(v.version for v in lineage.adapter_versions(registry, MODEL, 2))
    for command in (("promote", "edit:5"), ("promote", "--region", "2", "--version", str(version))):
        ran = raie(*command)
        assert ran.code == 5
        assert "raie verify" in ran.err
        assert lost in ran.err
    assert registry.resolve(MODEL, "production") == served
    assert raie("promote", "edit:3").code == 0


def test_a_store_that_does_not_answer_is_no_reason_to_promote(
    raie: Raie, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, asked = registry.resolve(MODEL, "production"), list[str]()

    def refuse(store: LocalStore, digest: str) -> bool:
        asked.append(digest)
        raise StoreUnreachable("Expected the store to answer, found nothing there; look")

    monkeypatch.setattr(LocalStore, "exists", refuse)
    assert raie("promote", "edit:5").code == 6
    assert len(asked) == 1, "it is not asked for every blob once it has not answered"
    assert registry.resolve(MODEL, "production") == served


@pytest.mark.parametrize("name", ["HEAD", "my alias", "1", "*", "a,b", "7829a0dee054"])
def test_a_name_that_could_be_taken_for_something_else_is_no_alias(
    raie: Raie, registry: Registry, name: str
) -> None:
    before = registry.aliases(MODEL)
    for command in (("promote", "head", "--to", name), ("policy", "set", name, "--locality")):
        ran = raie(*command)
        assert ran.code == 2
        assert repr(name) in ran.err
    assert registry.aliases(MODEL) == before


def test_promoting_one_region_changes_that_region_of_what_is_served_and_not_the_head(
    raie: Raie, registry: Registry
) -> None:
    head, served = registry.head(MODEL), registry.resolve(MODEL, "production").content
    assert raie("promote", "--region", "1", "--version", "1").code == 0
    now = registry.resolve(MODEL, "production").content
    assert registry.head(MODEL) == head
    assert {region for region in now.regions if now.regions[region] != served.regions[region]} == {1}


def test_an_alias_that_moved_meanwhile_is_a_conflict_and_stays(raie: Raie, registry: Registry) -> None:
    before = registry.resolve(MODEL, "production").id
    ran = raie("promote", "head", "--expect", "staging")
    assert ran.code == 4
    assert before[:12] in ran.err
    assert registry.resolve(MODEL, "production").id == before
    assert raie("promote", "head", "--expect", before).code == 0


def test_a_snapshot_that_nobody_knows_is_named_with_those_there_are(raie: Raie, workspace: Workspace) -> None:
    ran = raie("promote", "prodution")
    assert ran.code == 1
    assert "staging" in ran.err


def test_a_rollback_of_one_edit_leaves_the_others_in_place(raie: Raie, registry: Registry) -> None:
    before = registry.resolve(MODEL, "head").content
    ran = raie("rollback", "edit:5", "--reason", "wrong log", "--json")
    assert ran.code == 0
    after = registry.resolve(MODEL, "head").content
    assert ran.json["changes"] == [ran.json["changes"][0]]
    assert (ran.json["changes"][0]["region"], ran.json["changes"][0]["version"]) == (2, 1)
    assert {region for region in after.regions if after.regions[region] != before.regions[region]} == {2}


def test_a_rollback_ends_with_what_still_serves_the_edit_and_what_moves_it(raie: Raie, registry: Registry) -> None:
    lines = raie("rollback", "5").out.splitlines()
    assert "edit 7: reverted region 2 to v1" in lines[0]
    assert lines[1:] == [
        "production serves edit 2, which edit 6 took back; `raie promote head --to production`",
        "staging serves edit 2, which edit 6 took back; `raie promote head --to staging`",
        "staging serves edit 5, which edit 7 took back; `raie promote head --to staging`",
    ]
    assert "undone by edit 7" in raie("edit", "show", "5").out
    assert raie("edit", "show", "5", "--json").json["undone_by"] == 7
    assert raie("edit", "show", "3", "--json").json["undone_by"] is None


def test_a_rollback_to_a_snapshot_has_exactly_its_content(raie: Raie, registry: Registry) -> None:
    ran = raie("rollback", "--to", "edit:2")
    assert ran.code == 0
    assert registry.resolve(MODEL, "head").content == registry.resolve(MODEL, "edit:2").content
    assert "already" in raie("rollback", "--to", "edit:2").out


def test_a_dry_run_of_a_rollback_says_what_the_rollback_then_does_and_commits_nothing(
    raie: Raie, registry: Registry
) -> None:
    history.edit(registry, [2])
    head = registry.head(MODEL)
    planned = raie("rollback", "5", "--cascade", "--dry-run", "--json").json
    assert planned["edits"] == [5, 7]
    assert planned["changes"] == [{"region": 2, "action": "revert", "version": 1}]
    lines = raie("rollback", "5", "--cascade", "--dry-run").out
    assert "undoing edits 5, 7\nregion 2 would go back to version 1\nnothing is committed\n" in lines
    refused = raie("rollback", "5", "--dry-run")
    assert (refused.code, registry.head(MODEL)) == (4, head)
    done = raie("rollback", "5", "--cascade", "--yes", "--json").json
    assert done["snapshot"]["id"] == planned["snapshot"]
    assert "already" in raie("rollback", "--to", "head", "--dry-run").out
    retired = raie("rollback", "--to", "edit:1", "--dry-run").out
    assert "region 3 would be retired" in retired


def test_a_rollback_that_a_later_edit_stands_in_the_way_of_names_it(raie: Raie, registry: Registry) -> None:
    history.edit(registry, [2])
    head = registry.head(MODEL)
    ran = raie("rollback", "5")
    assert ran.code == 4
    assert "7" in ran.err
    assert "--cascade" in ran.err
    assert registry.head(MODEL) == head


def test_a_cascade_asks_first_and_where_it_cannot_ask_changes_nothing(raie: Raie, registry: Registry) -> None:
    history.edit(registry, [2])
    head = registry.head(MODEL)
    refused = raie("rollback", "5", "--cascade")
    assert refused.code == 1
    assert "--yes" in refused.err
    assert registry.head(MODEL) == head
    assert raie("rollback", "5", "--cascade", "--yes").code == 0
    assert (
        registry.resolve(MODEL, "head").content.regions[2] == registry.resolve(MODEL, "edit:1").content.regions[2]
    )


def test_aliases_are_listed_with_the_edit_they_point_at(raie: Raie, workspace: Workspace) -> None:
    aliases = raie("alias", "list", "--json").json["aliases"]
    assert [(alias["alias"], alias["edit"]) for alias in aliases] == [("production", 4), ("staging", 5)]
    assert [line.split()[:1] for line in raie("alias", "list").out.splitlines()[1:]] == [
        ["production"],
        ["staging"],
    ]


def test_the_history_of_an_alias_is_newest_first(raie: Raie, workspace: Workspace) -> None:
    moves = raie("alias", "history", "--json").json["moves"]
    assert [move["reason"] for move in moves] == ["region 0 first", "passed review"]
    assert [move["from"] is None for move in moves] == [False, True]
    assert raie("alias", "history", "nonsense").code == 1


def test_before_the_first_snapshot_lists_are_empty_and_say_what_to_do(raie: Raie) -> None:
    raie("init")
    for command, key in ((["alias", "list"], "aliases"), (["edit", "list"], "edits"), (["log"], "snapshots")):
        assert "raie " in raie(*command).out
        assert raie(*command, "--json").json[key] == []
