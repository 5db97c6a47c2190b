"""The log of what was done cannot be changed, and where somebody changes it all the same, it shows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from raie.registry import Author, InvalidValue, Registry, audit
from raie.registry.audit import ChainReport
from raie.registry.db import triggers
from raie.registry.db.engine import reading
from raie.registry.maintenance.expiry import Rule, expire
from raie.registry.maintenance.verify import gc
from raie.registry.states import AuditAction
from tests.conftest import Ready
from tests.registry.building import MODEL, World


@pytest.fixture
def world(ready: Ready) -> World:
    return World(ready(five_events))


def five_events(registry: Registry) -> None:
    """A setup begun and committed, an edit begun and committed, a promotion."""
    world = World(registry)
    world.setup()
    world.edit(1, text="a")
    registry.promote(MODEL, "head", "production", Author("ada", "looks good"))


def chain(world: World, *checkpoints: str) -> ChainReport:
    with reading(world.registry.engine) as connection:
        return audit.verify_chain(connection, map(audit.parse_checkpoint, checkpoints))


def tamper(engine: Engine, *statements: str) -> None:
    """What the owner of the database can do: drop the triggers first."""
    with engine.begin() as connection:
        triggers.drop(connection)
        for statement in statements:
            connection.execute(text(statement))


def test_every_move_is_told_with_who_when_what_and_why(world: World) -> None:
    with reading(world.registry.engine) as connection:
        events = list(audit.events(connection))
    assert [event.action for event in events] == ["identity", "begin", "commit", "begin", "commit", "promote"]
    assert [event.subject for event in events] == [
        "epoch:1",
        *("edit:1", "edit:1", "edit:2", "edit:2"),
        "alias:production",
    ]
    last = events[-1]
    assert (last.actor, last.reason, last.model) == ("ada", "looks good", MODEL)
    assert (last.source, last.target) == (None, world.head.id)
    assert (events[4].source, events[4].target) == (world.head.parent, world.head.id)
    assert last.client.startswith("raie ")
    assert [event.at for event in events] == sorted(event.at for event in events)


def test_every_operation_that_changes_something_is_told(world: World) -> None:
    registry, seen = world.registry, chain(world).events
    events: list[tuple[str, str]] = []

    def after(act: Callable[[], object]) -> None:
        """Does something, and notes which events recorded it."""
        nonlocal seen
        act()
        with reading(registry.engine) as connection:
            new = list(audit.events(connection, after=seen))
        events.extend((event.action, event.subject.partition(":")[0]) for event in new)
        assert all(event.actor and event.client.startswith("raie ") for event in new)
        seen += len(new)

    after(lambda: world.begin())
    after(lambda: Registry(registry.engine, registry.store).resume(MODEL, 3, author=Author("bob"), force=True))
    after(lambda: registry.abort(MODEL, 3, author=Author("ada", "wrong log"), force=True))
    after(lambda: world.edit(2, text="b"))
    after(lambda: registry.promote(MODEL, "head", "staging", Author("ada")))
    after(lambda: registry.promote_region(MODEL, 1, 1, "staging", Author("ada")))
    after(lambda: registry.rollback_edit(MODEL, 4, Author("ada")))
    after(lambda: registry.rollback_to(MODEL, "edit:1", Author("ada")))
    after(lambda: expire(registry, MODEL, Rule(3), author=Author("ada")))
    after(lambda: gc(registry, author=Author("ada"), grace_s=0.0))
    assert events == [
        ("begin", "edit"),
        ("resume", "edit"),
        ("abort", "edit"),
        ("begin", "edit"),
        ("commit", "edit"),
        ("promote", "alias"),
        (AuditAction.CHERRY_PICK, "edit"),
        ("promote", "alias"),
        ("rollback", "edit"),
        ("rollback", "edit"),
        ("expire", "snapshot"),
        ("gc", events[-1][1]),
    ]


def test_an_untouched_chain_has_no_problem(world: World) -> None:
    report = chain(world)
    assert report.events == 6
    assert report.problems == ()
    assert chain(world, report.head).problems == ()


@pytest.mark.parametrize("table", ["audit_events", "alias_moves"])
@pytest.mark.parametrize("statement", ["UPDATE {0} SET reason = 'nothing happened'", "DELETE FROM {0}"])
def test_nobody_updates_or_deletes_what_was_logged(world: World, table: str, statement: str) -> None:
    with pytest.raises(DBAPIError, match="append-only"), world.registry.engine.begin() as connection:
        connection.execute(text(statement.format(table)))
    assert chain(world).problems == ()


@pytest.mark.parametrize("table", ["audit_events", "alias_moves"])
def test_nobody_replaces_or_truncates_what_was_logged(world: World, table: str) -> None:
    sqlite = world.registry.engine.dialect.name == "sqlite"
    replace = f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}"
    with world.registry.engine.connect() as connection:
        if sqlite:
            # A program that is not ours does not have this pragma on.
            connection.execute(text("PRAGMA recursive_triggers=OFF"))
        with pytest.raises(DBAPIError, match="append-only"):
            connection.execute(text(replace if sqlite else f"TRUNCATE {table} CASCADE"))
    assert chain(world).problems == ()


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        (["UPDATE audit_events SET actor = 'eve' WHERE id = 2"], "event 2 was changed"),
        (["UPDATE audit_events SET at = at + 1 WHERE id = 3"], "event 3 was changed"),
        (["DELETE FROM audit_events WHERE id = 3"], "events 3 to 3 are missing"),
        (["DELETE FROM audit_events WHERE id = 6"], "the chain head is recorded as 6:"),
        (["DELETE FROM audit_events", "UPDATE audit_head SET event = 4"], "the chain head is recorded as 4:"),
        (["UPDATE audit_events SET previous = hash WHERE id = 4"], "event 4 does not follow"),
    ],
)
def test_who_gets_around_the_triggers_breaks_the_chain(world: World, statements: list[str], expected: str) -> None:
    tamper(world.registry.engine, *statements)
    assert any(expected in problem for problem in chain(world).problems)


def test_a_chain_that_was_written_anew_differs_from_the_anchor_kept_outside(world: World) -> None:
    checkpoint = chain(world).head
    tamper(
        world.registry.engine,
        "DELETE FROM audit_events WHERE id >= 5",
        "UPDATE audit_head SET event = 4, hash = (SELECT hash FROM audit_events WHERE id = 4)",
    )
    assert chain(world).problems == ()
    assert any("the checkpoint names event 6" in problem for problem in chain(world, checkpoint).problems)
    world.registry.promote(MODEL, "edit:1", "staging", Author("eve"))
    world.registry.promote(MODEL, "edit:2", "staging", Author("eve"))
    assert chain(world).problems == ()
    assert any("event 6 was rewritten" in problem for problem in chain(world, checkpoint).problems)


@pytest.mark.parametrize(
    "checkpoint", ["", "5", "x:y", "-1:a", "²:a", "5:5c994e935", "3:zz", f"5:{'a' * 65}", "a" * 64]
)
def test_an_anchor_that_is_none_is_refused(world: World, checkpoint: str) -> None:
    with pytest.raises(InvalidValue, match="the whole hash"):
        chain(world, checkpoint)


def test_an_event_of_a_transaction_that_failed_never_was(world: World) -> None:
    def fail() -> None:
        with world.registry.engine.begin() as connection:
            audit.append(connection, author=Author("eve"), action="boast", subject="nothing")
            raise KeyError("the rest of the transaction failed")

    with pytest.raises(KeyError):
        fail()
    assert chain(world).events == 6
