"""Notes and tags of snapshots: written by people, on record for good."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from raie.actor import actor
from raie.chain_head import publishes_chain_head
from raie.edits.edit_records import edit_reference
from raie.registry import Author, Registry
from raie.registry.db.engine import reading, write
from raie.registry.edits import notes
from raie.registry.edits.notes import Annotation, Annotations

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = ["Annotation", "Annotations", "annotations_of", "note", "tag", "untag"]


@publishes_chain_head
def note(workspace: Workspace, ref: str, text: str) -> Annotation:
    """Add a note to a snapshot; no note is ever changed or removed.

    Args:
        workspace: Whose model it is.
        ref: "head", an alias, "edit:3" or 3, a snapshot's id or its first characters.
        text: The note.

    Raises:
        NotFound: There is no such snapshot.
        InvalidValue: The note has no text, or is very long.
    """
    registry, model, author = _writer(workspace, text)
    return write(registry.engine, lambda c: notes.note(c, model, edit_reference(ref), author))


@publishes_chain_head
def tag(workspace: Workspace, ref: str, name: str, *, reason: str = "") -> Annotation:
    """Tag a snapshot; nothing changes where it has the tag.

    Args:
        workspace: Whose model it is.
        ref: The snapshot.
        name: The tag.
        reason: Why.

    Raises:
        NotFound: There is no such snapshot.
        InvalidValue: The name cannot be printed.
    """
    registry, model, author = _writer(workspace, reason)
    return write(registry.engine, lambda c: notes.tag(c, model, edit_reference(ref), name, author))


@publishes_chain_head
def untag(workspace: Workspace, ref: str, name: str, *, reason: str = "") -> Annotation:
    """Take a tag away; that the snapshot had it stays on record.

    Args:
        workspace: Whose model it is.
        ref: The snapshot.
        name: The tag.
        reason: Why.

    Raises:
        NotFound: There is no such snapshot, or it does not have the tag.
    """
    registry, model, author = _writer(workspace, reason)
    return write(registry.engine, lambda c: notes.untag(c, model, edit_reference(ref), name, author))


def annotations_of(registry: Registry, model: str, snapshots: Iterable[str]) -> Mapping[str, Annotations]:
    """What stands on each of some snapshots.

    Args:
        registry: Of the model.
        model: Its name.
        snapshots: Their ids.

    Returns:
        Id -> notes and tags, for each of them.
    """
    with reading(registry.engine) as connection:
        return notes.annotations_of(connection, model, snapshots)


def _writer(workspace: Workspace, reason: str) -> tuple[Registry, str, Author]:
    registry = workspace.registry()
    registry.require_writable(store_needed=False)
    return registry, workspace.model, Author(actor(), reason)
