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

from raie.engine.backbones.protocol import Contexts
from raie.engine.training.loop import Schedule, fit
from raie.registry import CommitStateUnknown, DatabaseBusy, DatabaseFull, Registry, StoreFull, StoreUnreachable
from raie.registry.db.engine import open_engine
from raie.registry.maintenance.verify import verify
from tests.outages.conftest import DATABASE, STORE, Copy
from tests.outages.disk import full, read_only, small_disk
from tests.outages.outage import Outage, Work, collect, edit, load
from tests.outages.report import Report, attempt
from tests.raie_engine.world import random_windows
from tests.registry.building import World


@pytest.fixture
def disk(scratch: Path) -> Iterator[Path]:
    with small_disk(scratch / "disk") as folder:
        yield folder


Check = Callable[[str, str, AbstractContextManager[object], Registry, Work, type[Exception] | None], None]


@pytest.fixture
def check(results: Mapping[Work, str], report: Report) -> Check:
    """Lets something go wrong, somewhere and by some name, while a registry does some work."""

    def run(
        where: str,
        name: str,
        fault: AbstractContextManager[object],
        registry: Registry,
        work: Work,
        expected: type[Exception] | None,
    ) -> None:
        ended, again = Outage(fault, registry, registry, registry, results).outcome(work, expected)
        report.add(where, name, work.__name__, ended, again)
        assert list((registry.store.root / "incoming").iterdir()) == [], "half a blob"  # type: ignore[attr-defined]

    return run


@pytest.mark.parametrize(("work", "expected"), [(edit, StoreFull), (load, None), (collect, None)])
def test_a_full_disk_below_the_store(
    copy: Copy, check: Check, disk: Path, scratch: Path, work: Work, expected: type[Exception] | None
) -> None:
    check("folder", "disk full", full(disk), copy(scratch, disk), work, expected)


@pytest.mark.parametrize("free", [0, 64 * 1024], ids=["full", "a little room"])
@pytest.mark.parametrize("work", [edit, load])
def test_a_full_disk_below_the_database(
    copy: Copy, check: Check, disk: Path, scratch: Path, work: Work, free: int
) -> None:
    # Even a reader needs room for the index of the write-ahead log.
    expected = None if work is load and free else DatabaseFull
    name = f"disk full but for {free} bytes" if free else "disk full"
    check("SQLite", name, full(disk, free), copy(disk, scratch), work, expected)


def test_a_disk_that_fills_at_any_moment_of_an_edit_leaves_the_old_head_or_the_new_one(
    copy: Copy, disk: Path, scratch: Path
) -> None:
    world = World(copy(disk, scratch))
    heads = [world.head.id]
    for number, free in enumerate(range(0, 192 * 1024, 12 * 1024)):
        with full(disk, free), contextlib.suppress(DatabaseFull, CommitStateUnknown):
            world.edit(1, text=f"{number}")
        if world.head.id != heads[-1]:
            assert world.head.parent == heads[-1]
            heads.append(world.head.id)
        assert verify(world.registry).ok
    assert len(heads) > 1, "the disk never had room"


READ_ONLY = [
    (STORE, "folder", edit, StoreUnreachable),
    (STORE, "folder", collect, StoreUnreachable),
    (STORE, "folder", load, None),
    (DATABASE, "SQLite", edit, DatabaseFull),
    (DATABASE, "SQLite", load, None),
    ("", "SQLite, with its folder", edit, StoreUnreachable),
    ("", "SQLite, with its folder", load, None),
]


@pytest.mark.parametrize(("what", "where", "work", "expected"), READ_ONLY)
def test_what_is_read_only(
    copy: Copy,
    check: Check,
    scratch: Path,
    what: str,
    where: str,
    work: Work,
    expected: type[Exception] | None,
) -> None:
    check(where, "read-only", read_only(scratch / what), copy(scratch, scratch), work, expected)


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """While the block runs another program is in the middle of writing."""
    with closing(sqlite3.connect(database, isolation_level=None)) as keeper:
        keeper.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize(("work", "expected"), [(edit, DatabaseBusy), (load, None)])
def test_a_file_that_another_program_keeps_locked_for_longer_than_we_wait(
    copy: Copy, check: Check, scratch: Path, work: Work, expected: type[Exception] | None
) -> None:
    hasty = replace(copy(scratch, scratch), engine=open_engine(f"sqlite:///{scratch / DATABASE}?timeout=0.2"))
    check("SQLite", "locked by another program", locked(scratch / DATABASE), hasty, work, expected)


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
    copy: Copy, check: Check, scratch: Path
) -> None:
    check("SQLite", "quota", quota(36 * 1024), copy(scratch, scratch), edit, CommitStateUnknown)


def train(folder: Path) -> list[float]:
    """A training of a few epochs that writes a checkpoint after each; the parameters."""
    table = torch.ones(6, 4).requires_grad_()

    def loss(contexts: Contexts, target: Tensor) -> Tensor:
        return cross_entropy(table[contexts.items].mean(dim=1) @ table.T, target)

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
