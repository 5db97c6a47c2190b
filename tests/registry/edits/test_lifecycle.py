"""A running edit belongs to one process at a time, survives it, and is never lost from sight."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Thread

import pytest
from sqlalchemy import text

from raie.registry import Author, EditStateError, InvalidValue, LeaseLost, NotFound, Registry
from raie.registry.leases import EDIT_LEASE_S
from tests.conftest import Ready
from tests.registry.building import MODEL, World, set_up


@pytest.fixture
def world(ready: Ready) -> World:
    return World(ready(set_up))


def another_process(world: World) -> World:
    """The same registry in a process of its own, as far as leases go."""
    return World(Registry(world.registry.engine, world.registry.store))


def expire(world: World, number: int) -> None:
    with world.registry.engine.begin() as connection:
        over = text("UPDATE edits SET lease_expires_at = lease_expires_at - :s WHERE number = :number")
        connection.execute(over, {"s": EDIT_LEASE_S + 1, "number": number})


def test_an_edit_records_everything_that_it_was_begun_with(world: World) -> None:
    data, plan = world.blobs("data", "plan")
    begun = world.begin(seed=2**40, data_digest=data, plan_digest=plan, parameters={"gate": {"tau": 0.05}})
    edit = world.registry.edit(MODEL, begun.number)
    assert edit == begun
    assert (edit.number, edit.kind, edit.state, edit.base) == (2, "edit", "running", world.head.id)
    assert (edit.seed, edit.data_digest, edit.plan_digest) == (2**40, data, plan)
    assert edit.parameters == {"gate": {"tau": 0.05}}
    assert (edit.actor, edit.reason, edit.result, edit.closed_at) == ("ada", "drift", None, None)
    assert edit.lease_owner == world.registry.lease_owner


def test_a_committed_edit_has_its_result_and_its_report(world: World) -> None:
    world.commit(begun := world.begin(), world.changed(world.head.content, {1: "a"}), 1, recall=0.25)
    edit = world.registry.edit(MODEL, begun.number)
    assert (edit.state, edit.result, edit.report) == ("committed", world.head.id, {"recall": 0.25})
    assert edit.lease_owner is None
    assert edit.closed_at is not None
    assert edit.closed_at >= edit.created_at


def test_edits_are_numbered_per_model_and_listed_newest_first(world: World) -> None:
    second = World(world.registry, "books")
    second.setup()
    world.begin()
    assert [edit.number for edit in world.registry.edits(MODEL)] == [2, 1]
    assert [edit.number for edit in world.registry.edits("books")] == [1]
    assert world.registry.models() == ["books", MODEL]


def test_a_model_is_set_up_once(world: World) -> None:
    with pytest.raises(EditStateError, match="name another model"):
        world.registry.begin(MODEL, "setup", seed=0, author=Author("ada"))


def test_a_setup_that_never_landed_may_be_begun_again(any_database: Registry) -> None:
    first = any_database.begin(MODEL, "setup", seed=0, author=Author("ada"))
    assert any_database.head(MODEL) is None
    any_database.abort(MODEL, first.number)
    World(any_database).setup()
    assert any_database.edits(MODEL)[0].number == 2


def test_an_edit_of_a_model_that_is_not_there_names_those_that_are(world: World) -> None:
    for call in (
        lambda: world.registry.begin("recsis", "edit", seed=0, author=Author("ada")),
        lambda: world.registry.edits("recsis"),
        lambda: world.registry.resolve("recsis", "head"),
        lambda: world.registry.aliases("recsis"),
    ):
        with pytest.raises(NotFound, match=MODEL):
            call()


def test_an_edit_that_is_not_there_says_where_to_look(world: World) -> None:
    with pytest.raises(NotFound, match="raie edit list"):
        world.registry.edit(MODEL, 9)


@pytest.mark.parametrize(
    "bad",
    [{"data_digest": "abc"}, {"parameters": {"x": float("nan")}}, {"kind": "magic"}],
)
def test_an_edit_that_could_not_be_stored_is_refused_and_takes_no_number(
    world: World, bad: dict[str, object]
) -> None:
    options = {"kind": "edit", "seed": 0, "author": Author("ada")} | bad
    with pytest.raises(InvalidValue):
        world.registry.begin(MODEL, **options)  # type: ignore[arg-type]
    assert world.begin().number == 2


@pytest.mark.parametrize("fields", [("",), ("a\nb",), ("a" * 201,), ("ada", "a\0b"), ("ada", "\ud800")])
def test_an_author_that_could_not_be_stored_is_refused(fields: tuple[str, ...]) -> None:
    with pytest.raises(InvalidValue):
        Author(*fields)


@pytest.mark.parametrize("words", ["O'Brien; DROP TABLE edits; --", "%s %(x)s {}", "日本語 🎬", "a\tb\nc"])
def test_a_reason_may_be_any_text(world: World, words: str) -> None:
    assert world.registry.edit(MODEL, world.begin(author=Author("ada", words)).number).reason == words


def test_finished_steps_can_be_read_by_the_process_that_goes_on(world: World) -> None:
    number = world.begin().number
    world.registry.record_checkpoint(MODEL, number, "region 1", {"lora": "a" * 64, "loss": 0.25})
    world.registry.record_checkpoint(MODEL, number, "region 2", {"loss": 1})
    world.registry.record_checkpoint(MODEL, number, "region 1", {"lora": "b" * 64})
    parts = another_process(world).registry.checkpoints(MODEL, number)
    assert parts == {"region 1": {"lora": "b" * 64}, "region 2": {"loss": 1}}
    assert world.registry.checkpoints(MODEL, 1) == {}


def test_a_heartbeat_keeps_the_lease(world: World) -> None:
    number = world.begin().number
    expire(world, number)
    assert world.registry.edit(MODEL, number).state == "abandoned"
    world.registry.heartbeat(MODEL, number)
    assert world.registry.edit(MODEL, number).state == "running"


def test_a_working_process_is_not_robbed_of_its_edit(world: World) -> None:
    number, second = world.begin().number, another_process(world).registry
    steps: list[Callable[[], object]] = [
        lambda: second.resume(MODEL, number),
        lambda: second.heartbeat(MODEL, number),
        lambda: second.record_checkpoint(MODEL, number, "x", {}),
        lambda: second.abort(MODEL, number),
        lambda: another_process(world).commit(world.registry.edit(MODEL, number), world.head.content),
    ]
    for step in steps:
        with pytest.raises(LeaseLost, match=f"raie edit resume {number}"):
            step()
    assert world.registry.edit(MODEL, number).state == "running"


@pytest.mark.parametrize("force", [False, True])
def test_after_another_process_resumed_an_edit_the_first_one_cannot_commit_it(world: World, force: bool) -> None:
    edit, second = world.begin(), another_process(world)
    content = world.changed(world.head.content, {1: "a"})
    if not force:
        expire(world, edit.number)
    resumed = second.registry.resume(MODEL, edit.number, author=Author("bob"), force=force)
    assert (resumed.state, resumed.lease_owner) == ("running", second.registry.lease_owner)
    with pytest.raises(LeaseLost):
        world.commit(edit, content, 1)
    landed = second.commit(resumed, content, 1)
    assert world.head == landed


def test_an_edit_whose_process_was_killed_is_abandoned_at_once(world: World) -> None:
    program = (
        "import sys; from raie.registry import Author, Registry\n"
        "registry = Registry.open(sys.argv[1], sys.argv[2])\n"
        "registry.begin('recsys', 'edit', seed=1, author=Author('ada'))\n"
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    url = world.registry.engine.url.render_as_string(hide_password=False)
    folder = str(world.registry.store.top)  # type: ignore[attr-defined]
    done = subprocess.run([sys.executable, "-c", program, url, folder], check=False, timeout=60)
    assert done.returncode == -9
    assert world.registry.edit(MODEL, 2).state == "abandoned"
    assert world.registry.resume(MODEL, 2).state == "running"
    assert world.commit(world.registry.edit(MODEL, 2), world.head.content).parent is not None


PAUSED = """
import os, signal, sys
from dataclasses import replace
from raie.registry import Author, RegionChange, Registry, RegistryError

