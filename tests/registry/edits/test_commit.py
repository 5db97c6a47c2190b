"""A commit lands whole on the head it was made for, or is replayed there exactly, or is refused."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace

import pytest
from sqlalchemy import make_url, text

from raie import migrations
from raie.registry import (
    Author,
    BlobMissing,
    CommitConflict,
    CommitStateUnknown,
    Digest,
    EditStateError,
    IncompatibleRegions,
    InvalidValue,
    Manifest,
    NotFound,
    Registry,
    audit,
    digest_of,
)
from raie.registry.db.engine import reading
from raie.registry.maintenance.verify import verify
from tests.conftest import Ready
from tests.registry.building import MODEL, World, change, set_up
from tests.registry.store.proxy import AnswerLost, Proxy


@pytest.fixture
def world(ready: Ready) -> World:
    return World(ready(set_up))


def test_an_edit_lands_on_every_database_and_every_store(registry: Registry) -> None:
    world = World(registry)
    first = world.setup()
    second = world.edit(1, text="a")
    assert world.head == second
    assert (second.parent, second.edit, second.model) == (first.id, 2, MODEL)
    assert second.content.regions[1] == world.entry("1 a")
    assert {r: e for r, e in second.content.regions.items() if r != 1} == {
        r: e for r, e in first.content.regions.items() if r != 1
    }
    for digest in second.content.blobs():
        assert digest_of(registry.get(digest)) == digest
    assert Manifest.from_bytes(registry.get(Digest(second.id))).content == second.content
    report = verify(registry)
    assert report.ok
    assert (report.snapshots, report.chain.events) == (2, 5)


def test_the_same_edit_is_the_same_snapshot_in_any_registry(
    local_registry: Registry, any_database: Registry
) -> None:
    first, second = World(local_registry), World(any_database)
    for world in (first, second):
        world.setup()
        world.edit(2, text="a")
    assert first.head.id == second.head.id
    assert first.head.created_at != second.head.created_at


def test_a_process_that_opens_the_registry_anew_reads_the_same(world: World) -> None:
    world.edit(1, text="a")
    again = Registry(world.registry.engine, world.registry.store)
    assert again.head(MODEL) == world.head
    assert again.resolve(MODEL, world.head.id) == world.head


def test_two_edits_of_one_region_never_both_land(world: World) -> None:
    base = world.head
    first, second = world.begin(), world.begin()
    landed = world.commit(first, world.changed(base.content, {1: "a"}), 1)
    with pytest.raises(CommitConflict, match="both changed region 1") as refused:
        world.commit(second, world.changed(base.content, {1: "b"}), 1)
    assert (refused.value.expected, refused.value.actual) == (base.id, landed.id)
    assert world.head == landed
    assert world.registry.edit(MODEL, second.number).state == "running"


def test_a_disjoint_edit_is_replayed_on_the_new_head_with_its_bytes(world: World) -> None:
    base = world.head
    edit_a, edit_b = world.begin(), world.begin()
    first = world.commit(edit_a, world.changed(base.content, {1: "a"}), 1)
    second = world.commit(edit_b, world.changed(base.content, {2: "b"}), 2)
    assert second.parent == first.id
    assert second.content.regions[1] == world.entry("1 a")
    assert second.content.regions[2] == world.entry("2 b")
    assert second.content.regions[0] == base.content.regions[0]
    assert world.registry.edit(MODEL, edit_b.number).base == base.id


def test_two_edits_that_append_items_keep_the_longer_list_or_conflict(world: World) -> None:
    items, more, others = world.blobs("items 1", "items 2", "other items")
    base = world.head
    grown = (*base.content.shared["catalogue"], items)
    first, longer, branch = world.begin(), world.begin(), world.begin()
    world.commit(first, world.changed(base.content, {0: "a"}, catalogue=grown), 0)
    world.commit(longer, world.changed(base.content, {1: "b"}, catalogue=(*grown, more)), 1)
    assert world.head.content.shared["catalogue"] == (*grown, more)
    apart = (*base.content.shared["catalogue"], others)
    with pytest.raises(CommitConflict, match="catalogue"):
        world.commit(branch, world.changed(base.content, {2: "c"}, catalogue=apart), 2)


def test_a_new_routing_space_never_meets_regions_of_the_old_one(world: World) -> None:
    base = world.head
    moved, second = world.begin(), world.begin()
    space = world.blob("space 2")
    world.commit(moved, replace(world.changed(base.content, {0: "a", 1: "a", 2: "a"}), space=space), 0, 1, 2)
    with pytest.raises(CommitConflict, match="routing space"):
        world.commit(second, world.changed(base.content, {1: "b"}), 1)


def test_a_commit_that_landed_is_answered_again_and_again(world: World) -> None:
    edit = world.begin()
    content = world.changed(world.head.content, {1: "a"})
    landed = world.commit(edit, content, 1)
    world.edit(2, text="later")
    assert world.commit(edit, content, 1) == landed
    assert len(world.registry.edits(MODEL)) == 3
    with pytest.raises(EditStateError, match="another content"):
        world.commit(edit, world.changed(content, {1: "b"}), 1)


def test_an_answer_lost_at_commit_is_neither_success_nor_failure_and_a_retry_finds_it(
    postgres_url: str, s3_url: str
) -> None:
    url = make_url(postgres_url)
    migrations.upgrade(postgres_url)
    World(Registry.open(postgres_url, s3_url)).setup()
    with Proxy(f"{url.query['host']}/.s.PGSQL.5432") as proxy:
        through = url.set(host="127.0.0.1", port=proxy.port, query={}).render_as_string(hide_password=False)
        world = World(Registry.open(through, s3_url))
        edit = world.begin()
        content = world.changed(world.head.content, {1: "a"})
        lost = AnswerLost(b"(?s)INSERT INTO snapshots.*COMMIT", lost=b"COMMIT\x00")
        with proxy.failing(lost), pytest.raises(CommitStateUnknown, match="retry") as unknown:
            world.commit(edit, content, 1)
        assert "\n" not in str(unknown.value)
        snapshot = world.commit(edit, content, 1)
    retried = World(Registry.open(postgres_url, s3_url))
    assert retried.head == snapshot
    assert len(retried.registry.edits(MODEL)) == 2
    assert verify(retried.registry).ok


def test_a_content_with_a_blob_nobody_put_does_not_land(world: World) -> None:
    edit, missing = world.begin(), digest_of(b"never put")
    regions = dict(world.head.content.regions) | {1: {"state": missing}}
    with pytest.raises(BlobMissing, match=missing):
        world.commit(edit, replace(world.head.content, regions=regions), 1)
    assert world.head.edit == 1
    assert verify(world.registry).ok


def test_a_region_that_changed_without_a_word_does_not_land(world: World) -> None:
    edit = world.begin()
    with pytest.raises(InvalidValue, match=r"\[2\]"):
        world.commit(edit, world.changed(world.head.content, {1: "a", 2: "a"}), 1)
    assert world.head.edit == 1


def test_another_backbone_is_another_model(world: World) -> None:
    content = replace(world.head.content, backbone={"weights": world.blob("other weights")})
    with pytest.raises(IncompatibleRegions, match="set up another model"):
        world.commit(world.begin(), content)


def test_a_region_id_is_never_used_twice_not_even_after_a_rollback(world: World) -> None:
    assert world.registry.next_region_id(MODEL) == 3
    stale = world.begin()
    early = world.changed(world.head.content, {3: "mine"})
    world.edit(3, text="first")
    world.registry.rollback_edit(MODEL, 3, Author("ada"))
    assert 3 not in world.head.content.regions
    assert world.registry.next_region_id(MODEL) == 4
    with pytest.raises(CommitConflict, match="taken before"):
        world.commit(stale, early, 3)


def test_a_model_without_regions_begins_at_region_0(local_registry: Registry) -> None:
    local_registry.begin(MODEL, "setup", seed=0, author=Author("ada"))
    assert local_registry.next_region_id(MODEL) == 0


def test_a_snapshot_is_found_by_every_name_it_has(world: World) -> None:
    snapshot = world.edit(1, text="a")
    world.registry.promote(MODEL, "head", "production", Author("ada"))
    for ref in ("head", "production", "edit:2", snapshot.id, snapshot.id[:12]):
        assert world.registry.resolve(MODEL, ref) == snapshot
    for ref in ("nothing", "edit:9", snapshot.id[:3], "f" * 64, "'; DROP TABLE snapshots; --", ""):
        with pytest.raises(NotFound, match="found"):
            world.registry.resolve(MODEL, ref)


PROGRAM = """
import sys
from dataclasses import replace
from raie.registry import Author, CommitConflict, RegionChange, Registry
registry, region, times = Registry.open(sys.argv[1], sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
for number in range(times):
    while True:
        edit = registry.begin("recsys", "edit", seed=number, author=Author(f"process {region}"))
        base = registry.resolve("recsys", edit.base).content
        entry = {"state": registry.put(f"{region} {number}".encode())}
        content = replace(base, regions=dict(base.regions) | {region: entry})
        registry.commit("recsys", edit.number, content, [RegionChange(region, "update")])
        break
"""


@pytest.mark.parametrize("processes", [2])
def test_processes_that_commit_at_once_lose_no_update(registry: Registry, processes: int) -> None:
    world, times = World(registry), 5
    world.setup()
    url = registry.engine.url.render_as_string(hide_password=False)
    store = registry.store
    whole = store.within("")
    store_url = str(whole.root) if hasattr(whole, "root") else f"s3://{whole.name}/{whole.prefix}"  # type: ignore[attr-defined]
    commands = [[sys.executable, "-c", PROGRAM, url, store_url, str(n), str(times)] for n in range(processes)]
    running = [subprocess.Popen(command) for command in commands]
    assert [process.wait(120) for process in running] == [0] * processes
    edits = registry.edits(MODEL)
    assert len(edits) == 1 + processes * times
    assert all(edit.state == "committed" for edit in edits)
    chain = [world.head]
    while chain[-1].parent is not None:
        chain.append(registry.resolve(MODEL, chain[-1].parent))
    assert len(chain) == 1 + processes * times
    for region in range(processes):
        states = [snapshot.content.regions[region]["state"] for snapshot in reversed(chain)]
        made = [state for state, _ in itertools.groupby(states)]
        assert made[1:] == [digest_of(f"{region} {number}".encode()) for number in range(times)]
    report = verify(registry)
    assert report.ok
    with reading(registry.engine) as connection:
        assert len(list(audit.events(connection))) == 1 + 2 * (1 + processes * times)


def test_every_commit_and_only_a_commit_leaves_an_event_in_the_outbox(world: World) -> None:
    world.edit(1, text="a")
    with pytest.raises(InvalidValue):
        world.commit(world.begin(), world.changed(world.head.content, {1: "b"}))
    world.registry.promote(MODEL, "head", "production", Author("ada"))
    with reading(world.registry.engine) as connection:
        kinds = connection.execute(text("SELECT kind FROM outbox_events ORDER BY id")).scalars().all()
    assert kinds == ["snapshot_committed", "snapshot_committed", "alias_moved"]


def test_versions_count_up_per_region_and_an_entry_keeps_its_number(world: World) -> None:
    def versions(edit: int) -> list[tuple[int, int]]:
        with reading(world.registry.engine) as connection:
            query = text("SELECT region, version FROM operations WHERE edit = :edit ORDER BY position")
            return [tuple(row) for row in connection.execute(query, {"edit": edit})]

    world.edit(1, text="a")
    world.edit(1, 2, text="b")
    world.edit(1, text="a")
    assert versions(1) == [(0, 1), (1, 1), (2, 1)]
    assert versions(2) == [(1, 2)]
    assert versions(3) == [(1, 3), (2, 2)]
    assert versions(4) == [(1, 2)]


def test_an_edit_that_gained_nothing_lands_with_its_content_unchanged(world: World) -> None:
    before = world.head
    after = world.registry.commit(MODEL, world.begin().number, before.content, [change(2)])
    assert after.content == before.content
    assert after.id != before.id
    assert after.parent == before.id
