"""What was changed: the edits of a model, each with its operations.

Nothing here needs more than the database.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raie.actor import actor
from raie.chain_head import publishes_chain_head
from raie.registry import Author, Edit, Operation, lineage
from raie.registry.edits.undone import undone_edits

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = ["EditRecord", "abort_edit", "edit_record", "edit_reference", "edits"]


@dataclass(frozen=True)
class EditRecord:
    """One edit.

    Attributes:
        edit: Who, when, why, its state and its report.
        operations: What it did to each region.
        checkpoints: The steps that it has finished, sorted.
        undone_by: The edit that took it back; None where the head holds it, or never did.
    """

    edit: Edit
    operations: tuple[Operation, ...]
    checkpoints: tuple[str, ...]
    undone_by: int | None = None


def edits(workspace: Workspace, *, only_open: bool = False, limit: int | None = None) -> tuple[Edit, ...]:
    """The edits, newest first; none before the first setup.

    Args:
        workspace: Where the model lives.
        only_open: Those that run or were abandoned.
        limit: The newest so many.

    Raises:
        RegistryError: The registry has other models and not this one, or the database refuses.
    """
    registry = workspace.registry()
    if not registry.models():
        return ()
    return tuple(registry.edits(workspace.model, only_open=only_open, limit=limit))


def edit_record(workspace: Workspace, number: int) -> EditRecord:
    """One edit with what it did to each region; raises NotFound."""
    registry, model = workspace.registry(), workspace.model
    edit = registry.edit(model, number)
    operations = tuple(lineage.operations(registry, model, number))
    checkpoints = tuple(sorted(registry.checkpoints(model, number)))
    (landed,) = registry.histories(model, "head")
    return EditRecord(edit, operations, checkpoints, undone_edits(landed).get(number))


@publishes_chain_head
def abort_edit(workspace: Workspace, number: int, *, reason: str = "", force: bool = False) -> Edit:
    """Close a running or abandoned edit without a result.

    Args:
        workspace: Where the model lives.
        number: The edit.
        reason: Why; it stays in the history.
        force: Even while a process still works on it; its commit is then refused.

    Raises:
        LeaseLost: Another process works on it.
        EditStateError: It is committed.
    """
    return workspace.registry().abort(workspace.model, number, author=Author(actor(), reason), force=force)


def edit_reference(ref: str) -> str:
    """The reference, with the number of an edit for its snapshot: `3` is `edit:3`, and four digits may begin an id."""
    return f"edit:{ref}" if re.fullmatch(r"[0-9]{1,3}", ref) else ref
