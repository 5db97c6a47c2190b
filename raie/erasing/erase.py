"""Erase a user: make again what its rows reached, and commit that as one edit that names nobody.

The old snapshots stay until they expire and are collected; nothing brings them into use again meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raie.actor import actor
from raie.callbacks import Progress, ignore_progress
from raie.chain_head import publishes_chain_head
from raie.edits.edit_result import EditResult, result_of
from raie.edits.heartbeat import kept_alive
from raie.edits.workflow import plain
from raie.engine.edit.impact import compared
from raie.engine.model import ModelView
from raie.erasing.erased_ids import erasures_of, require_same_key
from raie.erasing.keyed_hash import key_id, keyed_hash
from raie.erasing.mentions import Mention
from raie.erasing.reach import Reach, reach_of
from raie.erasing.replay import MemoryBlobs, Replay, Replayed, first_step
from raie.erasing.steps import Step, steps_of, with_history, without_history
from raie.errors import RaieError, UsageError
from raie.registry import Author, Content, RegionChange, Registry, RegistryError, Snapshot
from raie.registry.edits.erased import FIRST
from raie.registry.edits.merge import changed_regions
from raie.registry.edits.rollback import angle
from raie.registry.edits.undone import undone_edits
from raie.registry.states import EditKind, RegionAction

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = ["erase", "plan_erasure", "require_reason"]


@dataclass(frozen=True)
class _Erasure:
    """The head that is replayed, its history, where the user first is in it, and the hash of the user's id."""

    head: Snapshot
    steps: Sequence[Step]
    first: int
    hash: str


def plan_erasure(workspace: Workspace, user: str, *, key: bytes | None = None) -> Reach:
    """What the erasure of a user would make again; nothing changes.

    Args:
        workspace: Where the model lives.
        user: The external id.
        key: Of the hashes of erased users, where it is known already; it must be that of the erasures before.

    Raises:
        UsageError: There is no snapshot, the head does not hold the user, or it is another key.
        RegistryError: The database or the store refuses.
    """
    registry = workspace.registry()
    if key is not None:
        require_same_key(erasures_of(registry, workspace.model), key)
    return reach_of(registry, _head(registry, workspace.model), user)


def _head(registry: Registry, model: str) -> Snapshot:
    head = registry.head(model)
    if head is None:
        raise UsageError(f"model {model!r} has no snapshot: there is nobody to erase")
    return head


@publishes_chain_head
def erase(
    workspace: Workspace,
    user: str,
    *,
    key: bytes,
    reason: str,
    log: Path | None = None,
    workers: int = 1,
    progress: Progress = ignore_progress,
) -> EditResult:
    """Make again what a user's rows reached, without the user, and commit it.

    Args:
        workspace: Where the model lives.
        user: The external id.
        key: Of the hash that the history keeps in place of the id.
        reason: Why; it stays in the history, and must not name the user.
        log: The log of all edits; None takes the log that each edit names.
        workers: Processes that train side by side; the result does not depend on it.
        progress: Called as the replay and its training go on.

    Returns:
        The new head.

    Raises:
        UsageError: The head does not hold the user, or the reason is empty or names the user.
        RaieError: The history cannot be made again.
        EngineError: A log is not the one that an edit was made from.
        RegistryError: The head moved meanwhile, or the database or the store refuses.
    """
    require_reason(reason, user)
    registry = workspace.registry()
    erasure = _erasure(registry, workspace.model, user, key)
    edit = registry.begin(
        workspace.model,
        EditKind.ERASE,
        seed=0,
        author=Author(actor(), reason),
        parameters={"user": erasure.hash, "key": key_id(key), FIRST: erasure.steps[erasure.first].snapshot},
        base=erasure.head.id,
    )
    replay = Replay(
        registry,
        workspace.model,
        user,
        key,
        log,
        workspace.backbone_file,
        workers,
        progress,
        MemoryBlobs(registry),
    )
    try:
        with kept_alive(registry, workspace.model, edit.number):
            replayed = replay.run(erasure.steps, erasure.first)
            report = _report(erasure, replayed, workspace.backbone_file) | _known(registry, erasure.head)
            content = _stored(registry, replayed)
        changes = _changes(erasure.head, replayed)
        return result_of(registry, registry.commit(workspace.model, edit.number, content, changes, plain(report)))
    except BaseException as error:
        # The next try begins anew: what was trained is held by this process alone.
        with suppress(RegistryError):
            registry.abort(workspace.model, edit.number, Author(actor(), f"not erased: {type(error).__name__}"))
        raise


