"""What the processes of a crash test do to a registry: steps that whoever finds them half done can take again.

A step looks at what there is, as a careful client does: its edit may have begun, or landed, or been taken over by
another process. Its tag is its reason in the log, so that the log can tell whether it was done twice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from raie.registry import (
    AliasConflict,
    Author,
    CommitConflict,
    Content,
    Edit,
    EditStateError,
    Registry,
    RollbackConflict,
    SnapshotExpired,
    digest_of,
)
from raie.registry.maintenance.expiry import Rule, expire
from raie.registry.maintenance.verify import gc, verify
from raie.registry.outbox import Progress, drain
from raie.registry.outbox_records import OutboxEvent
from tests.registry.building import MODEL, World, change

__all__ = ["ALIAS", "REGIONS", "Client", "Done", "Site", "Step", "entry", "leave_behind", "take"]

ALIAS = "production"
REGIONS = 4
_PATIENCE_S = 20.0


@dataclass(frozen=True)
class Site:
    """Where a registry is, as any process can get it: its database, its store, where its outbox is published, and the
    environment in which the store is found."""

    database_url: str
    store_url: str
    published: Path
    environment: Mapping[str, str]

    def open(self) -> Client:
        os.environ.update(self.environment)
        return Client(Registry.open(self.database_url, self.store_url), self.published)


@dataclass(frozen=True)
class Step:
    """Something to do; number: the region, edit or version that it is about, as its kind needs it."""

    kind: str
    tag: str
    number: int = 0


@dataclass(frozen=True)
class Done:
    """What a step's process got: the edit that landed with its snapshot, or the move of the alias."""

    tag: str
    edit: int | None = None
    snapshot: str | None = None
    move: int | None = None


@dataclass(frozen=True)
class Client:
    """A registry as one process holds it, and the file in which its publisher writes."""

    registry: Registry
    published: Path


class Teller:
    """A publisher of two steps that writes each down, as a server would that makes a run and then a version."""

    target = "a file"

    def __init__(self, file: Path) -> None:
        self._file = file

    def publish(self, event: OutboxEvent, progress: Progress) -> None:
        for part in ("run", "version"):
            progress.step(part, lambda part=part: self._write(f"{event.id} {event.model} {part}\n"))  # type: ignore[misc]

    def _write(self, line: str) -> bool:
        with self._file.open("a") as file:
            file.write(line)
        return True


def take(client: Client, step: Step) -> Done:
    """Does the step, or what is left of it; one that wants a snapshot which has expired is refused."""
    with suppress(SnapshotExpired):
        return _KINDS[step.kind](client, step)
    return Done(step.tag)


def entry(region: int, tag: str) -> dict[str, str]:
    """The region as the edit of that tag leaves it: its bytes follow from the tag."""
    return {part: digest_of(f"{part} {region} {tag}".encode()) for part in ("state", "lora")}


def leave_behind(client: Client, steps: Sequence[Step]) -> None:
    """The edits of processes that are gone which some steps look for: begun, their steps recorded, their leases over."""
    for step in steps:
        if step.kind in ("resume", "abort"):
            gone = Registry(client.registry.engine, client.registry.store)
            _record(World(gone), _begin(gone, Step("edit", f"left before {step.tag}", step.number)))
            _lapse(client, step)


def _edit(client: Client, step: Step) -> Done:
    registry, until = client.registry, time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        with suppress(EditStateError):
            edit = _edit_of(registry, step)
            if edit.state == "committed":
                return Done(step.tag, edit.number, edit.result)
            try:
                return _finish(registry, edit, step.tag)
            except CommitConflict:
                registry.abort(MODEL, edit.number, Author("ada", "the head moved"))
        time.sleep(0.01)
    raise TimeoutError(f"{step} did not end")


def _edit_of(registry: Registry, step: Step) -> Edit:
    """The step's edit: the one that landed or that this process works on, one left behind, or else a new one."""
    mine = [edit for edit in registry.edits(MODEL) if edit.reason == step.tag and edit.state != "aborted"]
    if not mine:
        return _begin(registry, step)
    return registry.resume(MODEL, mine[0].number) if mine[0].state == "abandoned" else mine[0]


def _begin(registry: Registry, step: Step) -> Edit:
    about = {"region": step.number}
    return registry.begin(MODEL, "edit", seed=1, author=Author("ada", step.tag), parameters=about)


def _finish(registry: Registry, edit: Edit, tag: str) -> Done:
    content = _record(World(registry), edit)
    changes = [change(edit.parameters["region"])]
    snapshot = registry.commit(MODEL, edit.number, content, changes, {"loss": 0.5})
    return Done(tag, edit.number, snapshot.id)


def _record(world: World, edit: Edit) -> Content:
    region = edit.parameters["region"]
    base = world.registry.resolve(MODEL, str(edit.base)).content
    content = world.changed(base, {region: edit.reason})
    world.registry.record_checkpoint(MODEL, edit.number, f"region {region}", dict(content.regions[region]))
    return content


