"""A store is written by the database that owns it: no copy, no neighbour and no older state deletes another's blobs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from raie import migrations
from raie.registry import Author, InvalidValue, NotOwner, Registry, StoreUnreachable, trust
from raie.registry.db import triggers
from raie.registry.db.engine import open_engine
from raie.registry.maintenance import takeover
from raie.registry.maintenance import verify as maintenance
from raie.registry.maintenance.checkpoints import publish
from raie.registry.maintenance.expiry import Rule, expire
from raie.registry.maintenance.verify import gc, verify
from raie.registry.mlflow.publisher import sync
from raie.registry.ownership import standing as ownership
from raie.registry.ownership.identity import Epoch
from raie.registry.ownership.marker import NAME, Marker, compare, read
from raie.registry.progress import OnProgress, ignore_progress
from tests.conftest import make_database, run_sql
from tests.registry.building import MODEL, World
from tests.registry.db.legacy import legacy


def url_of(registry: Registry) -> str:
    return registry.engine.url.render_as_string(hide_password=False)


def worked(registry: Registry) -> World:
    """A model with an edit, in production, its chain head kept."""
    world = World(registry)
    world.setup()
    world.edit(1, text="a")
    registry.promote(MODEL, "head", "production", Author("ada"))
    publish(registry)
    return world


def tidied(registry: Registry) -> int:
    """Lets everything old expire, and collects at once; how many blobs went."""
    expire(registry, MODEL, Rule(keep_last=1), author=Author("ada"))
    return len(gc(registry, author=Author("ada"), grace_s=0.0, orphans=True).removed)


def whole(registry: Registry) -> bool:
    """Whether everything can be read back that any kept snapshot needs."""
    return verify(registry).ok


# Registries that share a store


def test_registries_that_share_a_store_never_delete_each_others_blobs(
    registry: Registry, store_url: str, scratch: Path
) -> None:
    url = f"sqlite:///{scratch / 'neighbour.db'}"
    migrations.upgrade(url)
    neighbour = Registry.open(url, store_url)
    first, second = worked(registry), worked(neighbour)
    assert first.head.content.blobs() == second.head.content.blobs(), "equal training makes equal blobs"
    first.edit(1, text="b")
    registry.promote(MODEL, "head", "production", Author("ada"))
    assert tidied(registry) > 0
    assert whole(registry)
    assert whole(neighbour)
    assert gc(neighbour, author=Author("ada"), grace_s=0.0, orphans=True).orphans == ()


@pytest.fixture
def shared(store_url: str, scratch: Path) -> tuple[Registry, Registry]:
    """Two registries of an older raie in the root of one store, with equal blobs."""
    first, two = (legacy(f"sqlite:///{scratch / name}.db", store_url) for name in ("one", "two"))
    # As they were made: neither looked for the other, so both kept their chain heads before this revision.
    for registry in (first, two):
        worked(registry)
    return first, two


def test_nothing_is_collected_in_a_root_that_several_share_until_all_but_one_have_left_it(
    shared: tuple[Registry, Registry],
) -> None:
    first, two = shared
    for registry in shared:
        with pytest.raises(NotOwner, match="raie registry separate --reason"):
            gc(registry, author=Author("ada"), grace_s=0.0)
        report = verify(registry)
        assert (report.ok, len(report.ownership.problems)) == (False, 1)
        assert "alone in the root" in report.ownership.problems[0]
        World(registry).edit(2, text="goes on meanwhile")
    moved = takeover.separate(first, author=Author("ada", "of its own"))
    assert moved is not None
    assert moved.registry.store.scope == f"registries/{moved.epoch.registry}"
    assert whole(moved.registry)
    assert takeover.separate(moved.registry, author=Author("ada", "again")) is None
    publish(two)
    assert whole(two), "the last one left has the root"
    assert tidied(two) > 0
    assert whole(two)
    assert whole(moved.registry)
    assert tidied(moved.registry) > 0
    assert whole(moved.registry)


def test_a_registry_that_is_alone_in_a_root_goes_on_there(store_url: str, sqlite_url: str) -> None:
    registry = legacy(sqlite_url, store_url)
    assert whole(registry), "nothing is claimed yet, and nothing is wrong"
    worked(registry)
    assert ownership.look(registry).standing == "owner"
    assert whole(registry)
    assert {blob.digest for blob in registry.store.iterate()} >= World(registry).head.content.blobs()


def test_a_process_that_works_in_the_part_that_was_left_cannot_lose_a_blob_there(
    store_url: str, scratch: Path
) -> None:
    registry = legacy(f"sqlite:///{scratch / 'one.db'}", store_url)
    worked(registry)
    late = World(Registry(registry.engine, registry.store))
    edit = late.begin()
    assert takeover.separate(registry, author=Author("ada", "of its own")) is not None
    with pytest.raises(NotOwner, match="moved to registries/"):
        late.changed(late.head.content, {1: "late"})
    late.registry.checked.clear()
    again = World(Registry.open(url_of(registry), store_url))
    resumed = again.registry.resume(MODEL, edit.number, force=True)
    again.commit(resumed, again.changed(again.head.content, {1: "late"}), 1)
    assert whole(again.registry)


# A database that is a copy


def copied(registry: Registry, scratch: Path, request: pytest.FixtureRequest) -> Registry:
    """A copy of the database, opened on the same store, as a drill does."""
    if registry.engine.dialect.name == "sqlite":
        shutil.copy(str(registry.engine.url.database), scratch / "copy.db")
        url = f"sqlite:///{scratch / 'copy.db'}"
    else:
        server, name = request.getfixturevalue("postgres_server"), f"copy_of_{registry.engine.url.database}"
        make_database(server, name, str(registry.engine.url.database))
        request.addfinalizer(lambda: run_sql(server, f"DROP DATABASE {name} WITH (FORCE)"))
        url = make_url(server).set(database=name).render_as_string(hide_password=False)
    return Registry(open_engine(url), registry.store)


WRITES: dict[str, Callable[[Registry], object]] = {
    "put": lambda registry: registry.put(b"new"),
    "begin": lambda registry: registry.begin(MODEL, "edit", seed=1, author=Author("ada")),
    "roll back": lambda registry: registry.rollback_to(MODEL, "edit:1", Author("ada")),
    "undo": lambda registry: registry.rollback_edit(MODEL, 2, Author("ada")),
    "promote": lambda registry: registry.promote(MODEL, "edit:1", "production", Author("ada")),
    "cherry-pick": lambda registry: registry.promote_region(MODEL, 1, 1, "production", Author("ada")),
    "abort": lambda registry: registry.abort(MODEL, 3, force=True),
    "resume": lambda registry: registry.resume(MODEL, 3, force=True),
    "expire": lambda registry: expire(registry, MODEL, Rule(keep_last=1), author=Author("ada")),
    "collect": lambda registry: gc(registry, author=Author("ada"), grace_s=0.0),
    "keep a chain head": publish,
    "set a policy": lambda registry: trust.set_policy(registry, MODEL, "production", {}, author=Author("ada")),
    "trust a key": lambda registry: trust.trust_key(registry, MODEL, "a" * 64, "release", author=Author("ada")),
    "approve": lambda registry: trust.approve(registry, MODEL, "head", "production", author=Author("bob", "fine")),
    "publish": lambda registry: sync(registry, "sqlite:///nowhere.db", ""),
}


def test_a_copy_of_a_database_reads_and_writes_nothing_until_it_is_forked(
    registry: Registry, scratch: Path, request: pytest.FixtureRequest
) -> None:
    world = worked(registry)
    world.begin()
    copy = copied(registry, scratch, request)
    before = sorted(blob.digest for blob in registry.store.iterate())
    for act in WRITES.values():
        with pytest.raises(NotOwner, match=r"is a copy: .*registry fork --reason.*registry move --reason"):
            act(copy)
    assert sorted(blob.digest for blob in registry.store.iterate()) == before
    assert copy.resolve(MODEL, "production").id == world.head.id
    report = verify(copy)
    assert (report.ok, len(report.ownership.notes)) == (True, 1), "it is what it was, and a note says more"
    with pytest.raises(InvalidValue, match="copy the database first"):
        takeover.fork(registry, author=Author("ada", "not a copy"))

    forked = takeover.fork(copy, author=Author("ada", "drill")).registry
    assert World(forked).edit(1, text="a drill") == World(forked).head
    forked.promote(MODEL, "head", "production", Author("ada"))
    world.edit(1, text="meanwhile")
    registry.promote(MODEL, "head", "production", Author("ada"))
    for opened in (registry, forked):
        opened.abort(MODEL, 3, force=True)
        assert tidied(opened) > 0
    assert [whole(registry), whole(forked)] == [True, True]


def test_a_move_takes_the_store_over_and_the_other_database_is_refused(
    registry: Registry, scratch: Path, request: pytest.FixtureRequest
) -> None:
    worked(registry)
    copy = copied(registry, scratch, request)
    moved = takeover.move(copy, author=Author("ada", "the old server died"))
    assert moved is not None
    assert (moved.epoch.number, moved.registry.store.scope) == (2, registry.store.scope)
    World(moved.registry).edit(2, text="after")
    assert whole(moved.registry)
    registry.checked.clear()
    with pytest.raises(NotOwner, match=r"taken it over \(epoch 2, here 1\)"):
        World(registry).begin()
    assert takeover.move(moved.registry, author=Author("ada", "again")) is None


# The table of docs/registry.md: what is done to files, and whether the database may write afterwards


def renamed(folder: Path) -> Path:
    (folder / "registry.db").rename(folder / "other name.db")
    return folder / "other name.db"


def across_file_systems(folder: Path) -> Path:
    shutil.copy(folder / "registry.db", folder / "moved.db")
    (folder / "registry.db").rename(folder / "gone")
    return folder / "moved.db"


def store_moved(folder: Path) -> Path:
    shutil.copytree(folder / "store", folder / "elsewhere")
    shutil.rmtree(folder / "store")
    (folder / "elsewhere").rename(folder / "store")
    return folder / "registry.db"


def workspace_copied(folder: Path) -> Path:
    shutil.copytree(folder, folder / "copy")
    return folder / "copy" / "registry.db"


def restored_over_it(folder: Path) -> Path:
    """An older backup's bytes in the same file, as `cp backup registry.db` leaves them."""
    (folder / "registry.db").write_bytes((folder / "backup").read_bytes())
    return folder / "registry.db"


