"""The chain heads in the store: kept once, never mixed up between registries, and enough to notice a forgery."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from raie import migrations
from raie.registry import Author, Registry
from raie.registry.audit import Checkpoint, chain_head
from raie.registry.db import triggers
from raie.registry.db.engine import reading
from raie.registry.maintenance import checkpoints
from raie.registry.maintenance import verify as maintenance
from raie.registry.maintenance.checkpoints import publish, published
from raie.registry.maintenance.verify import gc, verify
from tests.registry.building import MODEL, World


def test_every_end_that_is_kept_is_read_back_oldest_first(registry: Registry) -> None:
    with reading(registry.engine) as connection:
        assert publish(registry) == chain_head(connection), "the identity is the first event"
    world = World(registry)
    world.setup()
    first = publish(registry)
    assert publish(registry) == first
    for number in range(10):
        world.registry.promote(MODEL, "head", f"alias-{number}", Author("ada"))
        publish(registry)
    assert [checkpoint.number for checkpoint in published(registry)] == [1, *range(3, 14)]
    assert f"{published(registry)[1].number}:{published(registry)[1].hash}" == first
    report = verify(registry)
    assert (report.ok, report.published) == (True, 12)


def test_gc_and_verify_leave_them_alone(registry: Registry) -> None:
    World(registry).setup()
    publish(registry)
    gc(registry, author=Author("ada"), grace_s=0.0, orphans=True)
    assert len(published(registry)) == 1
    assert verify(registry).ok


def test_registries_that_share_a_store_keep_their_ends_apart(local_registry: Registry, scratch: Path) -> None:
    url = f"sqlite:///{scratch / 'other.db'}"
    migrations.upgrade(url)
    second = Registry.open(url, str(local_registry.store.top))  # type: ignore[attr-defined]
    for registry in (local_registry, second):
        World(registry).setup()
        publish(registry)
    assert published(local_registry) != published(second)
    assert verify(local_registry).ok
    assert verify(second).ok


def test_an_end_that_was_replaced_does_not_overwrite_the_one_before(local_registry: Registry) -> None:
    world = World(local_registry)
    world.setup()
    publish(local_registry)
    with local_registry.engine.begin() as connection:
        triggers.drop(connection)
        connection.execute(text("UPDATE audit_events SET hash = :h WHERE id = 3"), {"h": "f" * 64})
        connection.execute(text("UPDATE audit_head SET hash = :h"), {"h": "f" * 64})
    publish(local_registry)
    assert len(published(local_registry)) == 2
    assert any("the store expects hash" in problem for problem in verify(local_registry).chain.problems)


def test_an_end_that_is_kept_while_the_chain_is_verified_is_no_false_alarm(
    local_registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(local_registry)
    world.setup()

    def meanwhile(registry: Registry) -> list[Checkpoint]:
        heads = published(registry)
        world.registry.promote(MODEL, "head", "production", Author("ada"))
        publish(registry)
        return heads

    monkeypatch.setattr(maintenance, "published", meanwhile)
    assert verify(local_registry).ok


def test_what_lies_beside_them_is_none_of_them(local_registry: Registry) -> None:
    World(local_registry).setup()
    publish(local_registry)
    (kept,) = local_registry.store.records(f"audit/{_name(local_registry)}")
    for orphan in ("notes.json", "1-abc.json", f"x-{'0' * 64}.json"):
        local_registry.store.put_record(f"{kept.rpartition('/')[0]}/{orphan}", b"{}")
    assert [checkpoint.number for checkpoint in checkpoints.published(local_registry)] == [3]


def _name(registry: Registry) -> str:
    with registry.engine.connect() as connection:
        return str(connection.execute(text("SELECT registry FROM identity")).scalar_one())
