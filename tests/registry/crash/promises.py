"""What must be true of a registry whatever was killed or stopped: each broken promise in one line."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from sqlalchemy import Connection, select, text

from raie.registry import Author, Content, Edit, LocalStore, Snapshot
from raie.registry.audit import Checkpoint, events
from raie.registry.db import tables
from raie.registry.db.engine import reading
from raie.registry.db.queries import edit_of, head_id, select_snapshots, snapshot_of
from raie.registry.edits.merge import changed_regions
from raie.registry.maintenance.verify import gc, verify
from raie.registry.outbox import drain
from raie.registry.states import AuditAction, EditKind
from tests.registry.building import MODEL
from tests.registry.crash.steps import Client, Done, Teller, entry

__all__ = ["broken_promises", "incomplete_uploads"]


def broken_promises(
    client: Client, answered: Sequence[Done], checkpoint: Checkpoint, twice: Collection[str] = ()
) -> list[str]:
    """Of a registry at rest, some processes of which may have died.

    answered: what those who did something got.  checkpoint: an earlier head of the audit chain.  twice: the tags
    of what may be in the log more than once.
    """
    report = verify(client.registry, checkpoints=[checkpoint])
    broken = [damage.problem for damage in report.damaged] + list(report.chain.problems + report.references)
    with reading(client.registry.engine) as connection:
        history = _History(connection)
    for check in (_one_line, _each_edit_did_what_it_says, _everything_is_in_the_log):
        broken += check(history)
    broken += _nothing_was_done_twice(history, twice)
    return [*broken, *_what_was_answered_is_there(history, answered), *_what_was_published_was_told(client)]


class _History:
    """A model's edits, snapshots and log, as the rows have them at one moment."""

    def __init__(self, connection: Connection) -> None:
        self.edits = [edit_of(row) for row in connection.execute(select(tables.edits))]
        self.committed = [edit for edit in self.edits if edit.state == "committed"]
        self.head = head_id(connection, MODEL)
        self.moves = connection.execute(select(tables.alias_moves)).all()
        self.log = Counter(event.action for event in events(connection, MODEL))
        self.sent = Counter(connection.execute(select(tables.outbox_events.c.kind)).scalars())
        self._snapshots = {row.id: snapshot_of(row) for row in connection.execute(select_snapshots())}
        self.line = list(self._line())

    def _line(self) -> Iterator[str]:
        """The ids from the head to the first snapshot."""
        snapshot_id = self.head
        while snapshot_id is not None:
            yield snapshot_id
            snapshot_id = self.snapshot(snapshot_id).parent

    def snapshot(self, snapshot_id: str | None) -> Snapshot:
        return self._snapshots[str(snapshot_id)]


def _one_line(history: _History) -> Iterator[str]:
    """Every landed edit is in the head's line and nothing else is: a lost update would be missing there."""
    landed = Counter(edit.result for edit in history.committed if edit.kind != EditKind.CHERRY_PICK)
    if landed != Counter(history.line):
        yield f"the head's line is {history.line}, and the edits landed {dict(landed)}"


def _each_edit_did_what_it_says(history: _History) -> Iterator[str]:
    for edit in history.committed:
        if edit.kind != "setup":
            result = history.snapshot(edit.result)
            before = history.snapshot(result.parent).content
            if result.content != _expected(history, edit, before):
                yield f"edit {edit.number} ({edit.kind} {edit.reason!r}) made another content than it says"


def _expected(history: _History, edit: Edit, before: Content) -> Content:
    """The content that an edit should have made of the one it landed on, reckoned from its parameters alone."""
    about = edit.parameters
    if "to" in about:
        return history.snapshot(about["to"]).content
    if "edits" in about:
        (undone,) = about["edits"]
        result = next(history.snapshot(edit.result) for edit in history.edits if edit.number == undone)
        older = history.snapshot(result.parent).content
        return _with(before, {region: older.regions[region] for region in changed_regions(older, result.content)})
    if edit.kind == EditKind.CHERRY_PICK:
        first = next(version for version in history.committed if version.kind == "setup")
        return _with(before, {about["region"]: history.snapshot(first.result).content.regions[about["region"]]})
    return _with(before, {about["region"]: entry(about["region"], edit.reason)})


