"""Where MLflow shows a snapshot is read from the outbox, for the server that is asked about alone."""

from __future__ import annotations

import json

from sqlalchemy import update

from raie.registry import Registry
from raie.registry.db.engine import reading, write
from raie.registry.db.tables import outbox_events
from raie.registry.mlflow.published_versions import published_versions
from tests.registry.building import MODEL, World

SERVER = "http://127.0.0.1:5000"


def test_a_published_snapshot_has_its_version_experiment_and_run(any_database: Registry) -> None:
    world = World(any_database)
    first, second, third = world.setup(), world.edit(0, text="a"), world.edit(1, text="b")
    record(any_database, 1, SERVER, {"version": "1", "experiment": "7", "edit": "run 1", "parent": None}, 5.0)
    record(any_database, 2, "http://elsewhere", {"version": "4", "experiment": "2", "edit": "run 9"}, 6.0)
    record(any_database, 3, SERVER, {"experiment": "7", "edit": "run 3"}, None)
    assert {first.id, second.id, third.id} > published(any_database).keys()
    assert published(any_database) == {first.id: ("1", "7", "run 1")}
    assert published(any_database, "another model") == {}


def record(registry: Registry, event: int, target: str, steps: dict, at: float | None) -> None:
    values = {"progress": json.dumps({"target": target, "steps": steps}), "published_at": at}
    write(
        registry.engine,
        lambda c: c.execute(update(outbox_events).where(outbox_events.c.id == event).values(values)),
    )


def published(registry: Registry, model: str = MODEL) -> dict:
    with reading(registry.engine) as connection:
        return published_versions(connection, model, SERVER)
