"""An alias moves to a whole coherent state, only from where it was believed to be, and every move is kept."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from sqlalchemy import insert

from raie.registry import (
    AliasConflict,
    Author,
    BlobMissing,
    IncompatibleRegions,
    InvalidValue,
    NotFound,
    Registry,
    RegistryError,
    lineage,
    trust,
)
from raie.registry.db.tables import aliases
from raie.registry.maintenance.verify import verify
from raie.registry.states import EditKind
from tests.conftest import Ready
from tests.registry.building import MODEL, World


@pytest.fixture
def world(ready: Ready) -> World:
    return World(ready(two_edits))


def two_edits(registry: Registry) -> None:
    world = World(registry)
    world.setup()
    world.edit(0, text="a")
    world.edit(1, text="b")


def pointed(world: World) -> dict[str, str]:
    return {alias.name: alias.snapshot for alias in world.registry.aliases(MODEL)}


def test_an_alias_points_where_it_was_moved_and_every_move_is_kept(registry: Registry) -> None:
    world = World(registry)
    first = world.setup()
    second = world.edit(1, text="a")
    registry.promote(MODEL, "edit:1", "production", Author("ada", "first"))
    move = registry.promote(MODEL, "head", "production", Author("bob", "better recall"))
    registry.promote(MODEL, "head", "candidate", Author("ada"))
    assert pointed(world) == {"production": second.id, "candidate": second.id}
    history = registry.alias_history(MODEL, "production")
    assert history[0] == move
    assert [(m.source, m.target, m.actor, m.reason) for m in history] == [
        (first.id, second.id, "bob", "better recall"),
        (None, first.id, "ada", "first"),
    ]
    assert verify(registry).ok


def test_whoever_promotes_what_lost_a_blob_is_refused_and_the_alias_stays(local_registry: Registry) -> None:
    world = World(local_registry)
    first = world.setup()
    lost = world.edit(1, text="a").content.regions[1]["state"]
    local_registry.promote(MODEL, "edit:1", "production", Author("ada"))
    local_registry.store.delete(lost)
    for act in (
        lambda: local_registry.promote(MODEL, "head", "production", Author("ada")),
        lambda: local_registry.promote_region(MODEL, 1, 2, "production", Author("ada")),
    ):
        with pytest.raises(BlobMissing, match=lost):
            act()
    assert pointed(world) == {"production": first.id}


def test_an_alias_that_moved_meanwhile_is_not_moved_by_who_did_not_know(world: World) -> None:
    world.registry.promote(MODEL, "edit:1", "production", Author("ada"))
    world.registry.promote(MODEL, "edit:2", "production", Author("bob"), expected="edit:1")
    with pytest.raises(AliasConflict) as refused:
        world.registry.promote(MODEL, "edit:3", "production", Author("ada"), expected="edit:1")
    assert refused.value.expected == world.registry.resolve(MODEL, "edit:1").id
    assert refused.value.actual == world.registry.resolve(MODEL, "edit:2").id
    assert pointed(world) == {"production": refused.value.actual}


def test_a_new_alias_may_be_required_to_be_new(world: World) -> None:
    world.registry.promote(MODEL, "edit:1", "production", Author("ada"), expected="")
    with pytest.raises(AliasConflict, match="no snapshot"):
        world.registry.promote(MODEL, "edit:2", "production", Author("ada"), expected="")
    with pytest.raises(AliasConflict, match="no snapshot"):
        world.registry.promote(MODEL, "edit:2", "staging", Author("ada"), expected="edit:1")


def test_promoting_again_is_the_same_move(world: World) -> None:
    first = world.registry.promote(MODEL, "edit:2", "production", Author("ada", "once"), expected="")
    again = world.registry.promote(MODEL, "edit:2", "production", Author("ada", "twice"))
    assert (again, first.repeated, again.repeated) == (first, False, True)
    assert world.registry.promote(MODEL, "edit:2", "production", Author("ada"), expected="edit:2") == first
    assert world.registry.alias_history(MODEL, "production") == [first]


def test_what_is_expected_of_an_alias_is_compared_where_nothing_would_move_too(world: World) -> None:
    world.registry.promote(MODEL, "edit:2", "production", Author("ada"))
    for expected in ("", "edit:1"):
        with pytest.raises(AliasConflict):
            world.registry.promote(MODEL, "edit:2", "production", Author("ada"), expected=expected)
    with pytest.raises(NotFound):
        world.registry.promote(MODEL, "edit:2", "production", Author("ada"), expected="nothing")


NO_ALIAS = ["head", "HEAD", "edit:3", "a" * 64, "7829a0dee054", "face", "CAFE", "", " x", "a\nb", "my alias"]
NO_ALIAS += ["1", "*", "--x", "a,b", ".a", "Käse", "a" * 201]


@pytest.mark.parametrize("name", NO_ALIAS)
def test_an_alias_that_would_read_as_something_else_is_refused(world: World, name: str) -> None:
    for make in (
        lambda: world.registry.promote(MODEL, "head", name, Author("ada")),
        lambda: trust.rehearse(world.registry, MODEL, "head", name),
        lambda: trust.set_policy(world.registry, MODEL, name, {"locality": True}, author=Author("ada")),
    ):
        with pytest.raises(InvalidValue, match=r"[Aa]n? .*alias"):
            make()
    assert pointed(world) == {}


@pytest.mark.parametrize("name", ["a", "abc", "Production", "eu/prod-1", "v2.1_final", "headline"])
def test_an_alias_may_be_any_word(world: World, name: str) -> None:
    assert world.registry.promote(MODEL, "head", name, Author("ada")).alias == name


def test_an_alias_of_an_older_raie_is_read_and_moved_whatever_its_name(world: World) -> None:
    old = world.registry.resolve(MODEL, "edit:1").id
    row = {"model": MODEL, "name": "my alias", "snapshot": old, "moved_at": 0.0}
    with world.registry.engine.begin() as connection:
        connection.execute(insert(aliases).values(row))
    assert world.registry.resolve(MODEL, "my alias").id == old
    assert world.registry.promote(MODEL, "head", "my alias", Author("ada")).source == old
    trust.set_policy(world.registry, MODEL, "my alias", {"locality": True}, author=Author("ada"))


def test_what_does_not_exist_cannot_be_promoted(world: World) -> None:
    for call in (
        lambda: world.registry.promote(MODEL, "nothing", "production", Author("ada")),
        lambda: world.registry.promote_region(MODEL, 1, 1, "nowhere", Author("ada")),
        lambda: world.registry.promote_region(MODEL, 1, 9, "nowhere", Author("ada")),
        lambda: world.registry.alias_history(MODEL, "nowhere"),
    ):
        with pytest.raises(NotFound):
            call()


def test_of_many_who_promote_at_once_each_saw_where_the_alias_was(world: World) -> None:
    world.registry.promote(MODEL, "edit:1", "production", Author("ada"))
    refused: list[RegistryError] = []

    def move(to: str) -> None:
        try:
            world.registry.promote(MODEL, to, "production", Author("ada"), expected="edit:1")
        except AliasConflict as error:
            refused.append(error)

    threads = [threading.Thread(target=move, args=(to,)) for to in ("edit:2", "edit:3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(refused) == 1
    assert len(world.registry.alias_history(MODEL, "production")) == 2


def test_one_region_s_version_goes_to_production_alone(registry: Registry) -> None:
    world = World(registry)
    first = world.setup()
    world.edit(0, text="a")
    head = world.edit(1, text="b")
    registry.promote(MODEL, "edit:1", "production", Author("ada"))
    picked, move = registry.promote_region(MODEL, 1, 2, "production", Author("ada", "only this one"))
    assert picked.content.regions[1] == head.content.regions[1]
    assert picked.content.regions[0] == first.content.regions[0]
    assert picked.parent == first.id
    assert (move.source, move.target, move.reason) == (first.id, picked.id, "only this one")
    assert world.head == head
    assert registry.edit(MODEL, picked.edit).kind == EditKind.CHERRY_PICK
    assert registry.edit(MODEL, picked.edit).parameters == {"alias": "production", "region": 1, "version": 2}
    (operation,) = lineage.operations(registry, MODEL, picked.edit)
    assert (operation.change.action, operation.version) == ("replace", 2)
    assert verify(registry).ok


def test_cherry_picking_again_is_the_same_snapshot_and_move(world: World) -> None:
    world.registry.promote(MODEL, "edit:1", "production", Author("ada"))
    first = world.registry.promote_region(MODEL, 1, 2, "production", Author("ada"))
    assert world.registry.promote_region(MODEL, 1, 2, "production", Author("ada")) == first
    world.registry.promote(MODEL, "edit:1", "staging", Author("ada"))
    again, _ = world.registry.promote_region(MODEL, 1, 2, "staging", Author("ada"))
    assert again == first[0]


def test_a_cherry_pick_that_an_edit_made_already_is_that_edit_s_snapshot(world: World) -> None:
    world.registry.promote(MODEL, "edit:1", "production", Author("ada"))
    picked, _ = world.registry.promote_region(MODEL, 0, 2, "production", Author("ada"))
    assert picked == world.registry.resolve(MODEL, "edit:2")


def test_an_edit_that_lands_on_what_was_picked_already_is_that_snapshot(any_database: Registry) -> None:
    world = World(any_database)
    world.setup()
    world.edit(1, text="a")
    world.registry.rollback_to(MODEL, "edit:1", Author("ada"))
    world.registry.promote(MODEL, "head", "production", Author("ada"))
    picked, _ = world.registry.promote_region(MODEL, 1, 2, "production", Author("ada"))
    landed = world.edit(1, text="a")
    assert landed.id == picked.id
    assert world.head.id == picked.id
    assert (
        world.registry.rollback_edit(MODEL, 5, Author("ada")).content
        == world.registry.resolve(MODEL, "edit:1").content
    )
    assert verify(world.registry).ok


def test_the_rows_a_region_refers_to_come_with_it(world: World) -> None:
    grown = (*world.head.content.shared["catalogue"], world.blob("items 1"))
    world.edit(2, text="c", catalogue=grown)
    world.registry.promote(MODEL, "edit:1", "production", Author("ada"))
    picked, _ = world.registry.promote_region(MODEL, 2, 2, "production", Author("ada"))
    assert picked.content.shared["catalogue"] == grown


def test_a_region_of_another_routing_space_is_refused(world: World) -> None:
    world.registry.promote(MODEL, "edit:1", "production", Author("ada"))
    moved = replace(world.changed(world.head.content, {1: "z"}), space=world.blob("space 2"))
    world.commit(world.begin(), moved, 1)
    with pytest.raises(IncompatibleRegions, match="whole snapshot"):
        world.registry.promote_region(MODEL, 1, 3, "production", Author("ada"))


def test_a_region_whose_catalogue_grew_apart_is_refused_for_its_rows_mean_other_items(world: World) -> None:
    base = world.head.content.shared["catalogue"]
    world.edit(1, text="x", catalogue=(*base, world.blob("items 1")))
    world.registry.rollback_to(MODEL, "edit:3", Author("ada"))
    world.edit(2, text="y", catalogue=(*base, world.blob("other items")))
    world.registry.promote(MODEL, "head", "production", Author("ada"))
    with pytest.raises(IncompatibleRegions, match="catalogue"):
        world.registry.promote_region(MODEL, 1, 3, "production", Author("ada"))
