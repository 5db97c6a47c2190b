"""verify accuses nobody who did no wrong, goes on after what it cannot read, and needs little memory for a big blob."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from raie.registry import (
    Author,
    Digest,
    LocalStore,
    Registry,
    SnapshotExpired,
    StoreUnreachable,
    open_store,
)
from raie.registry.maintenance.expiry import Rule, expire
from raie.registry.maintenance.verify import gc, verify
from raie.registry.store.base import blob_key
from tests.registry.building import MODEL, World
from tests.registry.crash.grounds import Ground
from tests.registry.crash.processes import Ended, Paused, Stop, Victim, Worker
from tests.registry.crash.promises import broken_promises
from tests.registry.crash.steps import Step
from tests.registry.store.s3_habits import Answer, Forward, Request, error, served

ROOT = Path(__file__).resolve().parents[3]
EVERYWHERE = ["sqlite-folder", "sqlite-s3", "postgresql-folder", "postgresql-s3"]


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """A process that works while another one stands still."""
    worker = Worker()
    yield worker
    worker.close()


@pytest.mark.parametrize("ground", EVERYWHERE, indirect=True)
def test_a_verify_that_an_expiry_and_a_gc_overtake_accuses_nobody(ground: Ground, worker: Worker) -> None:
    """Before, every blob that the gc took counted as lost."""
    with ground.copy() as (site, client):
        victim = Victim(site, (Step("verify", "verify"),), Stop("verify.viewed", 1, dies=False))
        assert isinstance(victim.wait(), Paused), victim.error
        before = {blob.digest for blob in client.registry.store.iterate()}
        worker.start(site, (Step("expire", "expire", 3), Step("collect", "collect")))
        assert worker.result() == ""
        assert before - {blob.digest for blob in client.registry.store.iterate()}, "nothing was collected"
        victim.go_on()
        assert isinstance(victim.wait(), Ended), victim.error
        victim.kill()
        assert broken_promises(client, victim.answered, ground.checkpoint) == []


def test_a_blob_that_was_collected_and_put_again_is_read_again(
    any_database: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is live before and after, and was allowed to be missing in between."""
    world = World(any_database)
    world.setup()
    digest, read = world.blob("taken and put again"), LocalStore.check
    missed: list[Digest] = []

    def check(store: LocalStore, asked: Digest) -> int:
        if asked != digest or missed:
            return read(store, asked)
        store.delete(digest)
        missed.append(asked)
        try:
            return read(store, asked)
        finally:
            world.blob("taken and put again")

    monkeypatch.setattr(LocalStore, "check", check)
    report = verify(any_database)
    assert missed == [digest]
    assert report.ok, report


def test_a_promotion_that_an_expiry_and_a_gc_overtake_is_told_of_the_expiry(
    local_registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said that blobs are lost, and to restore them from a backup."""
    world = World(local_registry)
    first = world.setup()
    world.edit(1, text="a")
    exists, asked = LocalStore.exists, list[Digest]()

    def overtaken(store: LocalStore, digest: Digest) -> bool:
        if not asked:
            expire(local_registry, MODEL, Rule(keep_last=1), author=Author("ada", "space"))
            gc(local_registry, author=Author("ada"), grace_s=0.0)
        asked.append(digest)
        return exists(store, digest)

    monkeypatch.setattr(LocalStore, "exists", overtaken)
    with pytest.raises(SnapshotExpired):
        local_registry.promote(MODEL, first.id, "production", Author("ada"))


def test_a_blob_that_is_lost_is_damage_however_often_verify_looks(any_database: Registry) -> None:
    world = World(any_database)
    lost = world.setup().content.space
    any_database.store.delete(lost)
    report = verify(any_database)
    assert [blob.digest for blob in report.damaged] == [lost]
    assert not report.ok


def folder(path: Path) -> None:
    path.mkdir()


def fifo(path: Path) -> None:
    os.mkfifo(path)


def loop(path: Path) -> None:
    """What nobody can open, root neither."""
    path.symlink_to(path)


@pytest.mark.parametrize(("put", "damaged"), [(folder, True), (fifo, True), (loop, False)])
def test_a_blob_that_cannot_be_read_is_named_and_the_others_are_read(
    local_registry: Registry, put: Callable[[Path], None], damaged: bool
) -> None:
    world = World(local_registry)
    first = world.setup()
    whole, lost = verify(local_registry), first.content.space
    assert isinstance(local_registry.store, LocalStore)
    path = local_registry.store.root / blob_key(lost)
    path.unlink()
    put(path)
    second = first.content.backbone["weights"]
    (local_registry.store.root / blob_key(second)).write_bytes(b"rot")
    report = verify(local_registry)
    assert report.blobs == whole.blobs - 2
    assert [b.digest for b in report.unreadable] == ([] if damaged else [lost])
    assert {b.digest for b in report.damaged} == ({lost, second} if damaged else {second})
    (problem,) = (b for b in (*report.damaged, *report.unreadable) if b.digest == lost)
    assert problem.snapshots == (first.id,)
    assert "\n" not in problem.problem


def test_an_object_that_the_server_does_not_give_is_named_and_the_others_are_read(
    local_registry: Registry, s3_url: str, s3_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden: dict[str, Answer] = {}

    def habit(request: Request, forward: Forward) -> Answer:
        return hidden.get(request.key.rpartition("/")[2]) or forward(request)

    with served(habit, s3_folder, monkeypatch):
        registry = replace(local_registry, store=open_store(s3_url).within(local_registry.store.scope), checked={})
        first = World(registry).setup()
        whole, content = verify(registry), first.content
        assert whole.ok
        denied, broken = sorted([content.space, content.backbone["weights"]])
        hidden |= {denied: error(403, "AccessDenied"), broken: error(500, "InternalError")}
        report = verify(registry)
    assert [(blob.digest, blob.snapshots) for blob in report.unreadable] == [
        (denied, (first.id,)),
        (broken, (first.id,)),
    ]
    assert "AccessDenied" in report.unreadable[0].problem
    assert (report.blobs, report.damaged, report.ok) == (whole.blobs - 2, (), False)


def test_a_store_that_gives_nothing_at_all_is_not_a_thousand_unreadable_blobs(
    local_registry: Registry, s3_url: str, s3_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def habit(request: Request, forward: Forward) -> Answer:
        if asked and request.method == "GET":
            asked.append(request.path)
            # The ends of the chain are listed before anything is read.
            return forward(request) if "audit" in request.path else error(403, "AccessDenied")
        return forward(request)

    with served(habit, s3_folder, monkeypatch):
        registry = replace(local_registry, store=open_store(s3_url).within(local_registry.store.scope), checked={})
        World(registry).setup()
        asked.append("from now on")
        with pytest.raises(StoreUnreachable):
            verify(registry)
    assert len(asked) <= 4


BIG = 96 * 2**20  # bytes
PEAK = """
import resource, sys
from raie.registry import open_store
from raie.registry.values import Digest

store, digest = open_store(sys.argv[1]), Digest(sys.argv[2])
assert store.check(Digest(sys.argv[3])) == 5
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert store.check(digest) == int(sys.argv[4])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_big_blob_is_checked_in_little_memory(store_url: str) -> None:
    store = open_store(store_url)
    small = store.put(b"small")
    if isinstance(store, LocalStore):
        big = Digest(hashlib.sha256(bytes(BIG)).hexdigest())
        path = store.root / blob_key(big)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(BIG)
    else:
        big = store.put(bytes(BIG))
    command = [sys.executable, "-c", PEAK, store_url, big, small, str(BIG)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert int(ran.stdout) * 1024 < BIG / 4