@pytest.mark.parametrize(
    ("act", "writes"),
    [
        (renamed, True),
        (store_moved, True),
        (workspace_copied, True),
        (across_file_systems, False),
        (restored_over_it, False),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_done_to_files_and_whether_the_database_may_write_afterwards(
    scratch: Path, act: Callable[[Path], Path], writes: bool
) -> None:
    folder = scratch / "work"
    migrations.upgrade(f"sqlite:///{folder / 'registry.db'}")
    world = World(Registry.open(f"sqlite:///{folder / 'registry.db'}", str(folder / "store")))
    world.setup()
    shutil.copy(folder / "registry.db", folder / "backup")
    world.edit(1, text="after the backup")
    publish(world.registry)
    file = act(folder)
    opened = Registry.open(f"sqlite:///{file}", str(file.parent / "store"))
    if not writes:
        with pytest.raises(NotOwner):
            World(opened).begin()
        moved = takeover.move(opened, author=Author("ada", "it is meant"))
        assert moved is not None
        opened = moved.registry
    World(opened).edit(2, text="goes on")
    publish(opened)
    report = verify(opened)
    assert report.ok, report
    assert bool(report.ownership.notes) == (act is restored_over_it), "of the heads that were cut off"
    if act is workspace_copied:
        assert whole(World(world.registry).registry)


MINE, THEIRS = "a" * 32, "b" * 32
HERE, THERE = {"file": "1"}, {"file": "2"}
DISK, DISK_2 = {"folder": "7"}, {"folder": "8"}
POSTGRES = {"database": "5", "system": "9"}


@pytest.mark.parametrize(
    ("marker", "database", "store", "standing"),
    [
        (None, HERE, DISK, "unclaimed"),
        (Marker(MINE, 2, HERE, DISK), HERE, DISK, "owner"),
        (Marker(MINE, 2, HERE, DISK), HERE, DISK_2, "owner"),
        (Marker(MINE, 2, HERE, DISK), THERE, DISK, "copy"),
        (Marker(MINE, 2, HERE, DISK), THERE, DISK_2, "unclaimed"),
        (Marker(MINE, 2, HERE, {}), THERE, {}, "copy"),
        (Marker(MINE, 3, HERE, DISK), HERE, DISK, "stale"),
        (Marker(MINE, 1, THERE, DISK), HERE, DISK, "unclaimed"),
        (Marker(THEIRS, 1, HERE, DISK), HERE, DISK, "other"),
        (Marker(THEIRS, 1, HERE, DISK, released=True), HERE, DISK, "unclaimed"),
        (Marker("c" * 32, 1, HERE, DISK), HERE, DISK, "unclaimed"),
        (Marker(MINE, 2, POSTGRES, {}), POSTGRES, {}, "owner"),
        (Marker(MINE, 2, POSTGRES, {}), POSTGRES | {"system": None}, {}, "owner"),
        (Marker(MINE, 2, POSTGRES, {}), POSTGRES | {"database": "6"}, {}, "copy"),
        (Marker(MINE, 2, POSTGRES, {}), POSTGRES | {"system": "3"}, {}, "copy"),
        (Marker(MINE, 2, HERE, {}), POSTGRES, {}, "copy"),
    ],
)
def test_a_database_owns_a_part_of_a_store_only_where_the_marker_names_it(
    marker: Marker | None, database: dict[str, str | None], store: dict[str, str | None], standing: str
) -> None:
    epoch = Epoch(2, MINE, "registries/x", 1, "ada", "", 0.0)
    assert compare(marker, epoch, {"c" * 32}, database, store) == standing
    assert marker is None or read(marker.to_bytes()) == marker


@pytest.mark.parametrize("data", [b"", b"<html>", b"[]", b'{"format":2}', b'{"format":1,"registry":1}', b"\xff"])
def test_a_page_of_a_proxy_is_no_marker(data: bytes) -> None:
    assert read(data) is None


# A fork that is interrupted


@pytest.mark.parametrize("fails_at", ["blob", "switch", "end"])
def test_a_fork_that_was_interrupted_goes_on_when_it_is_repeated(
    local_registry: Registry,
    scratch: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    fails_at: str,
) -> None:
    world = worked(local_registry)
    copy = copied(local_registry, scratch, request)
    puts = []

    def interrupted(*args: object, **options: object) -> None:
        puts.append(args)
        if fails_at != "blob" or len(puts) == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if fails_at == "blob":
            patch.setattr(takeover, "_whole", lambda store, digest: False)
            progress: OnProgress = interrupted
        else:
            progress = ignore_progress
            patch.setattr(takeover, "_switch" if fails_at == "switch" else "publish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            takeover.fork(copy, author=Author("ada", "drill"), progress=progress)
    before = {path.name for path in (scratch / "local" / "store" / "registries").iterdir()}
    assert len(before) == 2
    again = Registry.open(url_of(copy), str(scratch / "local" / "store"))
    if fails_at != "end":
        assert again.store.scope == local_registry.store.scope, "nothing has changed"
        again = takeover.fork(again, author=Author("ada", "drill")).registry
    assert {path.name for path in (scratch / "local" / "store" / "registries").iterdir()} == before
    World(again).edit(0, text="a drill")
    assert [whole(again), whole(world.registry)] == [True, True]


def test_a_fork_that_lacks_a_blob_switches_nothing(
    local_registry: Registry, scratch: Path, request: pytest.FixtureRequest
) -> None:
    world = worked(local_registry)
    copy = copied(local_registry, scratch, request)
    local_registry.store.delete(world.head.content.regions[1]["lora"])
    with pytest.raises(Exception, match="restore it from a backup"):
        takeover.fork(copy, author=Author("ada", "drill"))
    assert Registry.open(url_of(copy), str(scratch / "local" / "store")).store.scope == local_registry.store.scope


# Beside a gc


def test_a_gc_stops_before_it_deletes_what_another_database_has_taken_over(
    local_registry: Registry, scratch: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = worked(local_registry)
    copy = copied(local_registry, scratch, request)
    world.edit(1, text="b")
    local_registry.promote(MODEL, "head", "production", Author("ada"))
    expire(local_registry, MODEL, Rule(keep_last=1), author=Author("ada"))
    removing = maintenance._remove

    def after_it(registry: Registry, batch: list[maintenance.Collected]) -> list[maintenance.Collected]:
        assert takeover.move(copy, author=Author("ada", "took over")) is not None
        return removing(registry, batch)

    monkeypatch.setattr(maintenance, "_remove", after_it)
    with pytest.raises(NotOwner, match="taken it over"):
        gc(local_registry, author=Author("ada"), grace_s=0.0)
    assert whole(copy), "what it serves is there"


# What somebody does by hand


def _sql(statement: str) -> Callable[[Registry], None]:
    def act(registry: Registry) -> None:
        with registry.engine.begin() as connection:
            triggers.drop(connection)
            connection.execute(text(statement))

    return act


def _mark_as(**changes: object) -> Callable[[Registry], None]:
    def act(registry: Registry) -> None:
        value = json.loads(registry.store.get_record(NAME) or b"")
        registry.store.put_record(NAME, json.dumps(value | changes).encode())

    return act


def _remove_marker(registry: Registry) -> None:
    (registry.store.root / NAME).unlink()  # type: ignore[attr-defined]


ACTS: dict[str, tuple[Callable[[Registry], None], str]] = {
    "an UPDATE of the id": (
        _sql("UPDATE identity SET registry = 'dddddddddddddddddddddddddddddddd'"),
        "the row of epoch 1 was changed: its registry",
    ),
    "an UPDATE of the event": (_sql("UPDATE identity SET event = 0"), "the row of epoch 1 was changed: its event"),
    "an epoch that nobody began": (
        _sql(
            "INSERT INTO identity (id, registry, prefix, event, actor, reason, at) "
            "SELECT 2, registry, prefix, event, actor, reason, at FROM identity"
        ),
        "a row of epoch 2, and no audit event",
    ),
    "the marker removed": (_remove_marker, "no registry.json there"),
    "the marker of another registry": (_mark_as(registry="d" * 32), "found the marker of registry dddd"),
    "a marker that is none": (
        lambda registry: registry.store.put_record(NAME, b"<html>not found</html>"),
        "that is no marker",
    ),
}


@pytest.mark.parametrize("act", ACTS)
def test_verify_names_what_was_done_to_the_identity_by_hand(local_registry: Registry, act: str) -> None:
    worked(local_registry)
    do, expected = ACTS[act]
    assert whole(local_registry)
    do(local_registry)
    report = verify(local_registry)
    assert not report.ok
    assert any(expected in problem for problem in report.ownership.problems), report.ownership


def test_verify_names_an_epoch_whose_row_was_deleted(
    local_registry: Registry, scratch: Path, request: pytest.FixtureRequest
) -> None:
    worked(local_registry)
    moved = takeover.move(copied(local_registry, scratch, request), author=Author("ada", "moved"))
    assert moved is not None
    _sql("DELETE FROM identity WHERE id = 1")(moved.registry)
    (problem,) = verify(moved.registry).ownership.problems
    assert "epoch 1, and its row was deleted" in problem


def test_the_kept_chain_heads_count_though_the_identitys_row_was_changed(local_registry: Registry) -> None:
    worked(local_registry)
    _sql("UPDATE identity SET registry = 'dddddddddddddddddddddddddddddddd'")(local_registry)
    with local_registry.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_events WHERE id > 3"))
        end = "UPDATE audit_head SET event = 3, hash = (SELECT hash FROM audit_events WHERE id = 3)"
        connection.execute(text(end))
    report = verify(local_registry)
    assert report.published == 1
    assert any("events were cut off" in problem for problem in report.chain.problems), report.chain


def test_a_store_that_does_not_answer_stops_no_reading_and_nothing_that_needs_no_store(
    local_registry: Registry,
) -> None:
    world = worked(local_registry)
    shutil.move(str(local_registry.store.top), f"{local_registry.store.top}.away")  # type: ignore[attr-defined]
    away = replace(Registry.open(url_of(local_registry), str(local_registry.store.top)), checked={})  # type: ignore[attr-defined]
    assert away.resolve(MODEL, "production").id == world.head.id
    trust.trust_key(away, MODEL, "a" * 64, "release", author=Author("ada"))
    with pytest.raises(StoreUnreachable, match="found no folder"):
        away.begin(MODEL, "edit", seed=1, author=Author("ada"))
