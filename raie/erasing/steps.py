"""The history of a model's head as steps that can be replayed: from snapshots that are kept, or from an earlier erasure.

An erasure keeps what it replayed, without the erased users, so that the next one needs no snapshot that has expired.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raie.errors import RaieError
from raie.registry import Content, Digest, Registry, Snapshot
from raie.registry.canonical import canonical_json
from raie.registry.states import EditKind

__all__ = ["HISTORY", "Step", "history_blob", "steps_of", "with_history", "without_history"]

HISTORY = "erasure_history"
"""The shared part of a snapshot that names the steps of an erasure, and every blob that they need."""

_FORMAT = 1
_KEPT = ("log", "reading", "to", "edits", "region", "user")


@dataclass(frozen=True)
class Step:
    """One snapshot of the head's line, and the edit that made it.

    Attributes:
        snapshot, parent: Their ids.
        base: The snapshot that the edit was planned on.
        number, kind, seed: Of the edit.
        parameters: Those of the edit that a replay needs.
        plan: The blob that the edit was prepared as; None for an edit that trains nothing.
        content: Of the snapshot.
        kept: Whether the blobs of the content are kept.
    """

    snapshot: str
    parent: str | None
    base: str | None
    number: int
    kind: str
    seed: int
    parameters: Mapping[str, Any]
    plan: Digest | None
    content: Content
    kept: bool

    def to_json(self) -> dict[str, Any]:
        """The JSON object."""
        return {**vars(self), "content": self.content.to_json()}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Step:
        """The inverse of `to_json`."""
        return Step(**{**value, "content": Content.from_json(value["content"])})


def steps_of(registry: Registry, head: Snapshot) -> list[Step]:
    """The steps that made a snapshot, oldest first; what an erasure has kept stands in for what was before it.

    Args:
        registry: Of the snapshot.
        head: The snapshot.
    """
    later: list[Step] = []
    snapshot: Snapshot | None = head
    while snapshot is not None:
        edit = registry.edit(head.model, snapshot.edit)
        if edit.kind == EditKind.ERASE and HISTORY in snapshot.content.shared:
            return [*_read(registry.get(snapshot.content.shared[HISTORY][0])), *later]
        later.insert(0, _step(registry, snapshot))
        snapshot = None if snapshot.parent is None else registry.resolve(head.model, snapshot.parent)
    return later


def _step(registry: Registry, snapshot: Snapshot) -> Step:
    edit = registry.edit(snapshot.model, snapshot.edit)
    trains = edit.kind == EditKind.EDIT and edit.plan_digest is not None
    return Step(
        snapshot=snapshot.id,
        parent=snapshot.parent,
        base=edit.base,
        number=edit.number,
        kind=str(edit.kind),
        seed=edit.seed,
        parameters={name: edit.parameters[name] for name in _KEPT if name in edit.parameters},
        plan=Digest(str(edit.plan_digest)) if trains else None,
        content=without_history(snapshot.content),
        kept=snapshot.expired is None,
    )


def _read(data: bytes) -> list[Step]:
    values = json.loads(data)
    if values.get("format") != _FORMAT:
        raise RaieError(f"expected the steps of an erasure of format {_FORMAT}, found others: upgrade raie")
    return [Step.from_json(value) for value in values["steps"]]


def history_blob(steps: Iterable[Step]) -> bytes:
    """The steps as one blob.

    Args:
        steps: Oldest first.
    """
    return canonical_json({"format": _FORMAT, "steps": [step.to_json() for step in steps]})


def with_history(content: Content, steps: Sequence[Step], put: Callable[[bytes], Digest]) -> Content:
    """A content that names the steps and keeps their blobs.

    Args:
        content: Of the new snapshot.
        steps: Oldest first.
        put: Stores a blob.
    """
    named = {digest for step in steps for digest in step.content.blobs()}
    named |= {step.plan for step in steps if step.plan is not None}
    more = sorted(named - content.blobs())
    return _with_shared(content, {**content.shared, HISTORY: (put(history_blob(steps)), *more)})


def without_history(content: Content) -> Content:
    """A content without the steps of an erasure."""
    return _with_shared(content, {part: blobs for part, blobs in content.shared.items() if part != HISTORY})


def _with_shared(content: Content, shared: Mapping[str, tuple[Digest, ...]]) -> Content:
    return Content(content.backbone, content.space, shared, content.regions)
