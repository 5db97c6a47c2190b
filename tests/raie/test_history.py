"""What a script reads of a history is what the commands show of it."""

from __future__ import annotations

import pytest

from raie import history, status
from raie.errors import UsageError
from raie.registry import Author, NotFound, Registry
from raie.workspace import Workspace
from tests.cli.conftest import Raie


def test_the_log_has_the_entries_that_the_command_prints_and_no_content(raie: Raie, workspace: Workspace) -> None:
    log = history.log(workspace, limit=2)
    shown = raie("log", "-n", "2", "--json").json
    assert (log.model, log.head, log.more) == (shown["model"], shown["head"], shown["more"])
    assert [entry.id for entry in log.entries] == [entry["id"] for entry in shown["snapshots"]]
    changes = [operation.change for entry in log.entries for operation in entry.operations]
    assert {change.centre for change in changes} == {()}, "a log of many snapshots stays small"
    assert history.log(workspace, limit=6).more is False


def test_the_lineage_of_a_region_goes_back_to_its_first_version(workspace: Workspace) -> None:
    whole = history.lineage(workspace, "production", region=0)
    (region,) = whole.regions
    assert [(link.version.version, link.edit.number) for link in region.links] == [(2, 3), (1, 1)]
    assert (whole.edit.number, whole.aliases, whole.is_head, region.more) == (4, ("production",), False, False)
    (newest,) = history.lineage(workspace, "production", region=0, limit=1).regions
    assert (len(newest.links), newest.more) == (1, True)
    with pytest.raises(UsageError, match="has no region 9"):
        history.lineage(workspace, region=9)


def test_the_regions_of_a_snapshot_share_all_members(workspace: Workspace) -> None:
    regions = history.regions(workspace)
    assert [version.region for version in regions.versions] == [0, 1, 2, 3]
    assert sum(map(regions.weight, regions.versions)) == pytest.approx(1.0)
    versions = history.region_versions(workspace, 0)
    assert dict(versions.held_by) == {
        2: ("head", "production", "staging"),
        1: (),
    }
    with pytest.raises(NotFound, match="found none numbered 9"):
        history.region_versions(workspace, 9)


def test_the_status_names_the_head_the_aliases_and_what_is_open(workspace: Workspace, registry: Registry) -> None:
    registry.begin(workspace.model, "edit", seed=1, author=Author("grace"))
    state = status.status(workspace)
    assert state.head is not None
    assert (state.head.snapshot, state.head.edit.kind) == (registry.head(workspace.model), "rollback")
    assert state.head.learned_until is None, "this history holds no log"
    assert [(alias.alias.name, alias.edit, state.is_head(alias)) for alias in state.aliases] == [
        ("production", 4, False),
        ("staging", 5, False),
    ]
    assert [edit.number for edit in state.open_edits] == [7]
