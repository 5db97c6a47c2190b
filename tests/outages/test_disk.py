"""A disk that is full, or cannot be written, or a file that somebody keeps locked: one line, nothing half there."""

from __future__ import annotations

import contextlib
import resource
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import migrations
from raie_engine.training import Schedule, fit
from registry import (
    CommitStateUnknown,
    DatabaseBusy,
    DatabaseFull,
    DatabaseUnreachable,
    Registry,
    StoreFull,
    StoreUnreachable,
)
from registry.database import open_engine
from registry.maintenance import verify
from tests.outages.disk import full, read_only, small_disk
from tests.outages.outage import STRAY, Outage, Work, collect, edit, load
from tests.outages.report import Report, attempt
from tests.raie_engine.world import random_windows
from tests.registry.building import World

DATABASE, STORE = "registry.db", "store"


@pytest.fixture
def disk(place: Path) -> Iterator[Path]:
    with small_disk(place / "disk") as folder:
        yield folder


def on(database: Path, store: Path) -> Registry:
    """A registry with a model in it, and an object that is nobody's; the folders are made."""
    url = f"sqlite:///{database / DATABASE}"
    migrations.upgrade(url)
    registry = Registry.open(url, str(store / STORE))
    World(registry).setup()
    registry.store.put(STRAY)
    return registry


def outcome(
    where: str,
    what: str,
    fault: AbstractContextManager[object],
    registry: Registry,
    work: Work,
    expected: type[Exception] | None,
    results: Mapping[Work, str],
    report: Report,
) -> None:
    ended, again = Outage(fault, registry, registry, registry, results).outcome(work, expected)
    report.add(where, what, work.__name__, ended, again)
    assert list((registry.store.root / "incoming").iterdir()) == [], "half a blob"  # type: ignore[attr-defined]


@pytest.mark.parametrize(("work", "expected"), [(edit, StoreFull), (load, None), (collect, None)])
def test_a_full_disk_below_the_store(
    disk: Path,
    place: Path,
    work: Work,
    expected: type[Exception] | None,
    results: Mapping[Work, str],
    report: Report,
) -> None:
    outcome("folder", "disk full", full(disk), on(place, disk), work, expected, results, report)


@pytest.mark.parametrize("free", [0, 64 * 1024], ids=["full", "a little room"])
@pytest.mark.parametrize("work", [edit, load])
def test_a_full_disk_below_the_database(
    disk: Path, place: Path, work: Work, free: int, results: Mapping[Work, str], report: Report
) -> None:
    # Even a reader needs room for the index of the write-ahead log.
    expected = None if work is load and free else DatabaseFull
    what = f"disk full but for {free} bytes" if free else "disk full"
    outcome("SQLite", what, full(disk, free), on(disk, place), work, expected, results, report)


def test_a_disk_that_fills_at_any_moment_of_an_edit_leaves_the_old_head_or_the_new_one(
    disk: Path, place: Path
) -> None:
    world = World(on(disk, place))
    heads = [world.head.id]
    for number, free in enumerate(range(0, 192 * 1024, 12 * 1024)):
        with full(disk, free), contextlib.suppress(DatabaseFull, CommitStateUnknown):
            world.edit(1, text=f"{number}")
        if world.head.id != heads[-1]:
            assert world.head.parent == heads[-1]
            heads.append(world.head.id)
        assert verify(world.registry).ok
    assert len(heads) > 1, "the disk never had room"


@pytest.mark.parametrize(
    ("what", "work", "expected"),
    [
        (STORE, edit, StoreUnreachable),
        (STORE, collect, StoreUnreachable),
        (STORE, load, None),
        (DATABASE, edit, DatabaseFull),
        (DATABASE, load, None),
        ("", edit, DatabaseUnreachable),
        ("", load, DatabaseUnreachable),
    ],
)
def test_what_is_read_only(
    place: Path,
    what: str,
    work: Work,
    expected: type[Exception] | None,
    results: Mapping[Work, str],
    report: Report,
) -> None:
    registry = on(place, place)
    name = {STORE: "folder", DATABASE: "SQLite", "": "SQLite"}[what]
    told = "read-only" if what else "read-only folder"
    outcome(name, told, read_only(place / what), registry, work, expected, results, report)


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """While the block runs another program is in the middle of writing."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize(("work", "expected"), [(edit, DatabaseBusy), (load, None)])
def test_a_file_that_another_program_keeps_locked_for_longer_than_we_wait(
    place: Path, work: Work, expected: type[Exception] | None, results: Mapping[Work, str], report: Report
) -> None:
    registry = on(place, place)
    hasty = replace(registry, engine=open_engine(f"sqlite:///{place / DATABASE}?timeout=0.2"))
    outcome(
        "SQLite", "locked by another program", locked(place / DATABASE), hasty, work, expected, results, report
    )


@contextmanager
def quota(size: int) -> Iterator[None]:
    """While the block runs no file of this process may grow beyond a size in bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_quota_that_stops_a_commit_half_way_is_neither_success_nor_failure_and_a_retry_finds_out(
    place: Path, results: Mapping[Work, str], report: Report
) -> None:
    outcome("SQLite", "quota", quota(36 * 1024), on(place, place), edit, CommitStateUnknown, results, report)


def train(folder: Path) -> list[float]:
    """A training of a few epochs that writes a checkpoint after each; the parameters."""
    table = torch.ones(6, 4).requires_grad_()

    def loss(items: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(table[items].mean(dim=1) @ table.T, target)

    schedule = Schedule(epochs=3, batch=4, learning_rate=0.1, seed=1)
    checkpoint = folder / "work" / "checkpoint.safetensors"
    trained = fit({"table": table}, loss, random_windows(8, 3, 5), schedule, checkpoint=checkpoint)
    return [float(value) for value in trained.parameters["table"].flatten()]


@pytest.mark.parametrize("fault", [full, read_only], ids=["disk full", "read-only"])
def test_a_checkpoint_that_cannot_be_written(
    fault: Callable[[Path], AbstractContextManager[None]], disk: Path, tmp_path: Path, report: Report
) -> None:
    (disk / "work").mkdir()
    with fault(disk):
        ended = attempt(lambda: train(disk))
    assert isinstance(ended.error, OSError)
    assert ended.error.filename == str(disk / "work" / "checkpoint.safetensors")
    assert ended.code == 6
    assert list((disk / "work").iterdir()) == []
    assert train(disk) == train(tmp_path)
    report.add("checkpoint", {full: "disk full", read_only: "read-only"}[fault], "train", ended, "same result")
