"""What a registry of 1,000,000 adapter versions costs, against one of 100,000: milliseconds, printed, never asserted.

The tenth is filled and measured, then the rest is added to the same database and measured again: 100 models of 100
regions and 1,000 snapshots, ten regions per edit. Everything is durable: the databases lie on a disk and sync. A
second test measures what one model costs that is wide (10,000 regions), deep (10,000 edits), or as the engine writes
it (ten blobs per region, centres of 64 dimensions). SCALE_MODELS=20 fills less.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest
from sqlalchemy import func, select

from raie.registry import Author, Content, Registry, RollbackConflict, audit, lineage
from raie.registry.db.engine import reading
from raie.registry.db.tables import adapter_versions, snapshots
from tests.benchmarks.filling import ACTOR, ALIAS, Layout, fill, model_name
from tests.benchmarks.measuring import Spread, columns, spread
from tests.registry.building import change

pytestmark = pytest.mark.scale

MODELS = int(os.environ.get("SCALE_MODELS", "100"))
WHOLE = Layout(models=MODELS, regions=100, snapshots=1000, changes=10)
ADAPTER = ("lora", "lora_config", "item_rows", "transitions")
ENGINE = ("state", "replay", *ADAPTER, *(f"shared_{role}" for role in ADAPTER))
SHAPES = {
    "as the engine writes it": Layout(1, 100, 1000, 10, ENGINE, 64),
    "deep": Layout(1, 100, 10_000, 10),
    "wide": Layout(1, 10_000, 21, 100, ENGINE, 64),
}
READS, WRITES, TOUCHED, WARM_UP = 1000, 100, 100, 3
FIRST = 100
"""Reads until the models and regions come round again; before that, a page may have to come from the disk."""
_Calls: TypeAlias = dict[str, Callable[[int], Callable[[], object]]]
"""Name -> what makes the call of a sample, by its number; making it is not measured."""


def test_a_million_adapter_versions(durable: Registry) -> None:
    tenth = replace(WHOLE, models=max(1, MODELS // 10))
    kind = durable.engine.dialect.name
    print(f"\n{kind}\ntenth: {tenth}\nwhole: {WHOLE}")
    measured = []
    for layout, models in ((tenth, range(tenth.models)), (WHOLE, range(tenth.models, WHOLE.models))):
        _filled(durable, layout, models)
        measured.append(_measured(durable, layout))
    rows = [
        (name, small, large, f"{large.p50 / small.p50:.2f}")
        for name, small, large in ((name, measured[0][name], measured[1][name]) for name in measured[0])
    ]
    print(columns((f"{kind}: ms, p50 / p99", "tenth", "whole", "growth of p50"), rows))


@pytest.mark.parametrize("shape", SHAPES)
def test_one_large_model(durable: Registry, shape: str) -> None:
    layout = SHAPES[shape]
    print(f"\n{durable.engine.dialect.name}, {shape}: {layout}")
    _filled(durable, layout, range(1))
    with reading(durable.engine) as connection:
        size = connection.execute(select(func.max(func.length(snapshots.c.manifest)))).scalar_one()
    print(f"largest manifest: {size:,} bytes")
    few = 20 if shape == "wide" else None
    print(columns(("ms", "p50 / p99"), _measured(durable, layout, few).items()))


def _filled(registry: Registry, layout: Layout, models: range) -> None:
    """Fills a registry, lets the database settle as a running one does by itself, and checks samples."""
    begun = time.monotonic()
    fill(registry.engine, layout, models)
    _settle(registry)
    os.sync()  # gigabytes that still wait for the disk would be paid for by the first commits that sync
    print(f"filled in {time.monotonic() - begun:.0f} s, {_size(registry) / 2**30:.2f} GiB")
    _check(registry, layout, models)


def _settle(registry: Registry) -> None:
    if registry.engine.dialect.name == "sqlite":
        raw = registry.engine.raw_connection()  # around SQLAlchemy, which would begin a transaction
        raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        raw.close()
        return
    with registry.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
        connection.exec_driver_sql("CHECKPOINT")


def _size(registry: Registry) -> int:
    engine = registry.engine
    if engine.dialect.name == "sqlite":
        return Path(str(engine.url.database)).stat().st_size
    with reading(engine) as connection:
        return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())


def _check(registry: Registry, layout: Layout, models: range) -> None:
    """Through the public calls, on samples: the history is whole, and what verify checks of it holds."""
    with reading(registry.engine) as connection:
        count = connection.execute(select(func.count()).select_from(adapter_versions)).scalar_one()
        chain = audit.verify_chain(connection)
    # The edits that were measured at the tenth lie on top.
    assert count >= layout.versions
    assert chain.problems == ()
    for number in (models[0], models[-1]):
        model = model_name(number)
        head = registry.head(model)
        assert head is not None
        assert head == registry.resolve(model, f"edit:{layout.snapshots}") == registry.resolve(model, head.id[:12])
        assert len(lineage.versions_in(registry, head)) == layout.regions
        steps = lineage.region_history(registry, model, 0)
        assert [step.operation.version for step in steps] == list(range(len(steps), 0, -1))
        assert registry.alias_history(model, ALIAS)[0].target == registry.resolve(model, ALIAS).id


def _measured(registry: Registry, layout: Layout, few: int | None = None) -> Mapping[str, Spread]:
    """What each call takes; reads first, for writes add to the histories."""
    generator = random.Random(0)
    reads, writes = few or READS, few or WRITES
    touched = min(TOUCHED, layout.regions)
    looking: _Calls = {
        "head": lambda i: lambda: registry.head(_model(layout, i)),
        "lineage of a region": lambda i: lambda: lineage.region_history(registry, _model(layout, i), i % 100),
        "diff of two snapshots": lambda i: _diff(registry, _model(layout, i), layout, generator),
    }
    changing: _Calls = {
        f"commit of {touched} regions": _committing(registry, layout, touched),
        "promote": lambda i: _promotion(registry, _model(layout, i), layout, generator),
        "rollback --to": lambda i: _rollback_to(registry, _model(layout, i), layout, generator),
        "rollback EDIT": lambda i: _rollback_edit(registry, _model(layout, i), layout, i),
        "rollback EDIT, refused": lambda i: _refused(registry, _model(layout, i), layout),
    }
    measured = {}
    for name, made in looking.items():
        measured[f"{name}, first reads"] = spread(map(made, range(min(FIRST, reads))), 0)
        measured[name] = spread(map(made, range(reads)), 0)
    return measured | {
        name: spread(map(made, range(writes + WARM_UP)), WARM_UP) for name, made in changing.items()
    }


def _model(layout: Layout, sample: int) -> str:
    return model_name(sample % layout.models)


def _diff(registry: Registry, model: str, layout: Layout, generator: random.Random) -> Callable[[], object]:
    older, newer = sorted(generator.sample(range(1, layout.snapshots + 1), 2))
    return lambda: lineage.diff(*lineage.find_all(registry, model, [f"edit:{older}", f"edit:{newer}"]))


def _committing(registry: Registry, layout: Layout, touched: int) -> Callable[[int], Callable[[], object]]:
    """Begin and commit of an edit whose blobs are in the store: uploading them takes what the store takes."""
    put = registry.put_all([f"{number} {role}".encode() for number in range(touched) for role in layout.roles])
    width = len(layout.roles)

    def commit(sample: int) -> Callable[[], object]:
        model = _model(layout, sample)
        content = _head(registry, model)
        # Each sample gives each region other blobs of the same ones: a new version, and nothing to upload.
        turned = [(number + sample) % touched for number in range(touched)]
        entries = {
            region: dict(zip(layout.roles, put[width * turn : width * (turn + 1)], strict=True))
            for region, turn in enumerate(turned)
        }
        changed = replace(content, regions=dict(content.regions) | entries)
        changes = [change(region) for region in entries]

        def call() -> object:
            edit = registry.begin(model, "edit", seed=1, author=Author(ACTOR))
            return registry.commit(model, edit.number, changed, changes)

        return call

    return commit


def _head(registry: Registry, model: str) -> Content:
    measured = registry.head(model)
    assert measured is not None
    return measured.content


def _promotion(registry: Registry, model: str, layout: Layout, generator: random.Random) -> Callable[[], object]:
    ref = f"edit:{generator.randrange(1, layout.snapshots)}"
    return lambda: registry.promote(model, ref, ALIAS, Author(ACTOR, "measured"))


def _rollback_to(registry: Registry, model: str, layout: Layout, generator: random.Random) -> Callable[[], object]:
    ref = f"edit:{generator.randrange(1, layout.snapshots)}"
    return lambda: registry.rollback_to(model, ref, Author(ACTOR, "measured"))


def _rollback_edit(registry: Registry, model: str, layout: Layout, sample: int) -> Callable[[], object]:
    """One of the last edits, no two of which changed the same region; the head is first as they left it."""
    registry.rollback_to(model, f"edit:{layout.snapshots}", Author(ACTOR))
    number = layout.snapshots - sample % min(10, layout.regions // layout.changes)
    return lambda: registry.rollback_edit(model, number, Author(ACTOR, "measured"))


def _refused(registry: Registry, model: str, layout: Layout) -> Callable[[], object]:
    """The second edit: the whole history lies on top of it, and changed its regions."""

    def call() -> None:
        with pytest.raises(RollbackConflict):
            registry.rollback_edit(model, 2, Author(ACTOR, "measured"))

    return call
