"""A backup is one moment, whole or absent, and comes back only where everything in it is as it was."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from raie.migrations import upgrade
from raie.migrations.filling import fill
from raie.registry import Author, BlobMissing, InvalidValue, NotOwner, Registry, SchemaMismatch, trust
from raie.registry.canonical import canonical_json
from raie.registry.db.engine import open_engine, reading
from raie.registry.db.tables import metadata
from raie.registry.maintenance import checkpoints, takeover
from raie.registry.maintenance.backup import DATABASE, MANIFEST, make, read_manifest
from raie.registry.maintenance.restore import Restored, restore
from raie.registry.maintenance.verify import gc, verify
from raie.registry.store.base import blob_key
from raie.registry.store.local import LocalStore
from raie.registry.values import digest_of
from tests.registry.building import MODEL, World


@pytest.fixture
def world(any_database: Registry) -> World:
    """A model with edits, a protected alias, an approval and an expired snapshot's worth of rows."""
    world = World(any_database)
    world.setup()
    world.edit(0, text="a")
    world.edit(1, text="b")
    any_database.promote(MODEL, "edit:2", "production", Author("ada"))
    trust.set_policy(any_database, MODEL, "production", {"second_person": True}, author=Author("owner"))
    trust.approve(any_database, MODEL, "head", "production", author=Author("grace", "looked"))
    any_database.rollback_edit(MODEL, 2, Author("ada"))
    return world


def rows(registry: Registry) -> dict[str, list[str]]:
    with reading(registry.engine) as connection:
        return {
            table.name: sorted(map(str, connection.execute(table.select())))
            for table in metadata.sorted_tables
            if not table.name.startswith("audit")
        }


def back(folder: Path, to: str, store: str, **more: bool) -> Restored:
    return restore(folder, to, store, fill, author=Author("ada"), **more)


def store_of(registry: Registry) -> str:
    assert isinstance(registry.store, LocalStore)
    return str(registry.store.top)


def taken_over(url: str, store: str) -> Registry:
    """The restored database, once it is said that the other one is gone."""
    moved = takeover.move(Registry.open(url, store), author=Author("ada", "the other one is gone"))
    assert moved is not None
    return moved.registry


def test_a_backup_comes_back_row_by_row_and_work_goes_on(world: World, scratch: Path) -> None:
    checkpoints.publish(world.registry)
    made = make(world.registry, scratch / "monday", fill)
    assert {path.name for path in (scratch / "monday").iterdir()} == {MANIFEST, DATABASE}
    assert read_manifest(scratch / "monday") == made
    target = f"sqlite:///{scratch / 'again' / 'registry.db'}"
    done = back(scratch / "monday", target, store_of(world.registry))
    assert (done.lost, done.blobs_put, done.replaced) == (0, 0, None)
    again = Registry.open(target, store_of(world.registry))
    assert rows(again) == rows(world.registry)
    with pytest.raises(NotOwner, match=r"raie registry fork.*raie registry move"):
        World(again).edit(2, text="c")
    again = taken_over(target, store_of(world.registry))
    assert verify(again).ok
    World(again).edit(2, text="c")
    again.promote(MODEL, "edit:2", "staging", Author("ada"))
    assert verify(again).ok


def test_a_backup_of_sqlite_comes_back_into_postgresql(
    local_registry: Registry, postgres_url: str, scratch: Path
) -> None:
    World(local_registry).setup()
    make(local_registry, scratch / "monday", fill)
    upgrade(postgres_url)
    store = store_of(local_registry)
    back(scratch / "monday", postgres_url, store)
    assert rows(Registry.open(postgres_url, store)) == rows(local_registry)
    again = taken_over(postgres_url, store)
    World(again).edit(0, text="a")
    again.promote(MODEL, "head", "production", Author("ada"))
    assert verify(again).ok
    with pytest.raises(InvalidValue, match="found one; name another"):
        back(scratch / "monday", postgres_url, store, replace=True)


def test_a_backup_during_writes_is_one_moment(local_registry: Registry, scratch: Path) -> None:
    world, stop, made = World(local_registry), threading.Event(), []
    world.setup()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            world.edit(number % 3, text=str(number))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for number in range(3):
            made.append(make(local_registry, scratch / f"copy {number}", fill))
    finally:
        stop.set()
        thread.join()
    assert len({backup.chain_head for backup in made}) > 1
    for number in range(3):
        back(scratch / f"copy {number}", f"sqlite:///{scratch / f'{number}.db'}", store_of(local_registry))


