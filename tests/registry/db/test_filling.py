"""The benchmarks measure a registry that was filled in bulk: it must be the one that the registry would have made."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from raie import migrations
from raie.registry import Author, Registry
from raie.registry.db.engine import reading
from raie.registry.db.tables import metadata
from tests.benchmarks.filling import ACTOR, ALIAS, Layout, Planned, fill, history_of

SMALL = Layout(models=2, regions=4, snapshots=11, changes=2)


def apply(registry: Registry, planned: Planned) -> None:
    registry.put_all(planned.blobs)
    kind = "setup" if planned.number == 1 else "edit"
    edit = registry.begin(planned.model, kind, seed=planned.number, author=Author(ACTOR, "drift"))
    registry.commit(planned.model, edit.number, planned.content, planned.changes)
    if planned.promoted:
        registry.promote(planned.model, "head", ALIAS, Author(ACTOR, "drift"))


def rows(registry: Registry) -> dict[str, list[Any]]:
    with reading(registry.engine) as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
        }


def test_what_is_filled_in_bulk_is_what_the_registry_writes_row_by_row(
    database_url: str, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = f"sqlite:///{scratch / 'committed.db'}"
    with monkeypatch.context() as same_identity:
        same_identity.setattr(secrets, "token_hex", lambda size: "5a" * size)
        same_identity.setattr(time, "time", lambda: 1.5)
        for url in (database_url, second):
            migrations.upgrade(url)
    filled_in_bulk = Registry.open(database_url, str(scratch / "bulk"))
    committed = Registry.open(second, str(scratch / "store"))
    for number in range(SMALL.models):
        for planned in history_of(SMALL, number):
            monkeypatch.setattr(time, "time", lambda planned=planned: planned.at)
            apply(committed, planned)
    fill(filled_in_bulk.engine, SMALL, range(SMALL.models))
    filled, expected = rows(filled_in_bulk), rows(committed)
    for table in expected:
        assert filled[table] == expected[table], table
