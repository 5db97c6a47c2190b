"""verify finds every damage and whom it hurts; gc takes nothing that anybody needs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import text

from raie.registry import Author, BlobMissing, Digest, InvalidValue, LocalStore, Registry, audit, blobs, digest_of
from raie.registry.audit import parse_checkpoint
from raie.registry.db import triggers
from raie.registry.db.engine import reading, write
from raie.registry.leases import EDIT_LEASE_S
from raie.registry.maintenance import verify as maintenance
from raie.registry.maintenance.verify import Collected, DamagedBlob, gc, verify
from tests.conftest import Ready
from tests.registry.building import MODEL, World, overwrite

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def world(ready: Ready) -> World:
    return World(ready(one_edit))


def one_edit(registry: Registry) -> None:
    world = World(registry)
    world.setup()
    world.edit(1, text="a")


def age(world: World, seconds: float) -> None:
    """Lets every blob be as old as if it had been put that long ago."""
    with world.registry.engine.begin() as connection:
        connection.execute(text("UPDATE blobs SET put_at = put_at - :s"), {"s": seconds})


def collect(world: World, **options: object) -> list[Digest]:
    report = gc(world.registry, author=Author("ada"), **{"grace_s": 0.0} | options)  # type: ignore[arg-type]
    return [Digest(blob.digest) for blob in report.removed]


def mark(world: World, unneeded: list[Collected]) -> list[Collected]:
    """The step in which gc marks what it found."""
    return write(
        world.registry.engine, lambda c: maintenance._mark(c, unneeded, time.time() + 1, 0, Author("ada"))
    )


def rows(world: World) -> dict[str, str]:
    with reading(world.registry.engine) as connection:
        return {row.digest: row.state for row in connection.execute(text("SELECT digest, state FROM blobs"))}


# verify


def test_verify_reads_the_audit_chain_once(world: World) -> None:
    walks: list[str] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if "FROM audit_events ORDER BY audit_events.id" in " ".join(statement.split()):
            walks.append(statement)

    sqlalchemy_event.listen(world.registry.engine, "before_cursor_execute", count)
    assert verify(world.registry).ok
    assert len(walks) == 1


def test_verify_reads_everything_back_and_names_each_damage_and_whom_it_hurts(registry: Registry) -> None:
    world = World(registry)
    first = world.setup()
    second = world.edit(1, text="a")
    third = world.edit(2, text="b")
    flipped, missing, truncated = (
        second.content.regions[1]["lora"],
        first.content.space,
        third.content.regions[2]["lora"],
    )
    overwrite(registry.store, flipped, b"lora 1 A")
    registry.store.delete(missing)
    overwrite(registry.store, truncated, b"lora 2")
    report = verify(registry)
    assert not report.ok
    unneeded = {blob.digest: blob.snapshots for blob in report.damaged}
    assert unneeded == {
        flipped: (second.id, third.id),
        missing: (first.id, second.id, third.id),
        truncated: (third.id,),
    }
    for blob in report.damaged:
        assert blob.digest in blob.problem
        assert "\n" not in blob.problem
    assert report.chain.problems == ()
    assert report.references == ()


def test_a_damaged_manifest_hurts_its_own_snapshot_and_the_database_still_has_it(world: World) -> None:
    head = world.head
    overwrite(world.registry.store, Digest(head.id), b"{}")
    (damaged,) = verify(world.registry).damaged
    assert isinstance(damaged, DamagedBlob)
    assert (damaged.digest, damaged.snapshots) == (head.id, (head.id,))
    assert world.registry.resolve(MODEL, "head") == head


def test_putting_the_bytes_again_heals_what_verify_found(world: World) -> None:
    lora = world.head.content.regions[1]["lora"]
    overwrite(world.registry.store, lora, b"rot")
    assert not verify(world.registry).ok
    world.blob("lora 1 a")
    assert verify(world.registry).ok


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            "UPDATE snapshots SET manifest = replace(manifest, 'recsys', 'recsis') WHERE edit = 2",
            "manifest of snapshot",
        ),
        ("UPDATE snapshots SET content_digest = parent WHERE edit = 2", "digest is recorded as"),
        ("UPDATE aliases SET snapshot = (SELECT id FROM snapshots WHERE edit = 1)", "its log says"),
        ("DELETE FROM snapshot_blobs", "no row keeps it from gc"),
        ("DELETE FROM adapter_versions WHERE region = 1", "regions [1] have no version"),
        ("UPDATE blobs SET state = 'uploading'", "not live"),
        ("UPDATE heads SET model = 'other'", "no snapshot of it"),
    ],
)
def test_rows_that_contradict_each_other_are_named(world: World, statement: str, expected: str) -> None:
    world.registry.promote(MODEL, "head", "production", Author("ada"))
    with world.registry.engine.begin() as connection:
        connection.execute(text("INSERT INTO models (name, last_edit, created_at) VALUES ('other', 0, 0)"))
        connection.execute(text(statement))
    assert any(expected in problem for problem in verify(world.registry).references)


def test_verify_tells_a_tampered_log(world: World) -> None:
    checkpoint = verify(world.registry).chain.head
    assert verify(world.registry, checkpoints=[parse_checkpoint(checkpoint)]).ok
    with world.registry.engine.begin() as connection:
        triggers.drop(connection)
        connection.execute(text("UPDATE audit_events SET actor = 'eve' WHERE id = 2"))
    report = verify(world.registry)
    assert not report.ok
    assert report.chain.problems == ("event 2 was changed after it was written",)


# gc


def test_gc_takes_what_nothing_names_and_nothing_else(registry: Registry) -> None:
    world = World(registry)
    world.setup()
    world.edit(1, text="a")
    junk = world.blobs("junk 1", "junk 2")
    planned = gc(registry, author=Author("ada"), grace_s=0.0, dry_run=True)
    assert ([blob.digest for blob in planned.removed], planned.bytes) == (sorted(junk), 12)
    assert planned.removed[0].reason == "no kept snapshot names it"
    assert registry.get(junk[0]) == b"junk 1"
    assert collect(world) == sorted(junk)
    for digest in junk:
        assert not registry.store.exists(digest)
    assert verify(registry).ok
    assert collect(world) == []


def test_gc_keeps_every_blob_of_every_snapshot_however_old(world: World) -> None:
    world.registry.rollback_to(MODEL, "edit:1", Author("ada"))
    world.registry.promote(MODEL, "edit:1", "production", Author("ada"))
    world.edit(0, text="z")
    world.registry.promote_region(MODEL, 0, 2, "production", Author("ada"))
    age(world, 10 * maintenance.GRACE_S)
    assert collect(world, grace_s=maintenance.GRACE_S) == []
    assert verify(world.registry).ok


def test_gc_keeps_what_is_young(world: World) -> None:
    world.blob("young")
    assert collect(world, grace_s=60.0) == []
    age(world, 61)
    assert collect(world, grace_s=60.0) == [digest_of(b"young")]


def test_a_blob_that_is_put_again_is_young_again(world: World) -> None:
    world.blob("again")
    age(world, 100)
    world.blob("again")
    assert rows(world)[digest_of(b"again")] == "live"
    assert collect(world, grace_s=60.0) == []


def test_gc_keeps_what_a_running_edit_may_need_even_if_it_is_abandoned(world: World) -> None:
    recorded, plan = world.blobs("recorded", "plan")
    age(world, 1000)
    number = world.begin(plan_digest=plan).number
    world.registry.record_checkpoint(MODEL, number, "region 1", {"adapter": {"lora": recorded}})
    after = world.blob("put while it runs")
    with world.registry.engine.begin() as connection:
        connection.execute(
            text("UPDATE edits SET lease_expires_at = lease_expires_at - :s WHERE state = 'running'"),
            {"s": 2 * EDIT_LEASE_S},
        )
    assert world.registry.edit(MODEL, number).state == "abandoned"
    assert collect(world) == []
    world.registry.abort(MODEL, number)
    assert collect(world) == sorted([recorded, plan, after])


def test_gc_removes_an_upload_that_was_killed_and_finishes_a_gc_that_was(world: World) -> None:
    half, marked = digest_of(b"half"), world.blob("marked")
    with world.registry.engine.begin() as connection:
        row = "INSERT INTO blobs (digest, size, state, put_at) VALUES (:d, 4, 'uploading', 0)"
        connection.execute(text(row), {"d": half})
        connection.execute(text("UPDATE blobs SET state = 'deleting' WHERE digest = :d"), {"d": marked})
    reasons = {blob.digest: blob.reason for blob in gc(world.registry, author=Author("ada"), grace_s=0.0).removed}
    assert reasons == {half: "its upload was interrupted", marked: "an earlier gc was interrupted"}
    assert not world.registry.store.exists(marked)


def test_a_blob_that_gc_marked_is_not_fit_for_a_commit_until_it_is_put_again(world: World) -> None:
    edit = world.begin()
    content = world.changed(world.head.content, {1: "b"})
    lora = content.regions[1]["lora"]
    with world.registry.engine.begin() as connection:
        connection.execute(text("UPDATE blobs SET state = 'deleting' WHERE digest = :d"), {"d": lora})
    with pytest.raises(BlobMissing, match=lora):
        world.commit(edit, content, 1)
    world.blob("lora 1 b")
    assert world.commit(edit, content, 1) == world.head


def test_an_upload_between_gc_s_mark_and_its_removal_keeps_the_blob(world: World) -> None:
    digest = world.blob("wanted after all")
    with reading(world.registry.engine) as connection:
        unneeded, _ = maintenance._unneeded(connection, time.time() + 1)
    marked = mark(world, unneeded)
    assert [blob.digest for blob in marked] == [digest]
    world.blob("wanted after all")
    assert maintenance._remove(world.registry, marked) == []
    assert world.registry.get(digest) == b"wanted after all"
    assert rows(world)[digest] == "live"


def test_a_commit_between_gc_s_look_and_its_mark_keeps_the_blob(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    with monkeypatch.context() as later:
        later.setattr(time, "time", lambda: now + 60)
        edit = world.begin()
    content = world.changed(world.head.content, {1: "b"})
    with reading(world.registry.engine) as connection:
        unneeded, _ = maintenance._unneeded(connection, time.time() + 1)
    assert {blob.digest for blob in unneeded} == set(content.regions[1].values())
    world.commit(edit, content, 1)
    assert mark(world, unneeded) == []
    assert verify(world.registry).ok


@pytest.mark.parametrize("point", ["gc.locked", "gc.audited", "gc.removing", "gc.object_removed"])
def test_an_upload_that_meets_a_gc_at_any_step_ends_with_the_blob_in_the_store(
    world: World, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """The gc holds locks there, so the upload runs beside it, in a thread of its own, and waits."""
    digest, uploads = world.blob("wanted again"), list[Thread]()

    def failpoint(reached: str) -> None:
        if reached == point and not uploads:
            uploads.append(Thread(target=lambda: world.blob("wanted again")))
            uploads[0].start()
            # Long enough for it to have met the lock; without one it would have finished.
            uploads[0].join(0.1)

    monkeypatch.setattr(maintenance, "failpoint", failpoint)
    gc(world.registry, author=Author("ada"), grace_s=0.0)
    uploads[0].join()
    assert world.registry.get(digest) == b"wanted again"
    assert rows(world)[digest] == "live"
    assert verify(world.registry).ok


@pytest.mark.parametrize("point", ["upload.claimed", "upload.stored", "upload.verified"])
def test_an_upload_that_is_overtaken_by_a_gc_at_any_step_begins_again(
    world: World, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    overtaken: list[str] = []

    def failpoint(reached: str) -> None:
        if reached == point and not overtaken:
            overtaken.append(reached)
            # An upload is too young for every other gc.
            overtaken.extend(collect(world))

    monkeypatch.setattr(blobs, "failpoint", failpoint)
    digest = world.blob("wanted")
    assert overtaken == [point, digest]
    assert world.registry.get(digest) == b"wanted"
    assert rows(world)[digest] == "live"


def test_a_store_that_keeps_nothing_is_not_taken_for_a_gc(
    local_registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    local_registry.put(b"kept")
    monkeypatch.setattr(LocalStore, "_write", lambda store, data, target: None)
    with pytest.raises(BlobMissing):
        local_registry.put(b"lost")


def test_a_gc_that_is_killed_has_told_of_everything_that_it_removed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    junk = world.blobs("junk 1", "junk 2")

    def failpoint(reached: str) -> None:
        if reached == "gc.object_removed":
            raise KeyError("killed")

    monkeypatch.setattr(maintenance, "failpoint", failpoint)
    with pytest.raises(KeyError):
        gc(world.registry, author=Author("ada"), grace_s=0.0)
    monkeypatch.undo()
    assert sum(world.registry.store.exists(digest) for digest in junk) == 1
    with reading(world.registry.engine) as connection:
        (event,) = (event for event in audit.events(connection) if event.action == "gc")
    assert event.subject == "2 blobs, 12 bytes, 0 incomplete uploads"
    assert gc(world.registry, author=Author("ada"), grace_s=3600.0).bytes == 12, (
        "what was marked goes, whatever its age"
    )
    assert verify(world.registry).ok


PEOPLE = """
import sys
from raie.registry import Author, Registry
from raie.registry.maintenance.verify import gc
from tests.registry.building import World