def test_blobs_that_a_store_lost_come_from_the_backup_or_nothing_comes_back(
    local_registry: Registry, scratch: Path
) -> None:
    World(local_registry).setup()
    local_registry.put(b"nobody needs me")
    make(local_registry, scratch / "bare", fill)
    made = make(local_registry, scratch / "whole", fill, with_blobs=True)
    assert b"nobody needs me" not in [path.read_bytes() for path in (scratch / "whole" / "blobs").rglob("*/*/*")]
    store, target = LocalStore(scratch / "other store"), f"sqlite:///{scratch / 'again.db'}"
    (scratch / "empty").mkdir()
    with pytest.raises(BlobMissing, match=f"{len(made.blobs)} of them missing"):
        back(scratch / "bare", target, str(scratch / "empty"))
    assert not (scratch / "again.db").exists()
    assert back(scratch / "whole", target, str(store.root)).blobs_put == len(made.blobs)
    assert verify(taken_over(target, str(store.root))).ok
    damaged = scratch / "whole" / "blobs" / blob_key(made.blobs[0][0])
    damaged.write_bytes(b"rot")
    with pytest.raises(Exception, match="found 3 bytes"):
        back(scratch / "whole", f"sqlite:///{scratch / 'third.db'}", str(scratch / "third store"))
    assert not (scratch / "third.db").exists()


def test_what_happened_after_a_backup_is_counted_as_lost(local_registry: Registry, scratch: Path) -> None:
    world = World(local_registry)
    world.setup()
    make(local_registry, scratch / "monday", fill)
    world.edit(0, text="a")
    checkpoints.publish(local_registry)
    done = back(scratch / "monday", f"sqlite:///{scratch / 'again.db'}", store_of(local_registry))
    assert done.lost == 2


def test_a_registry_that_is_there_is_put_aside_only_when_told(local_registry: Registry, scratch: Path) -> None:
    world, url = World(local_registry), local_registry.engine.url.render_as_string()
    first = world.setup()
    make(local_registry, scratch / "monday", fill)
    world.edit(0, text="a")
    before = rows(local_registry)
    with pytest.raises(InvalidValue, match="--replace puts it aside"):
        back(scratch / "monday", url, store_of(local_registry))
    assert rows(local_registry) == before
    done = back(scratch / "monday", url, store_of(local_registry), replace=True)
    assert local_registry.resolve(MODEL, "head").id == first.id
    assert done.replaced is not None
    kept = Registry.open(f"sqlite:///{done.replaced}", store_of(local_registry))
    assert rows(kept) == before
    assert not list(done.replaced.parent.glob(".*"))


def test_a_backup_that_was_changed_is_refused_and_nothing_put_in_place(
    local_registry: Registry, scratch: Path
) -> None:
    World(local_registry).setup()
    folder, target = scratch / "monday", scratch / "again.db"
    make(local_registry, folder, fill)
    manifest, data = (folder / MANIFEST).read_bytes(), (folder / DATABASE).read_bytes()

    def refused(words: str, error: type[Exception] = InvalidValue) -> None:
        with pytest.raises(error, match=words):
            back(folder, f"sqlite:///{target}", store_of(local_registry))
        assert not target.exists()

    def signed_anew(**fields: object) -> None:
        changed = {name: value for name, value in (json.loads(manifest) | fields).items() if name != "digest"}
        (folder / MANIFEST).write_bytes(canonical_json(changed | {"digest": digest_of(canonical_json(changed))}))

    (folder / MANIFEST).write_bytes(manifest.replace(b'"revision":"0', b'"revision":"1'))
    refused("found it changed")
    (folder / MANIFEST).write_text("no manifest")
    refused("found another text")
    (folder / MANIFEST).unlink()
    refused("found no manifest.json")
    (folder / MANIFEST).write_bytes(manifest)
    (folder / DATABASE).write_bytes(data[:-1] + b"x")
    refused("use another copy")
    (folder / DATABASE).write_bytes(data)
    signed_anew(revision="0001")
    refused("found 0001; restore it with the raie that made it", SchemaMismatch)
    with open_engine(f"sqlite:///{folder / DATABASE}").begin() as connection:
        connection.execute(text("UPDATE heads SET moved_at = 1"))
        connection.execute(text("UPDATE audit_head SET event = event + 1"))
    data = (folder / DATABASE).read_bytes()
    signed_anew(database_sha256=digest_of(data), database_bytes=len(data))
    refused("sound backup, found")


def test_a_backup_that_fails_leaves_nothing_and_one_that_is_there_is_kept(
    local_registry: Registry, scratch: Path
) -> None:
    world = World(local_registry)
    world.setup()
    make(local_registry, scratch / "monday", fill)
    with pytest.raises(InvalidValue, match="not there yet"):
        make(local_registry, scratch / "monday", fill)
    with pytest.raises(InvalidValue, match="found none; make it"):
        make(local_registry, scratch / "nowhere" / "x", fill)
    lost = read_manifest(scratch / "monday").blobs[0][0]
    local_registry.store.delete(lost)
    with pytest.raises(BlobMissing):
        make(local_registry, scratch / "tuesday", fill, with_blobs=True)
    assert not [path for path in scratch.iterdir() if "tuesday" in path.name]
    assert gc(local_registry, author=Author("ada"), grace_s=0).removed == ()
