"""Expiry gives up what the rule does not keep, and never a byte that something kept needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from threading import Thread

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from raie.registry import (
    Author,
    BlobMissing,
    Conflict,
    Digest,
    EditStateError,
    InvalidValue,
    NotFound,
    Registry,
    Snapshot,
    SnapshotExpired,
    audit,
    digest_of,
    lineage,
)
from raie.registry.db.engine import reading
from raie.registry.edits import commit
from raie.registry.maintenance import expiry, fsck
from raie.registry.maintenance.expiry import ExpiryReport, Rule, expire
from raie.registry.maintenance.verify import gc, verify
from raie.registry.promotion import aliases
from tests.conftest import Ready
from tests.registry.building import MODEL, World, change

DAY_S = 24 * 3600.0


@pytest.fixture
def world(ready: Ready) -> World:
    return World(ready(six_snapshots))


@pytest.fixture
def local(ready_locally: Ready) -> World:
    """The same in an SQLite file, for what is the same everywhere."""
    return World(ready_locally(six_snapshots))


def six_snapshots(registry: Registry) -> None:
    """Six snapshots in a line: a setup of three regions, and edits of regions 0, 1, 2, 0 and 1."""
    line(World(registry))


def line(world: World, edits: int = 5) -> World:
    world.setup()
    for number in range(edits):
        world.edit(number % 3, text=f"edit {number}")
    return world


def at(world: World, number: int) -> Snapshot:
    return lineage.find(world.registry, MODEL, f"edit:{number}")


def age(world: World, days: float) -> None:
    """Lets everything that happened so far be so much older; the log of moves is append-only, so the clock cheats."""
    with world.registry.engine.begin() as connection:
        for table, column in (("snapshots", "created_at"), ("blobs", "put_at")):
            connection.execute(text(f"UPDATE {table} SET {column} = {column} - :s"), {"s": days * DAY_S})


def run(
    world: World, keep_last: int = 1, keep_days: float = 0.0, *, reason: str = "", dry_run: bool = False
) -> ExpiryReport:
    rule = Rule(keep_last, keep_days)
    return expire(world.registry, world.model, rule, author=Author("bob", reason), dry_run=dry_run)


def collect(world: World) -> set[str]:
    return {blob.digest for blob in gc(world.registry, author=Author("bob"), grace_s=0.0).removed}


def expired(report: ExpiryReport) -> list[int]:
    return sorted(verdict.edit for verdict in report.expired)


def why(report: ExpiryReport, edit: int) -> tuple[str, ...]:
    return next(verdict.kept_by for verdict in report.kept if verdict.edit == edit)


def readable(world: World, snapshots: Iterable[Snapshot]) -> bool:
    """Whether every byte of these snapshots can be read back; the store checks each digest."""
    for snapshot in snapshots:
        for digest in snapshot.content.blobs() | {Digest(snapshot.id)}:
            world.registry.get(digest)
    return True


# What the rule keeps


def test_the_newest_of_the_head_s_line_are_kept_and_the_rest_expires(world: World) -> None:
    report = run(world, keep_last=2)
    assert expired(report) == [1, 2, 3, 4]
    assert [verdict.edit for verdict in report.kept] == [6, 5]
    assert why(report, 6) == ("the head",)
    assert why(report, 5) == ("among the last 2",)


def test_what_was_made_or_was_the_head_in_the_last_days_is_kept(world: World) -> None:
    age(world, 10)
    world.edit(1, text="young")
    report = run(world, keep_days=5)
    assert expired(report) == [1, 2, 3, 4, 5]
    assert why(report, 7) == ("the head", "younger than 5 days")
    (reason,) = why(report, 6)
    assert reason.startswith("the head until 20")
    assert expired(run(world, keep_days=5)) == []


def test_where_an_alias_points_and_what_it_left_in_the_last_days_is_kept(world: World) -> None:
    for number in (1, 2, 3):
        world.registry.promote(MODEL, f"edit:{number}", "production", Author("ada"))
    age(world, 400)
    report = run(world, keep_days=300, dry_run=True)
    assert expired(report) == [4, 5]
    assert why(report, 3) == ("alias production points at it",)
    assert why(report, 1)[0].startswith("alias production pointed at it until 20")
    assert expired(run(world, keep_last=2, dry_run=True)) == [1, 4], "the last two of the line and of each alias"
    assert expired(run(world)) == [1, 2, 4, 5]


def test_the_base_of_an_open_edit_is_kept_until_it_is_closed(world: World) -> None:
    edit = world.begin(at(world, 3))
    world.edit(0, text="more")
    report = run(world)
    assert expired(report) == [1, 2, 4, 5, 6]
    assert why(report, 3) == ("the base of edit 7, which is open",)
    assert collect(world)
    content = world.changed(at(world, 3).content, {2: "late"})
    with pytest.raises(Conflict):
        world.commit(edit, content, 2)
    world.registry.abort(MODEL, edit.number)
    assert expired(run(world)) == [3]


@pytest.mark.parametrize("rule", [(0, 1.0), (-1, 1.0), (1, -1.0), (1, float("nan")), (1, float("inf"))])
def test_a_rule_that_keeps_less_than_nothing_is_refused(rule: tuple[int, float]) -> None:
    with pytest.raises(InvalidValue, match="Expected to keep"):
        Rule(*rule)


def test_a_model_that_is_not_there_has_nothing_to_expire(local: World) -> None:
    with pytest.raises(NotFound):
        expire(local.registry, "recsis", Rule(), author=Author("ada"))


# What is given up


def test_a_kept_snapshot_keeps_every_byte_and_what_only_expired_ones_needed_goes(registry: Registry) -> None:
    world = line(World(registry))
    world.registry.promote(MODEL, "edit:3", "production", Author("ada"))
    planned = run(world, keep_last=2, dry_run=True)
    assert expired(planned) == [1, 2, 4]
    assert verify(registry).expired == 0
    kept = [world.head, at(world, 5), at(world, 3)]
    report = run(world, keep_last=2)
    assert report.expired == planned.expired
    held = {digest for snapshot in kept for digest in snapshot.content.blobs()} | {
        kept_snapshot.id for kept_snapshot in kept
    }
    gone = {d for n in (1, 2, 4) for d in (*at(world, n).content.blobs(), at(world, n).id)} - held
    removed = gc(registry, author=Author("bob"), grace_s=0.0)
    assert {blob.digest for blob in removed.removed} == gone
    assert removed.bytes == planned.bytes == sum(verdict.bytes for verdict in planned.expired)
    assert readable(world, kept)
    verified = verify(registry)
    assert verified.ok
    assert (verified.snapshots, verified.expired) == (6, 3)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("edit"), st.integers(0, 2)),
            st.tuples(st.just("back"), st.integers(0, 9)),
            st.tuples(st.just("promote"), st.integers(0, 9)),
            st.tuples(st.just("expire"), st.integers(1, 3)),
        ),
        min_size=4,
        max_size=10,
    )
)
def test_whatever_came_before_the_kept_snapshots_can_be_read_and_the_promised_bytes_go(
    local_registry: Registry, steps: list[tuple[str, int]]
) -> None:
    world = World(local_registry, f"model {time.monotonic_ns()}")
    world.setup()
    for number, (step, value) in enumerate(steps):
        known = [entry.snapshot for entry in lineage.history(world.registry, world.model)]
        kept = [snapshot for snapshot in known if snapshot.expired is None]
        if step == "edit":
            world.edit(value, text=f"{world.model} {number}")
        elif step == "back":
            world.registry.rollback_to(world.model, kept[value % len(kept)].id, Author("ada"))
        elif step == "promote":
            world.registry.promote(world.model, kept[value % len(kept)].id, f"alias-{value % 2}", Author("ada"))
        else:
            promised = run(world, keep_last=value, dry_run=True)
            assert run(world, keep_last=value).bytes == promised.bytes
            assert gc(world.registry, author=Author("bob"), grace_s=0.0).bytes == promised.bytes
    entries = lineage.history(world.registry, world.model)
    assert readable(world, (entry.snapshot for entry in entries if entry.snapshot.expired is None))
    with reading(world.registry.engine) as connection:
        assert fsck.check(connection).problems == ()


def test_bytes_that_another_model_needs_stay(local: World) -> None:
    second = World(local.registry, "books")
    second.setup()
    local.edit(0, text="all new", catalogue=(local.blob("items 0"), local.blob("items 1")))
    run(local)
    collect(local)
    assert readable(local, [second.head, local.head])
    assert verify(local.registry).ok


def test_what_a_cherry_pick_and_a_replayed_edit_need_stays(world: World) -> None:
    world.registry.promote(MODEL, "edit:2", "production", Author("ada"))
    picked, _ = world.registry.promote_region(MODEL, 1, 2, "production", Author("ada"))
    begun = world.begin(world.head)
    content = world.changed(world.head.content, {0: "slow"})
    world.edit(2, text="quick")
    run(world)
    landed = world.commit(begun, content, 0)
    run(world)
    collect(world)
    assert readable(world, [picked, landed])
    assert verify(world.registry).ok


def test_the_plan_of_a_kept_snapshot_stays_and_that_of_an_expired_one_goes(world: World) -> None:
    plans = world.blobs("plan 1", "plan 2")
    for number, plan in enumerate(plans):
        begun = world.begin(plan_digest=plan)
        world.commit(begun, world.changed(world.head.content, {0: f"planned {number}"}), 0)
    run(world)
    removed = collect(world)
    assert plans[0] in removed
    assert plans[1] not in removed


# What is left


def test_an_expired_snapshot_says_when_by_whom_and_why_wherever_its_bytes_are_wanted(local: World) -> None:
    run(local, keep_last=2, reason="the disk is full")
    first = at(local, 1)
    registry = local.registry
    refused: list[Callable[[], object]] = [
        lambda: registry.resolve(MODEL, "edit:1"),
        lambda: registry.resolve(MODEL, first.id[:8]),
        lambda: registry.rollback_to(MODEL, "edit:1", Author("ada")),
        lambda: registry.promote(MODEL, first.id, "production", Author("ada")),
        lambda: local.begin(first),
    ]
    for call in refused:
        with pytest.raises(SnapshotExpired) as caught:
            call()
        assert caught.value.snapshot == first.id
        for part in (first.id[:12], "UTC by bob: the disk is full (keep-last 2, keep-days 0)", "raie log"):
            assert part in str(caught.value)


def test_a_blob_that_went_with_its_snapshot_is_said_to_have_expired_not_to_be_lost(local: World) -> None:
    first, head = at(local, 1), local.head
    run(local, reason="spring cleaning")
    collect(local)
    gone = sorted(first.content.blobs() - head.content.blobs())
    with pytest.raises(SnapshotExpired, match="by bob: spring cleaning"):
        local.registry.get(gone[0])
    with pytest.raises(SnapshotExpired):
        local.registry.get(Digest(first.id))
    with pytest.raises(BlobMissing, match="restore it from a backup"):
        local.registry.get(digest_of(b"never put"))
    lost = min(head.content.blobs())
    local.registry.store.delete(lost)
    with pytest.raises(BlobMissing, match="restore it from a backup"):
        local.registry.get(lost)


def test_the_history_of_what_expired_can_still_be_read(local: World) -> None:
    before = lineage.history(local.registry, MODEL)
    run(local, reason="spring cleaning")
    collect(local)
    after = lineage.history(local.registry, MODEL)
    assert [entry.snapshot.content for entry in after] == [entry.snapshot.content for entry in before]
    assert [entry.operations for entry in after] == [entry.operations for entry in before]
    assert [entry.snapshot.expired is None for entry in after] == [True, *[False] * 5]
    expiry = at(local, 1).expired
    assert expiry is not None
    assert (expiry.actor, expiry.reason) == ("bob", "spring cleaning (keep-last 1, keep-days 0)")
    assert len(lineage.region_history(local.registry, MODEL, 0)) == 3
    assert lineage.diff(at(local, 2), local.head).changed == (0, 1, 2)
    assert lineage.versions_in(local.registry, at(local, 1)).keys() == {0, 1, 2}
    assert len(local.registry.edits(MODEL)) == 6


def test_every_expired_snapshot_has_its_event_and_expiring_again_adds_none(local: World) -> None:
    run(local, keep_last=4, reason="first")
    run(local, keep_last=4, reason="again")
    run(local, keep_last=3, dry_run=True)
    with reading(local.registry.engine) as connection:
        events = [event for event in audit.events(connection) if event.action == "expire"]
    assert {event.subject for event in events} == {f"snapshot:{at(local, 1).id}", f"snapshot:{at(local, 2).id}"}
    assert {(e.actor, e.reason, e.model, e.target) for e in events} == {
        ("bob", "first (keep-last 4, keep-days 0)", MODEL, None)
    }
    assert verify(local.registry).ok


def test_an_edit_whose_base_is_kept_can_be_undone_and_one_whose_base_expired_cannot(local: World) -> None:
    run(local, keep_last=3)
    with pytest.raises(SnapshotExpired):
        local.registry.rollback_edit(MODEL, 4, Author("ada"))
    undone = local.registry.rollback_edit(MODEL, 5, Author("ada"))
    assert undone.content.regions[0] == at(local, 4).content.regions[0]
    collect(local)
    assert readable(local, [undone])


def test_a_version_can_be_served_again_while_anything_keeps_its_bytes(world: World) -> None:
    world.registry.promote(MODEL, "head", "production", Author("ada"))
    run(world)
    version = lineage.versions_in(world.registry, world.head)[2].version
    assert world.registry.promote_region(MODEL, 2, version, "production", Author("ada"))[0] == world.head
    collect(world)
    with pytest.raises(SnapshotExpired, match="version 1 of region 2 with its blobs, found that snapshot"):
        world.registry.promote_region(MODEL, 2, 1, "production", Author("ada"))
    assert world.registry.aliases(MODEL)[0].snapshot == world.head.id


def test_a_cherry_pick_that_expired_is_kept_again_once_an_alias_needs_it(world: World) -> None:
    for alias in ("production", "staging"):
        world.registry.promote(MODEL, "head", alias, Author("ada"))
    version = lineage.versions_in(world.registry, at(world, 5))[1].version
    picked, _ = world.registry.promote_region(MODEL, 1, version, "production", Author("ada"))
    world.registry.promote(MODEL, "head", "production", Author("ada"))
    world.edit(0, text="next")
    world.registry.promote(MODEL, "edit:5", "other", Author("ada"))
    assert picked.edit in expired(run(world))
    assert picked.id in collect(world)
    again, move = world.registry.promote_region(MODEL, 1, version, "staging", Author("ada"))
    assert (again.id, move.target) == (picked.id, picked.id)
    assert again.expired is None
    collect(world)
    assert readable(world, [again])
    assert verify(world.registry).ok


# Beside others


def meanwhile(patch: pytest.MonkeyPatch, module: object, point: str, act: Callable[[], object]) -> None:
    """Lets somebody else act, once, while a process stands at a fault point."""
    done: list[object] = []

    def failpoint(reached: str) -> None:
        if reached == point and not done:
            done.append(None)
            act()

    patch.setattr(module, "failpoint", failpoint)


@pytest.mark.parametrize("use", ["promote", "begin", "rollback"])
def test_whoever_comes_to_need_a_snapshot_before_it_expires_keeps_it(
    world: World, monkeypatch: pytest.MonkeyPatch, use: str
) -> None:
    doomed = at(world, 2)
    act = {
        "promote": lambda: world.registry.promote(MODEL, doomed.id, "production", Author("ada")),
        "begin": lambda: world.begin(doomed),
        "rollback": lambda: world.registry.rollback_to(MODEL, doomed.id, Author("ada")),
    }[use]
    meanwhile(monkeypatch, expiry, "expire.evaluated", act)
    report = run(world, keep_last=2)
    collect(world)
    assert readable(world, [world.head])
    assert verify(world.registry).ok
    if use == "rollback":
        assert world.head.content == doomed.content
    else:
        assert 2 not in expired(report)
        assert len(why(report, 2)) == 1
        assert readable(world, [doomed])


def test_a_rollback_that_is_overtaken_by_expiry_and_gc_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.head
    meanwhile(monkeypatch, commit, "land.uploaded", lambda: (run(world), collect(world)))
    with pytest.raises(SnapshotExpired, match="by bob"):
        world.registry.rollback_to(MODEL, "edit:2", Author("ada"))
    assert world.head == before
    assert verify(world.registry).ok


def test_a_rollback_and_a_cherry_pick_whose_manifest_gc_took_put_it_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, commit, "land.uploaded", lambda: collect(world))
    undone = world.registry.rollback_to(MODEL, "edit:2", Author("ada"))
    assert undone == world.head
    world.registry.promote(MODEL, "edit:6", "production", Author("ada"))
    meanwhile(monkeypatch, aliases, "cherry_pick.uploaded", lambda: collect(world))
    picked, _ = world.registry.promote_region(MODEL, 1, 1, "production", Author("ada"))
    assert readable(world, [undone, picked])
    assert verify(world.registry).ok


def test_an_expiry_that_is_killed_between_two_batches_is_finished_by_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die() -> None:
        raise KeyError("killed")

    monkeypatch.setattr(expiry, "_BATCH", 2)
    meanwhile(monkeypatch, expiry, "expire.committed", die)
    with pytest.raises(KeyError):
        run(world)
    assert verify(world.registry).expired == 2
    collect(world)
    kept = [entry.snapshot for entry in lineage.history(world.registry, MODEL) if entry.snapshot.expired is None]
    assert [snapshot.edit for snapshot in kept] == [6, 3, 2, 1], (
        "the newest expire first: nothing is written twice"
    )
    assert readable(world, kept)
    assert verify(world.registry).ok
    assert expired(run(world)) == [1, 2, 3]
    assert verify(world.registry).expired == 5


@pytest.mark.parametrize(
    "point", ["expire.children_kept", "expire.blobs_given_up", "expire.audited", "expire.marked"]
)
def test_a_batch_expires_whole_or_not_at_all(local: World, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    def die() -> None:
        raise KeyError("killed")

    before = verify(local.registry)
    meanwhile(monkeypatch, expiry, point, die)
    with pytest.raises(KeyError):
        run(local)
    assert verify(local.registry) == before
    assert expired(run(local)) == [1, 2, 3, 4, 5]


def test_two_expiries_at_once_tell_of_each_snapshot_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile(monkeypatch, expiry, "expire.evaluated", lambda: run(world, keep_last=3))
    assert expired(run(world, keep_last=2)) == [4]
    with reading(world.registry.engine) as connection:
        subjects = [event.subject for event in audit.events(connection) if event.action == "expire"]
    assert len(subjects) == len(set(subjects)) == 4
    assert verify(world.registry).ok


def test_expiry_and_gc_run_beside_people_who_edit_promote_and_go_back(any_database: Registry) -> None:
    line(World(any_database), 2)
    errors: list[BaseException] = []

    def loop(act: Callable[[World, int], object]) -> None:
        world = World(Registry(any_database.engine, any_database.store))
        try:
            for number in range(12):
                try:
                    act(world, number)
                except (SnapshotExpired, Conflict, EditStateError):
                    continue
        except BaseException as error:
            errors.append(error)

    def refer(world: World, number: int) -> None:
        seen = lineage.history(world.registry, MODEL)
        chosen = seen[number * 7 % len(seen)].snapshot.id
        world.registry.promote(MODEL, chosen, "production", Author("ada"))
        world.registry.rollback_to(MODEL, chosen, Author("ada"))
        world.registry.promote_region(MODEL, 1, 1 + number % 2, "production", Author("ada"))

    people: list[Callable[[World, int], object]] = [
        lambda world, number: world.edit(number % 3, text=f"a {number}"),
        refer,
        lambda world, number: (run(world, keep_last=2), collect(world)),
    ]
    threads = [Thread(target=loop, args=[act]) for act in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    report = verify(any_database)
    assert (report.references, report.damaged, report.chain.problems) == ((), (), ())
    kept = [e.snapshot for e in lineage.history(any_database, MODEL) if e.snapshot.expired is None]
    assert readable(World(any_database), kept)


# Damage


def test_nothing_is_given_up_where_a_kept_snapshot_has_lost_a_blob(local: World) -> None:
    lost = local.head.content.space
    with local.registry.engine.begin() as connection:
        connection.execute(text("UPDATE blobs SET state = 'uploading' WHERE digest = :d"), {"d": lost})
    with pytest.raises(BlobMissing, match=lost):
        run(local)
    assert verify(local.registry).expired == 0


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            "INSERT INTO expired_snapshots SELECT id, 0, 'eve', '', 1 FROM snapshots WHERE edit = 5",
            "no audit event",
        ),
        ("DELETE FROM expired_snapshots WHERE actor = 'bob'", "no row keeps it from gc"),
        ("UPDATE heads SET snapshot = (SELECT id FROM snapshots WHERE edit = 1)", "which expired"),
        ("UPDATE aliases SET snapshot = (SELECT id FROM snapshots WHERE edit = 1)", "which expired"),
        ("UPDATE edits SET base = (SELECT id FROM snapshots WHERE edit = 1) WHERE state = 'running'", "its base"),
        (
            "INSERT INTO snapshot_blobs SELECT s.id, b.digest FROM snapshots s, blobs b WHERE s.edit = 1",
            "rows that keep its blobs",
        ),
        (
            "DELETE FROM snapshot_blobs WHERE snapshot = (SELECT id FROM snapshots WHERE edit = 5)",
            "no row keeps it from gc",
        ),
    ],
)
def test_rows_that_contradict_an_expiry_are_named(local: World, statement: str, expected: str) -> None:
    local.registry.promote(MODEL, "head", "production", Author("ada"))
    local.begin()
    run(local, keep_last=2)
    assert verify(local.registry).ok
    with local.registry.engine.begin() as connection:
        connection.execute(text(statement))
    assert any(expected in problem for problem in verify(local.registry).references)


def test_a_snapshot_that_expired_is_not_hurt_by_a_blob_that_is_lost(local: World) -> None:
    shared = at(local, 1).content.space
    run(local)
    local.registry.store.delete(shared)
    (damaged,) = verify(local.registry).damaged
    assert damaged.snapshots == (local.head.id,)


def test_a_region_that_is_added_after_an_expiry_lands_as_ever(local: World) -> None:
    run(local)
    collect(local)
    begun = local.begin()
    content = local.changed(local.head.content, {3: "new"})
    landed = local.registry.commit(MODEL, begun.number, content, [change(3, "add")])
    assert readable(local, [landed])
    assert verify(local.registry).ok
