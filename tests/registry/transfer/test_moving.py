"""A snapshot that moves brings its history as it was, verified; again, it changes nothing; a bad file changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raie.registry import (
    ArchiveDamaged,
    Author,
    CommitConflict,
    NotFound,
    PromotionRefused,
    Registry,
    SnapshotExpired,
    Untrusted,
    audit,
    failpoints,
    trust,
)
from raie.registry.canonical import canonical_json
from raie.registry.db import guards, triggers
from raie.registry.db.engine import reading
from raie.registry.maintenance import record_check
from raie.registry.maintenance.verify import gc, verify
from raie.registry.outbox import drain
from raie.registry.promotion import signing
from raie.registry.values import digest_of
from tests.conftest import memory
from tests.registry.building import MODEL, World
from tests.registry.crash.processes import context
from tests.registry.promotion.test_admission import report
from tests.registry.transfer.staging import SIGNER, bring, expired, exported, history_of, repacked, staging


@pytest.fixture(scope="module")
def staged(sqlite_template: Path) -> Iterator[Registry]:
    """A staging registry that no test changes."""
    with tempfile.TemporaryDirectory(prefix="raie-staging-", dir=memory()) as folder:
        yield _staged(sqlite_template, Path(folder))


def _staged(template: Path, folder: Path) -> Registry:
    shutil.copyfile(template, folder / "registry.db")
    registry = Registry.open(f"sqlite:///{folder / 'registry.db'}", str(folder / "store"))
    staging(registry)
    return registry


@pytest.fixture
def going_on(staged: Registry, scratch: Path) -> World:
    """A copy of it that goes on."""
    folder = Path(str(staged.engine.url.database)).parent
    shutil.copytree(folder, scratch / "staging")
    return World(
        Registry.open(f"sqlite:///{scratch / 'staging' / 'registry.db'}", str(scratch / "staging" / "store"))
    )


@pytest.fixture
def file(scratch: Path) -> Path:
    return scratch / "snapshot.tar"


@pytest.fixture
def arrived(staged: Registry, local_registry: Registry, file: Path) -> Registry:
    """A registry in which the head of the staging registry arrived."""
    exported(staged, file)
    bring(local_registry, file)
    return local_registry


def events(registry: Registry) -> list[tuple[str, str, str]]:
    with reading(registry.engine) as connection:
        return [(event.actor, event.action, event.subject) for event in audit.events(connection, MODEL)]


def unchanged(registry: Registry) -> tuple[Any, ...]:
    """What a refused import may not change, blobs included."""
    with reading(registry.engine) as connection:
        end = audit.chain_head(connection)
    return end, registry.models(), sorted(blob.digest for blob in registry.store.iterate())


def test_a_snapshot_arrives_with_its_history_on_every_database_and_store(
    registry: Registry, staged: Registry, file: Path
) -> None:
    made = exported(staged, file)
    came = bring(registry, file)
    assert (came.snapshots, came.edits, came.evaluations, came.signatures) == (made.snapshots, made.edits, 1, 1)
    assert came.head == came.snapshot == staged.resolve(MODEL, "head").id
    mine, theirs = history_of(registry), history_of(staged)
    assert {table: set(rows) - set(theirs[table]) for table, rows in mine.items()} == {
        name: set() for name in mine
    }
    assert mine["evaluations"] == theirs["evaluations"] != []
    assert registry.edit(MODEL, 7).reason == "bots"
    assert registry.aliases(MODEL) == []
    assert verify(registry).ok, verify(registry)
    # The other way: what this database and this store hold is the same file, but for where it was made and signed.
    back = file.with_name("back.tar")
    exported(registry, back)
    assert unsigned(back) == unsigned(file)
    assert not bring(staged, back).changed


def unsigned(file: Path) -> dict[str, Any]:
    with tarfile.open(file) as tar:
        members: dict[str, Any] = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    del members["snapshot.json"]
    rows = json.loads(members["records.json"])
    return members | {"records.json": rows | {"signatures": len(rows["signatures"])}}


def test_a_cherry_pick_arrives_with_the_branch_that_its_version_came_from(
    staged: Registry, local_registry: Registry, file: Path
) -> None:
    exported(staged, file, "production")
    picked = staged.resolve(MODEL, "production")
    assert bring(local_registry, file).snapshot == picked.id
    # The head is the newest snapshot of the history that was one: a cherry-pick never was.
    assert local_registry.resolve(MODEL, "head").id == staged.resolve(MODEL, "edit:5").id
    assert local_registry.resolve(MODEL, picked.id).content == picked.content
    gc(local_registry, author=Author("ada"), grace_s=0.0)
    assert verify(local_registry).ok, verify(local_registry)


def test_a_signature_counts_as_soon_as_its_key_is_trusted_here(arrived: Registry, file: Path) -> None:
    assert (bring(arrived, file).keys, bring(arrived, file).signers) == ((SIGNER.key,), ())
    trust.trust_key(arrived, MODEL, SIGNER.key, "release", author=Author("carol"))
    assert bring(arrived, file).signers == ("release",)


def test_the_same_file_again_changes_nothing_and_more_history_goes_on(
    going_on: World, any_database: Registry, file: Path
) -> None:
    exported(going_on.registry, file)
    bring(any_database, file)
    before = unchanged(any_database)
    assert not bring(any_database, file).changed
    assert unchanged(any_database) == before
    going_on.edit(1, text="later")
    trust.record_evaluation(going_on.registry, MODEL, "head", "edit:7", report(0.02), author=Author("ada"))
    exported(going_on.registry, file)
    more = bring(any_database, file)
    assert (more.snapshots, more.edits, more.evaluations, more.signatures) == (1, 1, 1, 0)
    assert more.blobs_put == 3  # two of a region, and the manifest
    assert any_database.resolve(MODEL, "head").id == going_on.head.id
    assert verify(any_database).ok, verify(any_database)
    # And on: an edit here, on what arrived, with the next number.
    assert World(any_database).edit(2, text="here").edit == going_on.head.edit + 1


def test_the_audit_records_who_imported_which_file(staged: Registry, arrived: Registry, file: Path) -> None:
    with reading(arrived.engine) as connection:
        (last,) = audit.newest(connection, 1)
    assert (last.actor, last.action, last.reason) == ("carol", "import", "for production")
    assert last.subject == f"snapshot:{staged.resolve(MODEL, 'head').id}"
    assert str(last.source).startswith(f"sha256:{digest_of(file.read_bytes())} registry:")
    assert {actor for actor, _, _ in events(arrived)} == {"carol"}
    imported = [subject for _, action, subject in events(arrived) if action == "import edit"]
    assert imported == [f"edit:{number}" for number in (1, 2, 4, 5, 7)]


def test_what_arrived_is_published_in_its_order(arrived: Registry) -> None:
    published: list[int] = []

    class Publisher:
        target = "a list"

        def publish(self, event: Any, progress: Any) -> None:
            published.append(event.payload["edit"]["number"])

    drain(arrived.engine, Publisher())
    assert published == [1, 2, 4, 5, 7]


CHANGES = {
    "UPDATE edits SET reason = 'nothing' WHERE number = 2": "edit 2 of 'recsys', which was imported: no audit event",
    "DELETE FROM operations WHERE edit = 2": "edit 2 of 'recsys', which was imported: no audit event",
    "UPDATE evaluations SET actor = 'carol'": "evaluation 1: no audit event records it",
    "UPDATE heads SET moved_at = 5": "the head of 'recsys' is",
    "DELETE FROM signatures": "(sign, key:",
}


def test_what_is_changed_after_its_import_is_found(arrived: Registry) -> None:
    for change, problem in CHANGES.items():
        with arrived.engine.connect() as connection:
            triggers.drop(connection)
            guards.drop(connection)
            connection.exec_driver_sql(change)
            lines = record_check.check(connection)
            connection.rollback()
        assert any(problem in line for line in lines), lines


def test_whoever_imports_is_an_author_too_and_no_second_person(arrived: Registry) -> None:
    trust.set_policy(arrived, MODEL, "production", {"second_person": True}, author=Author("owner"))
    trust.approve(arrived, MODEL, "head", "production", author=Author("carol", "mine"))
    with pytest.raises(PromotionRefused):
        arrived.promote(MODEL, "head", "production", Author("carol"))
    trust.approve(arrived, MODEL, "head", "production", author=Author("dan", "looked"))
    assert arrived.promote(MODEL, "head", "production", Author("carol")).alias == "production"


def test_a_snapshot_that_expired_here_comes_back(staged: Registry, local_registry: Registry, file: Path) -> None:
    exported(staged, file, "edit:4")
    bring(local_registry, file)
    for text in ("x", "y", "z"):
        World(local_registry).edit(0, text=text)
    expired(local_registry)
    gc(local_registry, author=Author("ada"), grace_s=0.0)
    with pytest.raises(SnapshotExpired):
        local_registry.resolve(MODEL, "edit:4")
    came = bring(local_registry, file)
    assert (came.snapshots, came.head, came.changed) == (0, None, True)
    assert local_registry.get(local_registry.resolve(MODEL, "edit:4").content.regions[1]["lora"]) == b"lora 1 b"
    assert verify(local_registry).ok, verify(local_registry)


def test_what_expired_there_is_history_without_blobs_here(
    going_on: World, local_registry: Registry, file: Path
) -> None:
    for text in ("x", "y", "z"):
        going_on.edit(1, text=text)
    expired(going_on.registry)
    exported(going_on.registry, file)
    bring(local_registry, file)
    with pytest.raises(SnapshotExpired, match="by carol: expired where it came from, by ada: old"):
        local_registry.resolve(MODEL, "edit:4")
    assert local_registry.resolve(MODEL, "head").id == going_on.head.id
    assert verify(local_registry).ok, verify(local_registry)
    with pytest.raises(SnapshotExpired):
        exported(going_on.registry, file.with_name("none.tar"), "edit:4")
    assert not file.with_name("none.tar").exists()


def test_registries_that_went_apart_are_told_so_and_stay_as_they_are(
    going_on: World, arrived: Registry, file: Path
) -> None:
    going_on.edit(1, text="there")
    exported(going_on.registry, file)
    World(arrived).edit(1, text="here")
    before = unchanged(arrived)
    with pytest.raises(CommitConflict, match="the two registries went apart"):
        bring(arrived, file)
    assert unchanged(arrived) == before


def test_a_number_that_an_edit_here_took_is_refused(going_on: World, arrived: Registry, file: Path) -> None:
    going_on.edit(1, text="there")
    exported(going_on.registry, file)
    arrived.abort(MODEL, World(arrived).begin().number)
    with pytest.raises(CommitConflict, match="another edit 8 here"):
        bring(arrived, file)


def test_a_signature_that_is_asked_for_must_be_there(
    staged: Registry, local_registry: Registry, file: Path
) -> None:
    exported(staged, file)
    before = unchanged(local_registry)
    with pytest.raises(Untrusted, match=f"found signatures by {SIGNER.key[:12]}"):
        bring(local_registry, file, signed_by=signing.generate().key)
    with pytest.raises(Untrusted):
        bring(local_registry, file, signed_by="release")
    assert unchanged(local_registry) == before
    bring(local_registry, file, signed_by=SIGNER.key)
    trust.trust_key(local_registry, MODEL, SIGNER.key, "release", author=Author("carol"))
    assert bring(local_registry, file, signed_by="release").signers == ("release",)


def test_a_file_of_another_model_is_refused(staged: Registry, local_registry: Registry, file: Path) -> None:
    exported(staged, file)
    with pytest.raises(NotFound, match=r"of model 'other'.*found one of 'recsys'"):
        bring(local_registry, file, model="other")


def truncated(share: float) -> Callable[[Path], None]:
    return lambda file: file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])


def flipped(what: bytes) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        data = file.read_bytes()
        assert data.count(what) >= 1
        file.write_bytes(data.replace(what, what[:-1] + bytes([what[-1] ^ 1])))

    return change


def renamed(name: str) -> Callable[[Path], None]:
    def change(member: tarfile.TarInfo, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
        if member.name.startswith("blobs/"):
            member.name = name
        return member, data

    return lambda file: repacked(file, change)


def linked(kind: bytes) -> Callable[[Path], None]:
    def change(member: tarfile.TarInfo, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
        if member.name.startswith("blobs/"):
            member.type, member.linkname, data = kind, "/etc/passwd", b""
        return member, data

    return lambda file: repacked(file, change)


def without(name: str) -> Callable[[Path], None]:
    return lambda file: repacked(
        file, lambda member, data: None if member.name.startswith(name) else (member, data)
    )


def forged(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """The rows changed by somebody who knows the format, and fits the header to them."""

    def damage(file: Path) -> None:
        with tarfile.open(file) as tar:
            rows = json.loads(tar.extractfile("records.json").read())  # type: ignore[union-attr]
        change(rows)
        data = canonical_json(rows)

        def put(member: tarfile.TarInfo, old: bytes) -> tuple[tarfile.TarInfo, bytes]:
            if member.name == "snapshot.json":
                return member, canonical_json(json.loads(old) | {"records": digest_of(data)})
            return member, data if member.name == "records.json" else old

        repacked(file, put)

    return damage


DAMAGES: dict[str, Callable[[Path], None]] = {
    "empty": truncated(0),
    "cut off": truncated(0.9),
    "cut in half": truncated(0.5),
    "cut in the header": truncated(0.01),
    "no tar": lambda file: file.write_bytes(b"hello " * 1000) and None,
    "a blob changed": flipped(b"lora 1 b"),
    "a row changed": flipped(b'"bots'),
    "more behind the end": lambda file: file.write_bytes(file.read_bytes() + b"more") and None,
    "an absolute path": renamed("/tmp/escaped"),
    "a path upwards": renamed("../escaped"),
    "a symbolic link": linked(tarfile.SYMTYPE),
    "a hard link": linked(tarfile.LNKTYPE),
    "a device": linked(tarfile.CHRTYPE),
    "no header": without("snapshot.json"),
    "no rows": without("records.json"),
    "no blobs": without("blobs/"),
    "another format": lambda file: repacked(
        file,
        lambda member, data: (
            (member, data.replace(b'"format":1', b'"format":9'))
            if member.name == "snapshot.json"
            else (member, data)
        ),
    ),
    "another author": forged(lambda rows: rows["edits"][1].update(actor=" ")),
    "an id that is another manifest's": forged(lambda rows: rows["snapshots"][1].update(id="0" * 64)),
    "a snapshot left out": forged(lambda rows: rows["snapshots"].pop(1)),
    "an edit left out": forged(lambda rows: rows["edits"].pop(1)),
    "a version left out": forged(lambda rows: rows["adapter_versions"].pop(0)),
    "a version of another entry": forged(lambda rows: rows["adapter_versions"][0].update(entry='{"lora":"x"}')),
    "a time that is none": forged(lambda rows: rows["edits"][0].update(created_at="now")),
    "a column more": forged(lambda rows: rows["edits"][0].update(lease_owner="me")),
    "an operation of nobody": forged(lambda rows: rows["operations"][0].update(edit=99)),
    "a signature of another": forged(lambda rows: rows["signatures"][0].update(signature="00" * 64)),
    "an open edit": forged(lambda rows: rows["edits"][0].update(state="running")),
    "rows that are no object": forged(lambda rows: rows.clear()),
}


def test_a_damaged_or_hostile_file_is_one_line_and_writes_nothing(
    staged: Registry, local_registry: Registry, file: Path, scratch: Path
) -> None:
    exported(staged, file)
    whole = file.read_bytes()
    local_registry.put(b"something")
    before = unchanged(local_registry)
    for name, damage in DAMAGES.items():
        file.write_bytes(whole)
        damage(file)
        with pytest.raises(ArchiveDamaged) as refused:
            bring(local_registry, file)
        assert "\n" not in str(refused.value), name
        assert str(refused.value).startswith("Expected "), name
        assert unchanged(local_registry) == before, name
    assert not list(scratch.rglob("escaped"))
    file.write_bytes(whole)
    assert bring(local_registry, file).changed


SOME_POINTS = ("import.audited", "import.committed")
POINTS = [point for point in failpoints.POINTS if point.startswith("import.")]


def _import_and_die(database_url: str, store_url: str, file: Path, point: str) -> None:
    def hear(event: str, _arguments: tuple[Any, ...]) -> None:
        if event == failpoints.EVENT + point:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hear)
    bring(Registry.open(database_url, store_url), file)


@pytest.mark.parametrize(
    "point",
    [pytest.param(point, marks=[pytest.mark.slow] * (point not in SOME_POINTS)) for point in POINTS],
)
def test_an_import_that_is_killed_at_any_step_is_all_there_or_not_at_all(
    staged: Registry, local_registry: Registry, file: Path, scratch: Path, point: str
) -> None:
    exported(staged, file)
    where = (str(local_registry.engine.url), str(scratch / "local" / "store"))
    victim = context().Process(target=_import_and_die, args=(*where, file, point))
    victim.start()
    victim.join(60)
    assert victim.exitcode == -signal.SIGKILL
    assert local_registry.models() == ([MODEL] if point == "import.committed" else [])
    assert verify(local_registry).ok, verify(local_registry)
    gc(local_registry, author=Author("ada"), grace_s=0.0)
    assert bring(local_registry, file).changed == (point != "import.committed")
    assert local_registry.resolve(MODEL, "head").id == staged.resolve(MODEL, "head").id
    assert verify(local_registry).ok, verify(local_registry)
