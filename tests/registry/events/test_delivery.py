"""Events arrive at least once and in their order, and a receiver that is slow or dead holds up nobody else."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import select, update

from raie import migrations
from raie.registry import Author, Conflict, InvalidValue, NotFound, PromotionRefused, Registry, audit, trust
from raie.registry.db.engine import reading, write
from raie.registry.db.tables import event_positions
from raie.registry.errors import EventRefused, ReceiverUnreachable
from raie.registry.events import signature
from raie.registry.events.delivery import Consumer, backoff_s, deliver
from raie.registry.events.event_types import EventType
from raie.registry.events.positions import lag, retry, skip
from raie.registry.events.receivers import Webhook
from raie.registry.outbox import outbox_status
from raie.registry.outbox_records import OutboxEvent
from tests.registry.building import MODEL, World
from tests.registry.events.receiver import Service

SECRET = "shared s3cret"
ALL = frozenset(EventType)
ADA = Author("ada", "why not")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def world(registry: Registry) -> World:
    return World(registry)


@pytest.fixture
def sqlite_registry(sqlite_url: str, scratch: Path) -> Registry:
    """A registry on SQLite alone, for what no other database changes."""
    migrations.upgrade(sqlite_url)
    return Registry.open(sqlite_url, f"{scratch}/store")


@pytest.fixture
def sqlite_world(sqlite_registry: Registry) -> World:
    return World(sqlite_registry)


@dataclass
class Ledger:
    """A receiver that keeps a list, and raises what is wrong."""

    wrong: dict[int, Exception] = field(default_factory=dict)
    seen: list[int] = field(default_factory=list)

    def deliver(self, event: OutboxEvent) -> None:
        if event.id in self.wrong:
            raise self.wrong[event.id]
        self.seen.append(event.id)

    def hide(self, text: str) -> str:
        return text.replace(SECRET, "***")


def webhook(service: Service, types: frozenset[EventType] = ALL, timeout_s: float = 5.0) -> Consumer:
    return Consumer("pager", types, Webhook(service.url, SECRET, "r1", timeout_s))


def test_a_receiver_that_was_down_for_three_edits_gets_everything_exactly_in_order(world: World) -> None:
    service, now, registry = Service(), 1_800_000_000.0, world.registry
    with service.running():
        world.setup()
        (first,) = deliver(registry.engine, [webhook(service)], clock=lambda: now)
        assert (first.delivered, first.failed) == (1, ())
    for text in "abc":
        world.edit(0, text=text)
        now += 3600
        (down,) = deliver(registry.engine, [webhook(service)], clock=lambda: now)  # noqa: B023
        assert (down.delivered, down.unreachable) == (0, True)
    registry.promote(MODEL, "head", "production", ADA)
    registry.rollback_edit(MODEL, 4, ADA)
    assert lag(registry.engine, "pager", ALL, from_now=False).pending == 5
    with service.running():
        (early,) = deliver(registry.engine, [webhook(service)], clock=lambda: now)
        assert (early.delivered, early.lag.pending) == (0, 5), "the pause after the third failure is not over"
        now += 3600
        (up,) = deliver(registry.engine, [webhook(service)], clock=lambda: now)
    assert (up.delivered, up.failed, up.lag.pending) == (5, (), 0)
    bodies = [request.json for request in service.requests]
    assert [(body["type"], body["subject"]) for body in bodies] == [
        ("raie.edit", "edit:1"),
        ("raie.edit", "edit:2"),
        ("raie.edit", "edit:3"),
        ("raie.edit", "edit:4"),
        ("raie.promotion", "alias:production"),
        ("raie.rollback", "edit:5"),
    ]
    assert [body["sequence"] for body in bodies] == sorted(body["sequence"] for body in bodies)
    for request in service.requests:
        signature.verify(SECRET, request.body, request.headers[signature.HEADER], now=time.time())


def test_a_refused_promotion_is_an_event_that_names_each_failed_check_and_mlflow_pauses_for_none(
    world: World,
) -> None:
    registry, service = world.registry, Service()
    served = world.setup()
    registry.promote(MODEL, "head", "production", ADA)
    trust.set_policy(registry, MODEL, "production", {"second_person": True}, author=ADA)
    candidate = world.edit(0, text="a")
    pending = outbox_status(registry.engine).pending
    with pytest.raises(PromotionRefused):
        registry.promote(MODEL, "head", "production", Author("ada", "hurry"))
    with pytest.raises(PromotionRefused):
        registry.promote_region(MODEL, 0, 2, "production", ADA)
    assert outbox_status(registry.engine).pending == pending
    with service.running():
        deliver(registry.engine, [webhook(service, frozenset({EventType.PROMOTION_REFUSED}))])
    first, second = (request.json for request in service.requests)
    assert first["type"] == second["type"] == "raie.promotion_refused"
    assert first["data"] == {
        "model": MODEL,
        "alias": "production",
        "from": served.id,
        "to": candidate.id,
        "actor": "ada",
        "reason": "hurry",
        "violations": first["data"]["violations"],
    }
    assert any("second person" in line for line in first["data"]["violations"])


def test_a_refused_event_holds_back_its_model_and_no_other_until_it_is_skipped_for_a_reason(
    sqlite_world: World,
) -> None:
    registry = sqlite_world.registry
    sqlite_world.setup()
    sqlite_world.edit(0, text="a")
    World(registry, "another").setup()
    ledger = Ledger({2: EventRefused(f"no: {SECRET}")})
    consumer = Consumer("ledger", ALL, ledger)
    (first,) = deliver(registry.engine, [consumer])
    assert ledger.seen == [3, 1]
    (failed,) = first.failed
    assert (failed.event, failed.model, failed.attempts, failed.error) == (2, MODEL, 1, "no: ***")
    assert lag(registry.engine, "ledger", ALL, from_now=False).failures == (failed,)
    with pytest.raises(NotFound, match="event 1 among those that failed"):
        skip(registry.engine, "ledger", 1, author=ADA)
    with pytest.raises(InvalidValue, match="reason"):
        skip(registry.engine, "ledger", 2, author=Author("ada"))
    skip(registry.engine, "ledger", 2, author=Author("ada", "it is broken"))
    sqlite_world.edit(0, text="b")
    (second,) = deliver(registry.engine, [consumer])
    assert (second.delivered, ledger.seen) == (1, [3, 1, 4])
    with reading(registry.engine) as connection:
        event = next(event for event in audit.newest(connection, 5) if event.subject == "event:2")
    assert (event.action, event.subject, event.target, event.reason) == (
        "skip event",
        "event:2",
        "ledger",
        "it is broken",
    )


def test_a_failed_event_pauses_longer_each_time_and_a_retry_ends_the_wait(sqlite_world: World) -> None:
    sqlite_world.setup()
    engine, now = sqlite_world.registry.engine, 1_800_000_000.0
    ledger = Ledger({1: EventRefused("no")})
    pauses = []
    for _ in range(3):
        (failed,) = deliver(engine, [Consumer("ledger", ALL, ledger)], clock=lambda: now)[0].failed  # noqa: B023
        pauses.append(failed.next_at - now if failed.next_at else None)
        now = failed.next_at or now
    assert pauses == [1, 2, 4]
    assert deliver(engine, [Consumer("ledger", ALL, ledger)], clock=lambda: now)[0].failed[0].attempts == 4
    assert backoff_s(40) == 900
    ledger.wrong.clear()
    assert deliver(engine, [Consumer("ledger", ALL, ledger)], clock=lambda: now)[0].delivered == 0
    retry(engine, "ledger", 1, author=ADA)
    assert deliver(engine, [Consumer("ledger", ALL, ledger)], clock=lambda: now)[0].delivered == 1
    assert lag(engine, "ledger", ALL, from_now=False).failures == ()


def test_a_dead_and_a_slow_receiver_hold_up_neither_a_commit_nor_another_consumer(sqlite_world: World) -> None:
    sqlite_world.setup()
    slow, ledger, arrived = Service(pause_s=1.0), Ledger(), threading.Event()

    class Prompt(Ledger):
        def deliver(self, event: OutboxEvent) -> None:
            ledger.deliver(event)
            arrived.set()

    dead = Consumer("dead", ALL, Webhook(Service().url, SECRET, "r1"))
    engine = sqlite_world.registry.engine
    with slow.running():
        consumers = [dead, webhook(slow, timeout_s=0.5), Consumer("prompt", ALL, Prompt())]
        thread = threading.Thread(target=lambda: deliver(engine, consumers))
        thread.start()
        assert arrived.wait(5)
        began = time.monotonic()
        sqlite_world.edit(0, text="a")
        assert time.monotonic() - began < 5
        thread.join()
    assert ledger.seen[0] == 1
    assert (
        lag(engine, "dead", ALL, from_now=False).failures[0].error.endswith("found nothing there; the events wait")
    )
    assert "none within 0.5 s" in lag(engine, "pager", ALL, from_now=False).failures[0].error


def test_an_event_whose_answer_was_lost_is_sent_again_and_is_the_same(sqlite_world: World) -> None:
    sqlite_world.setup()
    service, engine = Service(status=503), sqlite_world.registry.engine
    with service.running():
        assert deliver(engine, [webhook(service)])[0].unreachable
        service.status = 204
        retry(engine, "pager", 1, author=ADA)
        assert deliver(engine, [webhook(service)])[0].delivered == 1
    assert len({request.body for request in service.requests}) == 1
    assert len(service.requests) == 2


def test_a_new_consumer_that_starts_now_gets_only_what_comes_after(sqlite_world: World) -> None:
    sqlite_world.setup()
    ledger, engine = Ledger(), sqlite_world.registry.engine
    consumer = Consumer("ledger", ALL, ledger, from_now=True)
    assert lag(engine, "ledger", ALL, from_now=True).pending == 0
    assert deliver(engine, [consumer])[0].delivered == 0
    sqlite_world.edit(0, text="a")
    World(sqlite_world.registry, "another").setup()
    assert deliver(engine, [consumer])[0].delivered == 2
    assert sorted(ledger.seen) == [2, 3]


def test_two_senders_at_once_give_each_event_once_and_in_order(world: World) -> None:
    world.setup()
    for text in "abcd":
        world.edit(0, text=text)
    ledger = Ledger()
    consumer = Consumer("ledger", ALL, ledger)
    senders = [threading.Thread(target=deliver, args=(world.registry.engine, [consumer])) for _ in range(3)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert ledger.seen == sorted(set(ledger.seen))
    assert len(ledger.seen) == 5


def test_a_sender_that_was_killed_delays_its_model_by_its_lease_and_no_event_is_skipped_meanwhile(
    sqlite_world: World,
) -> None:
    sqlite_world.setup()
    engine, ledger = sqlite_world.registry.engine, Ledger({1: ReceiverUnreachable("away")})
    consumer = Consumer("ledger", ALL, ledger)
    deliver(engine, [consumer])
    now = time.time() + 10
    held = {"lease_owner": "host:1:dead", "lease_expires_at": now + 60}
    write(
        engine, lambda c: c.execute(update(event_positions).where(event_positions.c.model == MODEL).values(held))
    )
    ledger.wrong.clear()
    assert deliver(engine, [consumer], clock=lambda: now)[0].delivered == 0
    with pytest.raises(Conflict, match="at work"):
        skip(engine, "ledger", 1, author=ADA)
    assert deliver(engine, [consumer], clock=lambda: now + 61)[0].delivered == 1


def test_no_secret_is_kept_in_a_row(sqlite_world: World) -> None:
    sqlite_world.setup()
    service, engine = Service(), sqlite_world.registry.engine
    deliver(engine, [webhook(service)])
    with reading(engine) as connection:
        rows = str(connection.execute(select(event_positions)).all())
    assert "found nothing there" in rows
    assert SECRET not in rows
    assert "s3cretpath" not in rows