registry = Registry.open(sys.argv[1], sys.argv[2])
edit = registry.begin("recsys", "edit", seed=1, author=Author("ada"))
base = registry.resolve("recsys", edit.base).content
lora = registry.put(b"trained before the pause")
content = replace(base, regions={**base.regions, 1: {**base.regions[1], "lora": lora}})
os.kill(os.getpid(), signal.SIGSTOP)
for step in (
    lambda: registry.heartbeat("recsys", edit.number),
    lambda: registry.record_checkpoint("recsys", edit.number, "region 1", {"lora": lora}),
    lambda: registry.commit("recsys", edit.number, content, [RegionChange(1, "update")]),
):
    try:
        step()
        print("done")
    except RegistryError as error:
        print(type(error).__name__)
"""


@pytest.fixture
def paused(world: World) -> Iterator[subprocess.Popen[str]]:
    """A process that began edit 2 and stands still before its commit."""
    url = world.registry.engine.url.render_as_string(hide_password=False)
    folder = str(world.registry.store.top)  # type: ignore[attr-defined]
    process = subprocess.Popen([sys.executable, "-c", PAUSED, url, folder], stdout=subprocess.PIPE, text=True)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    yield process
    process.kill()
    process.communicate()


def goes_on(process: subprocess.Popen[str]) -> list[str]:
    """What the process's heartbeat, its step and its commit came to once it was let run."""
    process.send_signal(signal.SIGCONT)
    out, _ = process.communicate(timeout=60)
    return out.split()


