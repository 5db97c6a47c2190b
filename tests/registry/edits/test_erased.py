"""What an erasure bars: nothing brings a snapshot that holds the erased user into use again."""

from __future__ import annotations

import pytest

from raie.registry import Author, EditStateError, Registry, Snapshot, SnapshotErased
from raie.registry.edits.erased import barred_edits, erasing_edit
from raie.registry.maintenance.verify import verify
from tests.registry.building import MODEL, World, change

ADA = Author("ada", "request 17")


@pytest.fixture
def world(any_database: Registry) -> World:
    """Edits 2 to 4 of three regions; edit 3 brought the user, whom edit 5 erases from regions 1 and 2."""
    world = World(any_database)
    world.setup()
    for region in (0, 1, 2):
        world.edit(region, text="a")
    erased = world.registry.begin(
        MODEL, "erase", seed=0, author=ADA, parameters={"user": "hash", "first": _of(world, 3).id}
    )
    content = world.changed(world.head.content, {1: "without", 2: "without"})
    changes = [change(region, "erase") for region in (1, 2)]
    world.registry.commit(MODEL, erased.number, content, changes)
    return world


def _of(world: World, edit: int) -> Snapshot:
    return world.registry.resolve(MODEL, f"edit:{edit}")


def test_snapshots_since_the_user_came_and_before_the_erasure_are_barred(world: World) -> None:
    world.edit(0, text="later")
    with world.registry.engine.connect() as connection:
        barring = [erasing_edit(connection, MODEL, _of(world, edit).id) for edit in (1, 2, 3, 4, 5, 6)]
        edits = barred_edits(connection, MODEL, world.head.id)
    assert barring == [None, None, 5, 5, None, None]
    assert edits == {3: 5, 4: 5, 5: 5}


def test_a_rollback_and_a_promotion_to_a_barred_snapshot_are_refused_and_change_nothing(world: World) -> None:
    head = world.head.id
    for edit in (3, 4):
        with pytest.raises(SnapshotErased, match="whom edit 5"):
            world.registry.rollback_to(MODEL, f"edit:{edit}", ADA)
        with pytest.raises(SnapshotErased, match="use a snapshot since then"):
            world.registry.promote(MODEL, f"edit:{edit}", "production", ADA)
    assert (world.head.id, world.registry.aliases(MODEL)) == (head, [])
    world.registry.promote(MODEL, "edit:2", "production", ADA)  # is older than the user
    world.registry.promote(MODEL, "head", "production", ADA)
    assert world.registry.rollback_to(MODEL, "edit:2", ADA).content == _of(world, 2).content
    assert verify(world.registry).ok


def test_the_erasure_and_the_edits_before_it_cannot_be_undone_not_even_by_a_cascade(world: World) -> None:
    world.edit(0, text="later")
    for edit in (3, 4, 5):
        with pytest.raises(EditStateError, match="edit 5 erased a user"):
            world.registry.rollback_edit(MODEL, edit, ADA, cascade=True)
    world.registry.rollback_edit(MODEL, 6, ADA)
    assert world.head.content == _of(world, 5).content


def test_a_side_branch_of_a_barred_snapshot_is_barred_too(world: World) -> None:
    registry = world.registry
    barred = World(registry, "another")
    barred.setup()
    first = barred.edit(0, text="a")
    registry.promote("another", "head", "staging", ADA)
    erased = registry.begin("another", "erase", seed=0, author=ADA, parameters={"user": "hash", "first": first.id})
    content = barred.changed(barred.head.content, {0: "without"})
    registry.commit("another", erased.number, content, [change(0, "erase")])
    side, _ = registry.promote_region("another", 0, 1, "staging", ADA)
    with pytest.raises(SnapshotErased, match="whom edit 3"):
        registry.promote("another", side.id, "production", ADA)
