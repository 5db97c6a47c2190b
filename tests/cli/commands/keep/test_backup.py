"""`raie backup` and `raie restore` say what they did, and change nothing that nobody asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

from raie.workspace import Workspace
from tests.cli.conftest import Raie


def test_a_lost_workspace_comes_back_from_a_backup_with_its_blobs(raie: Raie, workspace: Workspace) -> None:
    made = raie("backup", "monday", "--blobs", "--json").json
    assert made["with_blobs"]
    assert made["blobs"] > 0
    assert raie("backup", "monday").code == 2
    head = raie("status", "--json").json["head"]
    refused = raie("restore", "monday")
    assert refused.code == 2
    assert "--replace puts it aside" in refused.err
    shutil.rmtree(workspace.folder / ".raie")
    shown = raie("restore", "monday")
    assert shown.code == 0, shown.err
    assert f"{made['blobs']} of them taken from the backup" in shown.out
    assert raie("status", "--json").json["head"] == head
    assert raie("verify").code == 0


def test_a_restore_says_what_is_lost_and_keeps_what_was_there(raie: Raie, workspace: Workspace) -> None:
    assert "to be backed up after this" in raie("backup", "monday").out
    raie("promote", "edit:1", "--to", "trial", "--reason", "later")
    assert "Nobody can be asked" in raie("restore", "monday", "--replace").err
    ran = raie("restore", "monday", "--replace", "--yes")
    assert ran.code == 0, ran.err
    assert "later events that the store knows of are not in this backup" in ran.out
    assert len(list((workspace.folder / ".raie").glob("registry.db.replaced-*"))) == 1


def test_a_second_workspace_is_made_beside_the_first(raie: Raie, workspace: Workspace) -> None:
    raie("backup", "monday")
    again = Path("again")
    again.mkdir()
    (again / "raie.toml").write_text(f'store = "{workspace.store}"\n')
    assert raie("restore", "monday", "--to", "again", "--json").json["lost_events"] == 0
    ours, theirs = raie("status", "--json").json, raie("--workspace", "again", "status", "--json").json
    assert theirs["head"] == ours["head"]