def test_a_process_that_was_paused_past_its_lease_cannot_commit_what_another_resumed(
    world: World, paused: subprocess.Popen[str]
) -> None:
    assert world.registry.edit(MODEL, 2).state == "running", "a paused process is not a dead one"
    with pytest.raises(LeaseLost):
        world.registry.resume(MODEL, 2)
    expire(world, 2)
    resumed = world.registry.resume(MODEL, 2, author=Author("bob"))
    assert goes_on(paused) == ["LeaseLost"] * 3
    landed = world.commit(resumed, world.changed(world.head.content, {1: "bob's"}), 1)
    assert world.head == landed
    assert world.registry.edit(MODEL, 2).result == landed.id


def test_a_process_that_was_paused_while_another_finished_its_edit_changes_nothing(
    world: World, paused: subprocess.Popen[str]
) -> None:
    expire(world, 2)
    landed = world.commit(world.registry.resume(MODEL, 2), world.changed(world.head.content, {1: "bob's"}), 1)
    assert goes_on(paused) == ["EditStateError"] * 3
    assert world.head == landed


def test_a_process_that_was_paused_past_its_lease_goes_on_where_nobody_took_its_edit(
    world: World, paused: subprocess.Popen[str]
) -> None:
    expire(world, 2)
    assert goes_on(paused) == ["done"] * 3
    assert world.head.edit == 2


def test_a_force_resume_and_an_abort_race_and_one_of_them_wins(world: World) -> None:
    number = world.begin().number
    others = [another_process(world).registry for _ in range(6)]
    won: list[str] = []

    def take(index: int) -> None:
        with suppress(LeaseLost, EditStateError):
            if index % 2:
                others[index].abort(MODEL, number, Author("ada", str(index)), force=True)
            else:
                others[index].resume(MODEL, number, force=True)
            won.append(others[index].lease_owner)

    threads = [Thread(target=take, args=[index]) for index in range(len(others))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    edit = world.registry.edit(MODEL, number)
    assert won
    assert edit.state == "aborted"
    with pytest.raises(EditStateError):
        world.commit(edit, world.head.content)


def test_an_aborted_edit_stays_in_the_list_and_cannot_land(world: World) -> None:
    edit = world.begin()
    closed = world.registry.abort(MODEL, edit.number, author=Author("bob", "the log was wrong"))
    assert (closed.state, closed.close_reason, closed.lease_owner) == ("aborted", "the log was wrong", None)
    assert world.registry.abort(MODEL, edit.number, Author("ada", "again")) == closed
    for step in (
        lambda: world.commit(edit, world.head.content),
        lambda: world.registry.resume(MODEL, edit.number),
        lambda: world.registry.heartbeat(MODEL, edit.number),
    ):
        with pytest.raises(EditStateError, match="aborted"):
            step()
    assert world.head.edit == 1


def test_a_committed_edit_cannot_be_aborted(world: World) -> None:
    world.edit(1, text="a")
    with pytest.raises(EditStateError, match="committed"):
        world.registry.abort(MODEL, 2)
