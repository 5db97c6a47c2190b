"""Notes and tags of snapshots: what people wrote on them, none of which is ever changed or deleted.

A tag that is removed stays on record; its newest row counts. A tag is a label and no reference: several snapshots
may have the same one. An expired snapshot can be written on too.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from raie.registry import audit
from raie.registry.author import Author
from raie.registry.db.engine import chunked
from raie.registry.db.queries import lock_model, require_model, resolve_id
from raie.registry.db.tables import snapshot_notes
from raie.registry.errors import InvalidValue, NotFound
from raie.registry.states import AuditAction
from raie.registry.values import check_name

__all__ = ["Annotation", "Annotations", "annotation_subject", "annotations_of", "note", "tag", "untag"]

_LONGEST_NOTE = 10_000
_a = snapshot_notes.c


@dataclass(frozen=True)
class Annotation:
    """What somebody wrote on a snapshot.

    action: "note", "tag" or "untag".  tag: None for a note.  reason: the text of a note, or why of a tag.
    """

    id: int
    model: str
    snapshot: str
    action: str
    tag: str | None
    actor: str
    reason: str
    at: float


@dataclass(frozen=True)
class Annotations:
    """What stands on a snapshot: its notes, oldest first, and its tags by name."""

    notes: tuple[Annotation, ...] = ()
    tags: tuple[Annotation, ...] = ()

    @property
    def tag_names(self) -> tuple[str, ...]:
        """The tags, sorted."""
        return tuple(entry.tag for entry in self.tags if entry.tag is not None)

    @property
    def newest_note(self) -> str:
        """The text of the newest note; "" without one."""
        return self.notes[-1].reason if self.notes else ""


def annotation_subject(tag: str | None) -> str:
    """The subject of the audit event of an annotation."""
    return "note" if tag is None else f"tag:{tag}"


def note(connection: Connection, model: str, ref: str, author: Author) -> Annotation:
    """Adds a note, whose text is the author's reason.

    Args:
        connection: to the registry's database.
        model: its name.
        ref: of the snapshot, as `Registry.resolve` takes it.
        author: who writes, and the text.

    Returns:
        The note.

    Raises:
        NotFound: for a model or a snapshot that is not there.
        InvalidValue: for a note without text, or a very long one.
    """
    if not author.reason.strip() or len(author.reason) > _LONGEST_NOTE:
        raise InvalidValue(
            f"Expected a note of 1 to {_LONGEST_NOTE:,} characters, found {len(author.reason.strip()):,}"
        )
    lock_model(connection, model)
    return _append(connection, model, resolve_id(connection, model, ref), AuditAction.NOTE, None, author)


def tag(connection: Connection, model: str, ref: str, name: str, author: Author) -> Annotation:
    """Tags a snapshot; changes nothing where it has the tag already.

    Args:
        connection: to the registry's database.
        model: its name.
        ref: of the snapshot, as `Registry.resolve` takes it.
        name: of the tag.
        author: who tags it, and why.

    Returns:
        The tag, as it was given now or before.

    Raises:
        NotFound: for a model or a snapshot that is not there.
        InvalidValue: for a name that cannot be printed.
    """
    check_name(name, "tag")
    snapshot, given = _locked(connection, model, ref, name)
    return given or _append(connection, model, snapshot, AuditAction.TAG, name, author)


def untag(connection: Connection, model: str, ref: str, name: str, author: Author) -> Annotation:
    """Takes a tag away; that the snapshot had it stays on record.

    Args:
        connection: to the registry's database.
        model: its name.
        ref: of the snapshot, as `Registry.resolve` takes it.
        name: of the tag.
        author: who removes it, and why.

    Returns:
        What was added.

    Raises:
        NotFound: for a model or a snapshot that is not there, or a tag that it does not have.
        InvalidValue: for a name that cannot be printed.
    """
    check_name(name, "tag")
    snapshot, given = _locked(connection, model, ref, name)
    if given is None:
        tags = [entry.tag for entry in annotations_of(connection, model, [snapshot])[snapshot].tags]
        there = ", ".join(repr(tag) for tag in tags) or "none"
        raise NotFound(
            f"Expected a tag {name!r} of {snapshot[:12]}, found {there}; `raie show` lists them",
            name,
            {tag: tag for tag in tags if tag is not None},
        )
    return _append(connection, model, snapshot, AuditAction.UNTAG, name, author)


def annotations_of(
    connection: Connection, model: str, snapshots: Iterable[str] | None = None
) -> Mapping[str, Annotations]:
    """What stands on snapshots.

    Args:
        connection: to the registry's database.
        model: its name.
        snapshots: ids of those that are asked about; None for all.

    Returns:
        Id -> what stands on it, for each that is asked about; of all, only those on which something stands.

    Raises:
        NotFound: for a model that is not there.
    """
    require_model(connection, model)
    query = select(snapshot_notes).where(_a.model == model).order_by(_a.id)
    wanted = None if snapshots is None else list(dict.fromkeys(snapshots))
    chunks = [query] if wanted is None else [query.where(_a.snapshot.in_(chunk)) for chunk in chunked(wanted)]
    by_snapshot: dict[str, list[Annotation]] = {snapshot: [] for snapshot in wanted or ()}
    for chunk in chunks:
        for row in connection.execute(chunk):
            by_snapshot.setdefault(row.snapshot, []).append(Annotation(**row._mapping))
    return {snapshot: _standing(written) for snapshot, written in by_snapshot.items()}


def _standing(written: Sequence[Annotation]) -> Annotations:
    """What of all annotations of a snapshot counts, oldest first."""
    tags = {entry.tag: entry for entry in written if entry.tag is not None}
    given = [entry for name, entry in sorted(tags.items()) if entry.action == AuditAction.TAG]
    return Annotations(tuple(entry for entry in written if entry.action == AuditAction.NOTE), tuple(given))


def _locked(connection: Connection, model: str, ref: str, name: str) -> tuple[str, Annotation | None]:
    """The snapshot that is meant and its tag of this name, the model locked."""
    lock_model(connection, model)
    snapshot = resolve_id(connection, model, ref)
    given = annotations_of(connection, model, [snapshot])[snapshot].tags
    return snapshot, next((entry for entry in given if entry.tag == name), None)


def _append(
    connection: Connection, model: str, snapshot: str, action: AuditAction, name: str | None, author: Author
) -> Annotation:
    row: dict[str, Any] = {
        "model": model,
        "snapshot": snapshot,
        "action": action,
        "tag": name,
        "actor": author.name,
        "reason": author.reason,
        "at": time.time(),
    }
    number = connection.execute(insert(snapshot_notes).values(row).returning(_a.id)).scalar_one()
    audit.append(
        connection,
        author=author,
        action=action,
        model=model,
        subject=annotation_subject(name),
        target=snapshot,
        at=row["at"],
        rows={"snapshot_notes": [row | {"id": number}]},
    )
    return Annotation(number, **row)