def require_reason(reason: str, user: str) -> None:
    """Refuse an erasure without a reason, or with one that names the user.

    Raises:
        UsageError: As that says.
    """
    if not reason.strip():
        raise UsageError(
            "expected a reason for the history, found none: give --reason, which must not name the user"
        )
    if Mention(user).in_text(reason):
        raise UsageError(
            "expected a reason that does not name the user, found the id in --reason, which the history keeps for good; "
            "name the request instead, such as its number"
        )


def _erasure(registry: Registry, model: str, user: str, key: bytes) -> _Erasure:
    head = _head(registry, model)
    require_same_key(erasures_of(registry, model), key)
    steps, blobs = steps_of(registry, head), MemoryBlobs(registry)
    first = first_step(steps, blobs.get, {user})
    if first is None:
        raise UsageError(
            f"expected a user whom the head of {model!r} holds, found none of this id: nothing was changed; "
            "raie erase --prove says what else is left"
        )
    _require_no_import(registry, model, steps[first:])
    return _Erasure(head, steps, first, keyed_hash(key, model, user))


def _require_no_import(registry: Registry, model: str, steps: Sequence[Step]) -> None:
    """Raises RaieError where an imported adapter is in force, or was trained on: what it has seen is not known."""
    undone = undone_edits(registry.histories(model, "head")[0])
    imports = [step.number for step in steps if step.kind == EditKind.IMPORT and step.number not in undone]
    if imports:
        raise RaieError(
            f"expected adapters whose training is known, found that edit {imports[0]} imported one since the user came: "
            f"undo it first (raie rollback {imports[0]} --cascade)"
        )


def _known(registry: Registry, head: Snapshot) -> dict[str, Any]:
    """What later logs are measured against, as the head's edit recorded it: shares of ids and no id."""
    known = registry.edit(head.model, head.edit).report.get("known")
    return {} if known is None else {"known": known}


def _stored(registry: Registry, replayed: Replayed) -> Content:
    """The content with the history that later erasures need, every new blob of it in the store."""
    content = with_history(replayed.content, replayed.steps, replayed.blobs.put)
    new = {digest: data for digest, data in replayed.blobs.new.items() if digest in content.blobs()}
    registry.put_all(list(new.values()))
    return content


def _changes(head: Snapshot, replayed: Replayed) -> list[RegionChange]:
    """A RegionChange for every region that differs from the head's."""
    before = ModelView(head.content, replayed.blobs.get).region_map
    after = ModelView(replayed.content, replayed.blobs.get).region_map
    return [
        _change(region, before, after) if region in after.ids else RegionChange(region, RegionAction.RETIRE)
        for region in sorted(changed_regions(without_history(head.content), replayed.content))
    ]


def _change(region: int, before: Any, after: Any) -> RegionChange:
    row = after.position(region)
    centre = tuple(after.centres[row].tolist())
    old = tuple(before.centres[before.position(region)].tolist()) if region in before.ids else ()
    return RegionChange(
        region,
        RegionAction.ERASE,
        centre_shift=angle(old, centre),
        radius=float(after.radius[row]),
        concentration=float(after.concentration[row]),
        count=int(after.count[row]),
        centre=centre,
    )


def _report(erasure: _Erasure, replayed: Replayed, backbone_file: Path | None) -> dict[str, Any]:
    """What the erasure made again, as an impact report: both heads on the setup's held-out windows of everybody else."""
    old = without_history(erasure.head.content)
    before = ModelView(old, replayed.blobs.get, backbone_file)
    after = ModelView(replayed.content, replayed.blobs.get, backbone_file)
    changed = changed_regions(old, replayed.content)
    untouched = sorted(set(replayed.content.regions) - changed)
    return {
        "version": 2,
        "retention": compared(before.router, after.router, after.holdout).to_mapping(),
        "changed": sorted(changed),
        "untouched": untouched,
        "untouched_identical": True,
        "trained": {f"edit {number}": list(regions) for number, regions in replayed.trained.items()},
        "backbone_saw_user": erasure.steps[erasure.first].parent is None,
    }