def _attempt(client: Client, step: Step) -> Done:
    """An edit of a client that gives up where another one came first."""
    edit = _begin(client.registry, step)
    with suppress(CommitConflict):
        return _finish(client.registry, edit, step.tag)
    client.registry.abort(MODEL, edit.number, Author("ada", "the head moved"))
    return Done(step.tag, edit.number)


def _undo(client: Client, step: Step) -> Done:
    with suppress(RollbackConflict):
        snapshot = client.registry.rollback_edit(MODEL, step.number, Author("ada", step.tag))
        return Done(step.tag, snapshot=snapshot.id)
    return Done(step.tag)


def _return(client: Client, step: Step) -> Done:
    snapshot = client.registry.rollback_to(MODEL, f"edit:{step.number}", Author("ada", step.tag))
    return Done(step.tag, snapshot=snapshot.id)


def _promote(client: Client, step: Step) -> Done:
    registry, ref = client.registry, f"edit:{step.number}" if step.number else "head"
    while True:
        served = {alias.name: alias.snapshot for alias in registry.aliases(MODEL)}
        with suppress(AliasConflict):
            move = registry.promote(MODEL, ref, ALIAS, Author("ada", step.tag), served.get(ALIAS, ""))
            return Done(step.tag, move=move.id)


def _claim(client: Client, step: Step) -> Done:
    """A promotion of a client that believes the alias to be where the history left it, and gives up if it is not."""
    with suppress(AliasConflict):
        move = client.registry.promote(
            MODEL, f"edit:{step.number}", ALIAS, Author("ada", step.tag), f"edit:{REGIONS}"
        )
        return Done(step.tag, move=move.id)
    return Done(step.tag)


def _cherry_pick(client: Client, step: Step) -> Done:
    _, move = client.registry.promote_region(MODEL, step.number, 1, ALIAS, Author("ada", step.tag))
    return Done(step.tag, move=move.id)


def _collect(client: Client, step: Step) -> Done:
    """Uploads something that nothing names, and collects whatever is garbage without any period of grace."""
    client.registry.put(f"junk {step.tag}".encode())
    gc(client.registry, author=Author("ada", step.tag), grace_s=0.0)
    return Done(step.tag)


def _verify(client: Client, step: Step) -> Done:
    """Reads everything back; whatever anybody does meanwhile, nothing is wrong."""
    report = verify(client.registry)
    assert report.ok, report
    return Done(step.tag)


def _expire(client: Client, step: Step) -> Done:
    """Makes an edit, so that there is a snapshot more, and lets expire what is not in use."""
    done = _edit(client, step)
    expire(client.registry, MODEL, Rule(keep_last=1), author=Author("ada", step.tag))
    return done


def _publish(client: Client, step: Step) -> Done:
    """Moves an alias of its own, so that there is something to publish, and publishes whatever the outbox holds."""
    client.registry.promote(MODEL, "head", step.tag.replace(" ", "-"), Author("ada", step.tag))
    report = drain(client.registry.engine, Teller(client.published))
    assert not report.failed, report
    return Done(step.tag)


def _resume(client: Client, step: Step) -> Done:
    """Takes over the oldest edit that is left behind, and commits it if its step was recorded."""
    registry = client.registry
    with suppress(EditStateError):
        edit = _abandoned(registry)
        if edit is None:
            return Done(step.tag)
        registry.resume(MODEL, edit.number)
        if registry.checkpoints(MODEL, edit.number):
            with suppress(CommitConflict):
                return _finish(registry, edit, step.tag)
        registry.abort(MODEL, edit.number, Author("ada", step.tag))
    return Done(step.tag)


def _abort(client: Client, step: Step) -> Done:
    edit = _abandoned(client.registry)
    if edit is not None:
        with suppress(EditStateError):  # the rival took it, or closed it, since
            client.registry.abort(MODEL, edit.number, Author("ada", step.tag))
    return Done(step.tag)


def _abandoned(registry: Registry) -> Edit | None:
    return next((edit for edit in reversed(registry.edits(MODEL)) if edit.state == "abandoned"), None)


def _lapse(client: Client, step: Step) -> Done:
    """Lets the heartbeats of every running edit and of every relay be long ago."""
    with client.registry.engine.begin() as connection:
        connection.execute(text("UPDATE edits SET lease_expires_at = 0 WHERE state = 'running'"))
        connection.execute(text("UPDATE outbox_events SET lease_expires_at = 0 WHERE lease_owner IS NOT NULL"))
    return Done(step.tag)


_KINDS: Mapping[str, Callable[[Client, Step], Done]] = {
    "abort": _abort,
    "attempt": _attempt,
    "claim": _claim,
    "collect": _collect,
    "cherry-pick": _cherry_pick,
    "edit": _edit,
    "expire": _expire,
    "lapse": _lapse,
    "promote": _promote,
    "resume": _resume,
    "return": _return,
    "tell": _publish,
    "undo": _undo,
    "verify": _verify,
}
