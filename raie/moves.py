"""Moves of aliases and of the head: promotion and rollback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raie.actor import actor
from raie.chain_head import publishes_chain_head
from raie.edits.edit_result import EditResult, result_of
from raie.registry import AliasMove, preflight

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = ["promote", "rollback_edit", "rollback_to"]


@publishes_chain_head
def promote(
    workspace: Workspace, ref: str, alias: str, *, reason: str, expected: str | None, override: bool
) -> AliasMove:
    """Point an alias at a snapshot; as `Workspace.promote`."""
    registry, model = workspace.registry(), workspace.model
    target = preflight.require_snapshot(registry, model, ref)
    return registry.promote(model, target, alias, actor(), reason, expected=expected, override=override)


@publishes_chain_head
def rollback_edit(workspace: Workspace, number: int, *, reason: str, cascade: bool) -> EditResult:
    """Undo one edit; as `Workspace.rollback`."""
    registry = workspace.registry()
    undone = registry.rollback_edit(workspace.model, number, actor=actor(), reason=reason, cascade=cascade)
    return result_of(registry, undone)


@publishes_chain_head
def rollback_to(workspace: Workspace, ref: str, *, reason: str) -> EditResult:
    """Bring an older snapshot's content back; as `Workspace.rollback`."""
    registry = workspace.registry()
    return result_of(registry, registry.rollback_to(workspace.model, ref, actor=actor(), reason=reason))
