"""The names that a shell completes are the same on both databases."""

from __future__ import annotations

from raie.registry import Author, Registry
from raie.registry.db.engine import write
from raie.registry.db.name_queries import NAME_QUERIES, named_rows
from raie.registry.edits import notes
from tests.registry.building import MODEL, World


def test_every_query_lists_the_names_of_one_model_on_both_databases(any_database: Registry) -> None:
    world = World(any_database)
    first = world.setup()
    newest = world.edit(0, text="a")
    World(any_database, "another").setup()
    any_database.promote(MODEL, "head", "production", Author("ada"))
    write(any_database.engine, lambda c: notes.tag(c, MODEL, "head", "frozen", Author("ada")))
    bound = {"model": MODEL, "limit": 40, "start": f"{newest.id[:6]}%"}
    rows = {what: named_rows(any_database.engine, what, bound) for what in NAME_QUERIES}
    assert rows["aliases"] == [("production", newest.id)]
    assert [row[0] for row in rows["edits"]] == [2, 1]
    assert [row[:2] for row in rows["snapshots"]] == [(newest.id, 2)]
    assert rows["regions"][0] == (0, 2)
    assert rows["tags"] == [("frozen",)]
    assert len(named_rows(any_database.engine, "snapshots", bound | {"start": "%"})) == 2
    assert first.id != newest.id
