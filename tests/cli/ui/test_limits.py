"""A long history is shown to a limit, which says so, and as the beginning of the whole; it is never read whole for it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from raie.cli.ui.tree import graph
from raie.migrations import upgrade
from raie.registry import Registry, lineage
from raie.workspace_file import draft, find
from tests.benchmarks.filling import Layout, fill, model_name
from tests.cli.conftest import Raie

SNAPSHOTS = 220
LONG = Layout(models=1, regions=2, snapshots=SNAPSHOTS, changes=1)
MODEL = model_name(0)

COMMANDS = {
    ("log",): "snapshots",
    ("edit", "list"): "edits",
    ("alias", "history"): "moves",
    ("audit", "log"): "events",
    ("regions", "show", "1"): "versions",
}
"""What lists something long, and the key under which it does."""


@pytest.fixture(scope="module")
def long_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose one model has a long history, written once."""
    folder = tmp_path_factory.mktemp("long")
    (folder / "raie.toml").write_text(draft(None, None, MODEL), encoding="utf-8")
    workspace = find(folder)
    upgrade(workspace.database)
    fill(workspace.registry().engine, LONG, range(1))
    return folder


@pytest.fixture
def long(long_folder: Path, tmp_path: Path) -> Registry:
    """A copy of it in the current folder."""
    shutil.copytree(long_folder, tmp_path, dirs_exist_ok=True)
    return find(tmp_path).registry()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_screen_of_the_newest_is_shown_and_that_there_is_more(
    raie: Raie, long: Registry, command: tuple[str, ...]
) -> None:
    key = COMMANDS[command]
    few, all_of_them = raie(*command, "--json").json, raie(*command, "-n", "9999", "--json").json
    assert (len(few[key]), few["more"], all_of_them["more"]) == (20, True, False)
    assert few[key] == all_of_them[key][:20]
    exact = raie(*command, "-n", str(len(all_of_them[key])), "--json").json
    assert exact == all_of_them, "exactly as many as there are is all of them"
    assert raie(*command).out.splitlines()[-1] == f"older {key} follow: raise --limit"
    assert "--limit" not in raie(*command, "-n", "9999").out


def test_the_lineage_of_a_region_that_was_changed_often_ends_and_says_so(raie: Raie, long: Registry) -> None:
    few = raie("lineage", "--json", "-n", "3").json["regions"]
    assert [(len(region["from"]), region["more"]) for region in few] == [(3, True)] * LONG.regions
    whole = raie("lineage", "edit:8", "--region", "0", "--json").json["regions"][0]
    assert ([link["edit"] for link in whole["from"]], whole["more"]) == ([8, 6, 4, 2, 1], False)
    assert "older versions follow: raise --limit" in raie("lineage", "-n", "3").out


def test_an_open_edit_is_found_however_many_came_after_it(raie: Raie, long: Registry) -> None:
    long.store.make_root()  # type: ignore[attr-defined]
    number = long.begin(MODEL, "edit", seed=1, actor="ada").number
    assert raie("log", "-n", "1", "--json").json["open_edits"] == [number]
    assert [edit["edit"] for edit in raie("edit", "list", "--open", "--json").json["edits"]] == [number]
    assert [edit.number for edit in long.edits(MODEL, only_open=True)] == [number]
    assert [edit.number for edit in long.edits(MODEL, limit=2)] == [number, number - 1]


def test_a_walk_over_a_history_holds_a_small_part_of_it(long: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each content names every blob of its snapshot, so ten thousand of them were hundreds of megabytes."""
    entries = lineage.history(long, MODEL)
    assert [entry.snapshot.edit for entry in entries] == list(range(SNAPSHOTS, 0, -1))
    assert list(lineage.walk(long, MODEL, 7)) == entries[:7]
    read: list[Any] = []
    snapshot_of = lineage.snapshot_of
    monkeypatch.setattr(lineage, "snapshot_of", lambda row: read.append(row.id) or snapshot_of(row))
    walked = lineage.walk(long, MODEL)
    assert next(walked) == entries[0]
    assert len(read) < SNAPSHOTS / 4
    assert list(walked) == entries[1:]


NODES = [("s6", "s5"), ("s5", "s3"), ("s4", "s2"), ("s3", "s2"), ("c", "s1"), ("s2", "s1"), ("s1", None)]
"""A head, and two compositions beside its line."""


@pytest.mark.parametrize("head", ["s6", "s5", "s3"])
@pytest.mark.parametrize("shown", range(len(NODES) + 1))
def test_the_lanes_of_a_part_are_those_of_the_whole(head: str, shown: int) -> None:
    assert graph(NODES[:shown], head) == graph(NODES, head)[:shown]