world, role = World(Registry.open(sys.argv[1], sys.argv[2])), sys.argv[3]
for number in range(8):
    if role == "gc":
        gc(world.registry, author=Author("bob"), grace_s=0.0)
    else:
        world.blobs("shared 0", "shared 1", f"{role} {number}")
        world.edit(int(role), text=f"{role} {number // 2}")
"""


def test_processes_that_edit_and_collect_at_once_lose_nothing(any_database: Registry) -> None:
    world = World(any_database)
    world.setup()
    url = any_database.engine.url.render_as_string(hide_password=False)
    folder = str(any_database.store.top)  # type: ignore[attr-defined]
    people = [
        subprocess.Popen(
            [sys.executable, "-c", PEOPLE, url, folder, role], stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        for role in ("0", "1", "gc")
    ]
    errors = [process.communicate(timeout=120)[1] for process in people]
    assert [process.returncode for process in people] == [0, 0, 0], errors
    assert len(any_database.edits(MODEL)) == 17
    report = verify(any_database)
    assert (report.damaged, report.references, report.chain.problems) == ((), (), ())


def test_objects_of_another_database_are_told_and_only_taken_on_request(registry: Registry) -> None:
    world = World(registry)
    world.setup()
    orphan = registry.store.put(b"somebody else's")
    # A store's clock may be a second behind.
    later = {"grace_s": 0.0, "author": Author("ada")}
    time.sleep(1.1)
    assert gc(registry, **later).orphans == (orphan,)  # type: ignore[arg-type]
    assert registry.store.exists(orphan)
    report = gc(registry, orphans=True, **later)  # type: ignore[arg-type]
    assert [blob.digest for blob in report.removed] == [orphan]
    assert not registry.store.exists(orphan)
    assert verify(registry).ok


def test_gc_clears_what_killed_uploads_left_in_the_folder(world: World) -> None:
    store = world.registry.store
    assert isinstance(store, LocalStore)
    half = store.root / "incoming" / "half"
    half.write_bytes(b"ha")
    assert gc(world.registry, author=Author("ada"), dry_run=True, grace_s=60.0).incomplete_uploads == ()
    os.utime(half, (0, 0))
    assert gc(world.registry, author=Author("ada"), dry_run=True).incomplete_uploads == ("half",)
    assert gc(world.registry, author=Author("ada")).incomplete_uploads == ("half",)
    assert not half.exists()


def test_a_dry_run_writes_nothing_and_a_run_is_logged(world: World) -> None:
    world.blob("junk")
    before = verify(world.registry).chain
    gc(world.registry, author=Author("ada"), grace_s=0.0, dry_run=True)
    assert verify(world.registry).chain == before
    gc(world.registry, author=Author("ada", "disk is full"), grace_s=0.0)
    assert verify(world.registry).chain.events == before.events + 1
    gc(world.registry, author=Author("ada"), grace_s=0.0)
    assert verify(world.registry).chain.events == before.events + 1


@pytest.mark.parametrize("grace_s", [-1.0, float("nan")])
def test_a_grace_period_that_is_none_is_refused(world: World, grace_s: float) -> None:
    with pytest.raises(InvalidValue):
        gc(world.registry, author=Author("ada"), grace_s=grace_s)


def test_a_gc_of_many_blobs_takes_them_all(local_registry: Registry, tmp_path: Path) -> None:
    world = World(local_registry)
    world.setup()
    junk = world.blobs(*(f"junk {number}" for number in range(250)))
    assert collect(world) == sorted(junk)
    assert verify(local_registry).ok
