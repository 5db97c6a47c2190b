"""Everything that happened to a model is read at once, by as many statements for a long history as for a short one."""

from __future__ import annotations

import pytest
from sqlalchemy import event

from raie.registry import Author, NotFound, Registry
from raie.registry.db.engine import reading, write
from raie.registry.edits import notes
from raie.registry.edits.undone import undone_edits
from raie.registry.edits.whole_history import WholeHistory, whole_history
from tests.registry.building import MODEL, World


def history_of(registry: Registry, model: str = MODEL) -> WholeHistory:
    with reading(registry.engine) as connection:
        return whole_history(connection, model)


def test_the_history_holds_every_snapshot_edit_move_and_note(any_database: Registry) -> None:
    world = World(any_database)
    first = world.setup()
    any_database.promote(MODEL, "head", "canary", Author("ada"))
    second = world.edit(0, text="a")
    any_database.promote(MODEL, "head", "production", Author("grace", "reviewed"))
    third = world.edit(1, text="b")
    side, _ = any_database.promote_region(MODEL, 1, 2, "canary", Author("ada"))
    back = any_database.rollback_edit(MODEL, 2, Author("ada", "worse"))
    running = world.begin()
    write(any_database.engine, lambda c: notes.tag(c, MODEL, second.id, "autumn", Author("ada")))
    World(any_database, "another model").setup()
    history = history_of(any_database)
    assert [(row.id, row.parent) for row in history.snapshots] == [
        (first.id, None),
        (second.id, first.id),
        (third.id, second.id),
        (side.id, first.id),
        (back.id, third.id),
    ]
    assert history.head == back.id
    assert sorted(history.edits) == list(range(1, running.number + 1))
    assert history.edits[running.number].result is None
    assert [op.change.action for op in history.operations[history.snapshots[-1].edit]] == ["revert"]
    assert [(move.alias, move.source, move.target, move.reason) for move in history.moves] == [
        ("canary", None, first.id, ""),
        ("production", None, second.id, "reviewed"),
        ("canary", first.id, side.id, ""),
    ]
    assert history.aliases == {"canary": side.id, "production": second.id}
    assert history.annotations[second.id].tag_names == ("autumn",)
    assert undone_edits(history.landed()) == {2: back.edit}


def test_a_long_history_takes_as_many_statements_as_a_short_one(any_database: Registry) -> None:
    world = World(any_database)
    world.setup()
    short = statements(any_database)
    for number in range(6):
        world.edit(number % 3, text=str(number))
        any_database.promote(MODEL, "head", "production", Author("ada"))
    assert len(history_of(any_database).snapshots) == 7
    assert statements(any_database) == short <= 12


def statements(registry: Registry) -> int:
    seen: list[str] = []

    def count(connection, cursor, statement, *others) -> None:  # type: ignore[no-untyped-def]
        seen.append(statement)

    event.listen(registry.engine, "before_cursor_execute", count)
    try:
        history_of(registry)
    finally:
        event.remove(registry.engine, "before_cursor_execute", count)
    return len(seen)


def test_no_blob_is_read(local_registry: Registry) -> None:
    world = World(local_registry)
    world.setup()
    for file in (blob for blob in local_registry.store.root.rglob("*") if blob.is_file()):  # type: ignore[attr-defined]
        file.unlink()
    assert len(history_of(local_registry).snapshots) == 1


def test_an_unknown_model_is_named(local_registry: Registry) -> None:
    World(local_registry).setup()
    with pytest.raises(NotFound, match="recsis"):
        history_of(local_registry, "recsis")
