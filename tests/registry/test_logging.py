"""What a person on call finds in the log: repeated transactions, replays, failed events and checkpoints; no secret."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from raie.registry import LocalStore, Registry
from raie.registry.db.engine import write
from raie.registry.hiding import hiding
from raie.registry.maintenance.checkpoints import publish_if_answered
from raie.registry.outbox import Progress, drain
from raie.registry.outbox_records import OutboxEvent
from tests.registry.building import World


def logged(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


def test_a_library_that_nobody_configured_logs_nowhere() -> None:
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("raie").handlers)


def test_a_transaction_that_is_repeated_is_logged_with_its_state(
    local_registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    class Deadlock(Exception):
        sqlstate = "40P01"

    tries = iter([OperationalError("SELECT secret", {}, Deadlock("hunter2")), None])

    def step(_connection: Connection) -> str:
        error = next(tries)
        if error is not None:
            raise error
        return "landed"

    assert write(local_registry.engine, step) == "landed"
    assert logged(caplog, logging.WARNING) == ["write transaction met a conflict (SQLSTATE 40P01); attempt 1 of 8"]


def test_an_edit_that_is_replayed_is_logged(local_registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world = World(local_registry)
    base = world.setup()
    first, second = world.begin(), world.begin()
    landed = world.commit(first, world.changed(base.content, {0: "a"}), 0)
    world.commit(second, world.changed(base.content, {1: "b"}), 1)
    assert f"edit 3 is replayed: its base is {base.id[:12]}, the head is {landed.id[:12]}" in logged(
        caplog, logging.INFO
    )


def test_a_chain_head_that_could_not_be_kept_is_logged_and_raises_nothing(
    local_registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    World(local_registry).setup()
    store = local_registry.store
    assert isinstance(store, LocalStore)
    assert publish_if_answered(lambda: local_registry, 10.0)
    store.top.rename(store.top.with_name("away"))
    local_registry.checked.clear()
    assert not publish_if_answered(lambda: local_registry, 10.0)
    (line,) = logged(caplog, logging.WARNING)
    assert line.startswith("the chain head was not kept in the store: Expected")


class Refusing:
    target = "nowhere"

    def publish(self, event: OutboxEvent, progress: Progress) -> None:
        raise ValueError(f"event {event.id} refused at http://ada:hunter2@host")


def test_an_event_that_was_not_published_is_logged_without_the_password(
    local_registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    World(local_registry).setup()
    drain(local_registry.engine, Refusing(), hide=hiding("http://ada:hunter2@host"))
    (line,) = logged(caplog, logging.WARNING)
    assert "was not published: ValueError: event 1 refused" in line
    assert "hunter2" not in caplog.text
