"""Where every part of a snapshot came from can be read off, without reading a blob."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from raie.registry import Author, NotFound, Registry, lineage
from raie.registry.states import EditKind
from tests.conftest import Ready
from tests.registry.building import MODEL, World


@pytest.fixture
def world(ready: Ready) -> World:
    return World(ready(cherry_picked))


def cherry_picked(registry: Registry) -> None:
    """A setup, two edits, and an alias that serves a region of the second one."""
    world = World(registry)
    world.setup()
    world.edit(0, text="a")
    world.registry.promote(MODEL, "edit:1", "production", Author("ada"))
    world.edit(1, 3, text="b", watermark=(world.blob("mark 1"),))
    world.registry.promote_region(MODEL, 3, 1, "production", Author("ada"))


def test_the_history_is_newest_first_with_edits_aliases_and_side_branches(world: World) -> None:
    entries = lineage.history(world.registry, MODEL)
    assert [(e.edit.number, e.edit.kind, e.aliases, e.is_head) for e in entries] == [
        (4, EditKind.CHERRY_PICK, ("production",), False),
        (3, "edit", (), True),
        (2, "edit", (), False),
        (1, "setup", (), False),
    ]
    assert entries[0].snapshot.parent == entries[3].snapshot.id
    assert entries[1].snapshot == world.head
    assert [operation.change.region for operation in entries[1].operations] == [1, 3]
    assert lineage.history(world.registry, MODEL, limit=2) == entries[:2]


def test_a_region_s_history_tells_every_edit_that_touched_it(world: World) -> None:
    world.registry.rollback_edit(MODEL, 2, Author("ada", "worse"))
    steps = lineage.region_history(world.registry, MODEL, 0)
    assert [(s.edit.number, s.operation.change.action, s.operation.version) for s in steps] == [
        (5, "revert", 1),
        (2, "update", 2),
        (1, "setup", 1),
    ]
    assert steps[0].edit.reason == "worse"
    assert lineage.region_history(world.registry, MODEL, 99) == []


def test_a_version_knows_the_edit_and_the_geometry_it_came_with(world: World) -> None:
    versions = lineage.adapter_versions(world.registry, MODEL)
    assert [(v.region, v.version, v.edit) for v in versions] == [
        (0, 1, 1),
        (0, 2, 2),
        (1, 1, 1),
        (1, 2, 3),
        (2, 1, 1),
        (3, 1, 3),
    ]
    latest = lineage.adapter_versions(world.registry, MODEL, 1)[-1]
    assert latest.entry == world.head.content.regions[1]
    assert latest.snapshot == world.head.id
    assert (latest.change.radius, latest.change.concentration, latest.change.count) == (0.4, 20.0, 300)
    assert latest.change.centre == (0.0, 1.0, 0.0, 0.0)


def test_a_snapshot_says_which_version_of_each_region_it_holds(world: World) -> None:
    held = lineage.versions_in(world.registry, world.head)
    assert {region: version.version for region, version in held.items()} == {0: 2, 1: 2, 2: 1, 3: 1}
    served = lineage.versions_in(world.registry, world.registry.resolve(MODEL, "production"))
    assert {region: version.version for region, version in served.items()} == {0: 1, 1: 1, 2: 1, 3: 1}


def test_a_difference_names_regions_and_shared_parts(world: World) -> None:
    older, newer = world.registry.resolve(MODEL, "edit:2"), world.head
    difference = lineage.diff(older, newer)
    assert (difference.added, difference.removed, difference.changed) == ((3,), (), (1,))
    assert (difference.shared, difference.backbone, difference.space) == (("watermark",), (), False)
    assert lineage.find_all(world.registry, MODEL, [older.id, newer.id[:12]]) == [older, newer]
    back = lineage.diff(newer, older)
    assert (back.added, back.removed, back.changed) == ((), (3,), (1,))
    same = lineage.diff(newer, newer)
    assert same == lineage.Diff((), (), (), (), (), False)


def test_nothing_of_it_needs_the_store(world: World) -> None:
    shutil.rmtree(Path(str(world.registry.store.root)))  # type: ignore[attr-defined]
    assert len(lineage.history(world.registry, MODEL)) == 4
    assert len(lineage.operations(world.registry, MODEL, 3)) == 2
    assert world.registry.resolve(MODEL, "production").parent == world.registry.resolve(MODEL, "edit:1").id


def test_what_is_not_there_is_named(world: World) -> None:
    for call in (
        lambda: lineage.history(world.registry, "recsis"),
        lambda: lineage.operations(world.registry, MODEL, 9),
        lambda: lineage.adapter_versions(world.registry, "recsis"),
        lambda: lineage.region_history(world.registry, "recsis", 0),
    ):
        with pytest.raises(NotFound):
            call()
