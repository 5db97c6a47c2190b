"""A clock that goes back, or jumps ahead and comes back: order comes from ids, and no lease ends or lives by mistake."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from raie.registry import Author, audit, lineage
from raie.registry.db.engine import reading
from raie.registry.db.tables import outbox_events
from raie.registry.leases import EDIT_LEASE_S
from raie.registry.maintenance.verify import gc, verify
from raie.registry.outbox import Progress, drain, outbox_status
from raie.registry.outbox_records import OutboxEvent
from tests.conftest import Ready
from tests.registry.building import MODEL, World, set_up

DAY_S = 24 * 3600.0
ELSEWHERE = "elsewhere:1:00000000"
"""A lease owner on another machine: nobody here can tell whether it lives, so only the clock can."""


@dataclass
class Clock:
    """The clock on the wall, which somebody moves; offset_s: by how much."""

    offset_s: float = 0.0
    true: Callable[[], float] = field(default=time.time)

    def __call__(self) -> float:
        return self.true() + self.offset_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    moved = Clock()
    monkeypatch.setattr(time, "time", moved)
    return moved


@pytest.fixture
def world(ready: Ready) -> World:
    return World(ready(set_up))


def test_history_is_told_in_the_order_in_which_it_was_made(world: World, clock: Clock) -> None:
    made = [world.head.id]
    late = world.begin()
    for number, offset_s in enumerate([0.0, -DAY_S, -2 * DAY_S, DAY_S, -DAY_S]):
        clock.offset_s = offset_s
        made.append(world.edit(1, text=f"{number}").id)
        world.registry.promote(MODEL, "head", "production", Author("ada"))
    # Begun first and landed last: neither the clock nor the edits' numbers have the snapshots' order.
    made.append(
        world.commit(late, world.changed(world.registry.resolve(MODEL, made[0]).content, {2: "late"}), 2).id
    )
    entries = lineage.history(world.registry, MODEL)
    assert [entry.snapshot.id for entry in entries] == made[::-1]
    assert [entry.snapshot.id for entry in lineage.history(world.registry, MODEL, limit=2)] == made[:-3:-1]
    moves = world.registry.alias_history(MODEL, "production")
    assert [move.target for move in moves] == made[-2:0:-1]
    assert [edit.number for edit in world.registry.edits(MODEL)] == [7, 6, 5, 4, 3, 2, 1]
    assert verify(world.registry).ok


def test_the_audit_log_keeps_its_order_and_says_what_the_clock_said(world: World, clock: Clock) -> None:
    for offset_s in (DAY_S, -DAY_S):
        clock.offset_s = offset_s
        world.begin()
    with reading(world.registry.engine) as connection:
        events = list(audit.events(connection))
        assert audit.verify_chain(connection).problems == ()
    assert [event.id for event in events] == [1, 2, 3, 4, 5]
    assert events[3].at - events[4].at > DAY_S


@pytest.mark.parametrize("offset_s", [-300.0, 60.0], ids=["back", "ahead"])
def test_a_lease_outlives_a_clock_that_moves_a_little(world: World, clock: Clock, offset_s: float) -> None:
    edit = held_elsewhere(world).begin()
    clock.offset_s = offset_s
    assert world.registry.edit(MODEL, edit.number).state == "running"


def test_a_lease_that_was_given_before_the_clock_went_back_does_not_live_until_the_clock_is_there_again(
    world: World, clock: Clock
) -> None:
    second = held_elsewhere(world)
    edit = second.begin()
    clock.offset_s = -DAY_S
    assert world.registry.edit(MODEL, edit.number).state == "abandoned"
    # Its owner works after all: at its next heartbeat it has a lease by the new clock, and commits.
    second.registry.heartbeat(MODEL, edit.number)
    assert world.registry.edit(MODEL, edit.number).state == "running"
    clock.offset_s -= EDIT_LEASE_S
    assert second.commit(edit, second.changed(second.head.content, {1: "a"}), 1) == world.head


def test_a_lease_that_was_renewed_while_the_clock_was_ahead_is_over_when_the_clock_comes_back(
    world: World, clock: Clock
) -> None:
    second = held_elsewhere(world)
    edit = second.begin()
    clock.offset_s = DAY_S
    second.registry.heartbeat(MODEL, edit.number)
    clock.offset_s = 0.0
    assert world.registry.resume(MODEL, edit.number).lease_owner == world.registry.lease_owner


def held_elsewhere(world: World) -> World:
    return World(replace(world.registry, lease_owner=ELSEWHERE))


def test_gc_with_a_clock_ahead_takes_nothing_that_a_running_edit_has_put(world: World, clock: Clock) -> None:
    edit = world.begin()
    content = world.changed(world.head.content, {1: "a"})
    clock.offset_s = 30 * DAY_S
    assert gc(world.registry, author=Author("ada")).removed == ()
    clock.offset_s = 0.0
    assert world.commit(edit, content, 1) == world.head
    assert verify(world.registry).ok


@dataclass
class Publisher:
    """Where publishing always works."""

    target: str = "nowhere"

    def publish(self, event: OutboxEvent, progress: Progress) -> None:
        """Nothing can go wrong here."""


def test_an_event_that_a_killed_relay_leased_before_the_clock_went_back_is_published_soon(
    world: World, clock: Clock
) -> None:
    engine = world.registry.engine
    with engine.begin() as connection:
        owned = {"lease_owner": "a relay that was killed", "lease_expires_at": time.time() + 60}
        connection.execute(outbox_events.update().values(owned))
    assert drain(engine, Publisher(), clock=clock).remaining == 1
    clock.offset_s = -DAY_S
    assert outbox_status(engine).leased_until is None
    assert drain(engine, Publisher(), clock=clock).published == 1