def _with(content: Content, regions: dict[int, dict[str, str]]) -> Content:
    return replace(content, regions=dict(content.regions) | regions)


def _nothing_was_done_twice(history: _History, twice: Collection[str]) -> Iterator[str]:
    tags = Counter((edit.kind, edit.reason) for edit in history.committed)
    tags += Counter(("move", move.reason) for move in history.moves)
    yield from (
        f"{kind} {tag!r} landed {count} times"
        for (kind, tag), count in tags.items()
        if count > 1 and tag not in twice
    )


def _everything_is_in_the_log(history: _History) -> Iterator[str]:
    """An audit event and an outbox event exist if and only if what they tell of does."""
    kinds = Counter(edit.kind for edit in history.committed)
    begun = [edit for edit in history.edits if edit.kind not in (EditKind.ROLLBACK, EditKind.CHERRY_PICK)]
    aborted = [edit for edit in begun if edit.state == "aborted"]
    wanted = {
        "begin": len(begun),
        "commit": kinds["setup"] + kinds["edit"],
        "rollback": kinds["rollback"],
        AuditAction.CHERRY_PICK: kinds[EditKind.CHERRY_PICK],
        "abort": len(aborted),
        "promote": len(history.moves),
    }
    logged = {action: history.log[action] for action in wanted}
    if logged != wanted:
        yield f"the audit log records {logged}, and there are {wanted}"
    happened = {"snapshot_committed": len(history.committed), "alias_moved": len(history.moves)}
    if history.sent != happened:
        yield f"the outbox holds {dict(history.sent)}, and what happened is {happened}"


def _what_was_answered_is_there(history: _History, answered: Sequence[Done]) -> Iterator[str]:
    results = {edit.number: edit.result for edit in history.edits}
    moves = {move.id for move in history.moves}
    for done in answered:
        if done.snapshot is not None and done.snapshot not in history.line:
            yield f"{done.tag!r} got snapshot {done.snapshot}, which is not in the head's line"
        if done.edit is not None and results.get(done.edit) != done.snapshot:
            yield f"{done.tag!r} got that edit {done.edit} made {done.snapshot}: {results.get(done.edit)}"
        if done.move is not None and done.move not in moves:
            yield f"{done.tag!r} got move {done.move}, which is not in the alias's log"


def _what_was_published_was_told(client: Client) -> Iterator[str]:
    """At least once, in the model's order; only a step in whose midst a process died may be published again."""
    lines = client.published.read_text().splitlines() if client.published.exists() else []
    first = [(int(line.split()[0]), line.split()[2]) for line in dict.fromkeys(lines)]
    with reading(client.registry.engine) as connection:
        published = text("SELECT id FROM outbox_events WHERE published_at IS NOT NULL ORDER BY id")
        marked = list(connection.execute(published).scalars())
    if first != sorted(first, key=lambda pair: pair[0]):
        yield f"events were published out of their order: {first}"
    missing = {(event, part) for event in marked for part in ("run", "version")} - set(first)
    if missing:
        yield f"events are marked as published and were not sent: {sorted(missing)}"


def incomplete_uploads(client: Client) -> list[str]:
    """Closes what is open, publishes, collects, and says what is there that should not be, or not there."""
    registry = client.registry
    for edit in registry.edits(MODEL):
        if edit.state in ("running", "abandoned"):
            registry.abort(MODEL, edit.number, force=True)
    # A relay that was killed holds its lease for a minute.
    report = drain(registry.engine, Teller(client.published), clock=lambda: time.time() + 3600)
    broken = [f"the outbox kept {report}"] if report.remaining else []
    gc(registry, author=Author("ada"), grace_s=0.0)
    with reading(registry.engine) as connection:
        rows = {row.digest: row.state for row in connection.execute(select(tables.blobs))}
        named = set(connection.execute(select(tables.snapshot_blobs.c.digest)).scalars())
    objects = {blob.digest for blob in registry.store.iterate()}
    if not (objects == rows.keys() == named and set(rows.values()) == {"live"}):
        broken.append(f"objects {objects ^ named} or rows {rows.keys() ^ named} are left over or missing: {rows}")
    if isinstance(registry.store, LocalStore):
        broken += [f"{path.name} is left over" for path in (registry.store.root / "incoming").iterdir()]
    return broken
