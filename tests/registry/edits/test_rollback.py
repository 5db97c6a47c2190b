"""A rollback gives back exactly what was, keeps exactly what is not its business, and deletes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raie.registry import Author, EditStateError, NotFound, Registry, RollbackConflict, lineage
from raie.registry.maintenance.verify import verify
from tests.conftest import Ready
from tests.registry.building import MODEL, World, set_up


@pytest.fixture
def world(ready: Ready) -> World:
    return World(ready(set_up))


def test_a_rollback_to_a_snapshot_has_exactly_its_content_everywhere(registry: Registry) -> None:
    world = World(registry)
    first = world.setup()
    second = world.edit(0, 1, text="a", catalogue=(*first.content.shared["catalogue"], world.blob("items 1")))
    back = registry.rollback_to(MODEL, first.id, Author("ada", "worse in production"))
    assert back.content == first.content
    assert back.content.digest == first.content.digest
    assert back.parent == second.id
    assert back.id not in (first.id, second.id)
    edit = registry.edit(MODEL, back.edit)
    assert (edit.kind, edit.state, edit.actor, edit.reason) == (
        "rollback",
        "committed",
        "ada",
        "worse in production",
    )
    assert edit.parameters == {"to": first.id}
    assert registry.resolve(MODEL, second.id) == second
    assert verify(registry).ok


def test_a_rollback_can_be_rolled_back(world: World) -> None:
    edited = world.edit(1, text="a")
    world.registry.rollback_to(MODEL, "edit:1", Author("ada"))
    again = world.registry.rollback_to(MODEL, edited.id, Author("ada"))
    assert again.content == edited.content
    world.registry.rollback_edit(MODEL, again.edit, Author("ada"))
    assert world.head.content == world.registry.resolve(MODEL, "edit:1").content


def test_rolling_back_the_newest_edit_gives_its_base_exactly_item_rows_included(world: World) -> None:
    base = world.head
    grown = (*base.content.shared["catalogue"], world.blob("items 1"))
    edited = world.edit(0, 7, text="a", catalogue=grown, add_buffer=(world.blob("waiting"),))
    back = world.registry.rollback_edit(MODEL, edited.edit, Author("ada"))
    assert back.content == base.content
    assert 7 not in back.content.regions


def test_rolling_back_one_edit_leaves_a_later_one_of_another_region_byte_for_byte(registry: Registry) -> None:
    world = World(registry)
    base = world.setup()
    first = world.edit(1, text="a", watermark=(world.blob("mark 1"),))
    second = world.edit(2, text="b", watermark=(world.blob("mark 2"),))
    back = registry.rollback_edit(MODEL, first.edit, Author("ada"))
    assert back.content.regions[1] == base.content.regions[1]
    assert back.content.regions[2] == second.content.regions[2]
    assert back.content.shared["watermark"] == second.content.shared["watermark"]
    assert registry.get(back.content.regions[2]["lora"]) == b"lora 2 b"
    assert back.parent == second.id


def test_items_that_a_later_edit_may_refer_to_stay(world: World) -> None:
    grown = (*world.head.content.shared["catalogue"], world.blob("items 1"))
    first = world.edit(1, text="a", catalogue=grown)
    world.edit(2, text="b")
    assert world.registry.rollback_edit(MODEL, first.edit, Author("ada")).content.shared["catalogue"] == grown


def test_where_a_later_edit_changed_the_same_region_it_is_named_and_nothing_moves(world: World) -> None:
    first = world.edit(0, 1, text="a")
    world.edit(2, text="b")
    third = world.edit(1, 2, text="c")
    with pytest.raises(RollbackConflict, match=r"found edit 4; .*--cascade.*--to") as refused:
        world.registry.rollback_edit(MODEL, first.edit, Author("ada"))
    assert refused.value.edits == (third.edit,)
    assert world.head == third


def test_cascade_undoes_the_later_edits_in_the_way_and_only_those(world: World) -> None:
    base = world.head
    first = world.edit(0, text="a")
    second = world.edit(2, text="b")
    third = world.edit(0, 1, text="c")
    fourth = world.edit(1, text="d")
    back = world.registry.rollback_edit(MODEL, first.edit, Author("ada"), cascade=True)
    assert back.content.regions[0] == base.content.regions[0]
    assert back.content.regions[1] == base.content.regions[1]
    assert back.content.regions[2] == second.content.regions[2]
    assert world.registry.edit(MODEL, back.edit).parameters == {"edits": [first.edit, third.edit, fourth.edit]}


def test_a_later_edit_that_is_undone_already_is_not_in_the_way(world: World) -> None:
    base = world.head
    first = world.edit(1, text="a")
    second = world.edit(1, text="b")
    world.registry.rollback_edit(MODEL, second.edit, Author("ada"))
    assert world.registry.rollback_edit(MODEL, first.edit, Author("ada")).content == base.content


def test_rolling_back_twice_is_rolling_back_once(world: World) -> None:
    first = world.edit(1, text="a")
    world.edit(2, text="b")
    back = world.registry.rollback_edit(MODEL, first.edit, Author("ada"))
    assert world.registry.rollback_edit(MODEL, first.edit, Author("ada")) == back
    assert world.registry.rollback_to(MODEL, back.id, Author("ada")) == back
    assert len(world.registry.edits(MODEL)) == 4


def test_a_replayed_edit_is_undone_from_where_it_landed_not_from_where_it_began(world: World) -> None:
    base = world.head
    edit_a, second = world.begin(), world.begin()
    first = world.commit(edit_a, world.changed(base.content, {1: "a"}), 1)
    world.commit(second, world.changed(base.content, {2: "b"}), 2)
    back = world.registry.rollback_edit(MODEL, second.number, Author("ada"))
    assert back.content == first.content


def test_a_retired_region_comes_back_with_the_version_it_had(world: World) -> None:
    edit, before = world.begin(), world.head
    rest = {region: entry for region, entry in before.content.regions.items() if region != 2}
    retired = world.commit(edit, replace(before.content, regions=rest), 2)
    assert 2 not in retired.content.regions
    back = world.registry.rollback_edit(MODEL, edit.number, Author("ada"))
    assert back.content == before.content
    (operation,) = lineage.operations(world.registry, MODEL, back.edit)
    assert (operation.version, operation.change.action, operation.change.radius) == (1, "revert", 0.4)


def test_a_rollback_says_which_regions_went_back_to_which_version_and_how_far(world: World) -> None:
    world.edit(1, text="a")
    world.edit(1, 3, text="b")
    back = world.registry.rollback_to(MODEL, "edit:2", Author("ada"))
    edit = lineage.operations(world.registry, MODEL, back.edit)
    assert [(o.change.region, o.change.action, o.version) for o in edit] == [
        (1, "revert", 2),
        (3, "retire", None),
    ]
    assert edit[0].change.count == 300


@pytest.mark.parametrize(("number", "expected"), [(1, "set 'recsys' up"), (2, "running"), (3, "aborted")])
def test_an_edit_with_nothing_to_undo_is_refused(world: World, number: int, expected: str) -> None:
    world.begin()
    world.registry.abort(MODEL, world.begin().number)
    with pytest.raises(EditStateError, match=expected):
        world.registry.rollback_edit(MODEL, number, Author("ada"))


def test_a_cherry_pick_is_undone_by_moving_its_alias_not_by_a_rollback(world: World) -> None:
    world.registry.promote(MODEL, "edit:1", "production", Author("ada"))
    world.edit(0, text="other")
    world.edit(1, text="a")
    picked, _ = world.registry.promote_region(MODEL, 1, 2, "production", Author("ada"))
    with pytest.raises(EditStateError, match="promote another snapshot"):
        world.registry.rollback_edit(MODEL, picked.edit, Author("ada"))


def test_rolling_back_to_nowhere_names_what_there_is(world: World) -> None:
    with pytest.raises(NotFound, match="head"):
        world.registry.rollback_to(MODEL, "nowhere", Author("ada"))
