"""An edit that was committed, whatever its kind: a setup, an edit or a rollback."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raie.registry import Edit, Registry, Snapshot

__all__ = ["EditResult", "result_of"]


@dataclass(frozen=True, repr=False)
class EditResult:
    """What was committed.

    Attributes:
        edit: The edit's record: who, when, why, and its report.
        snapshot: The snapshot that it made.
    """

    edit: Edit
    snapshot: Snapshot

    @property
    def number(self) -> int:
        """The edit's number, which a rollback names."""
        return self.edit.number

    @property
    def id(self) -> str:
        """The id of the snapshot."""
        return self.snapshot.id

    @property
    def report(self) -> Mapping[str, Any]:
        """What the setup found, or what the edit changed for whom."""
        return self.edit.report

    def __repr__(self) -> str:
        base = None if self.edit.base is None else self.edit.base[:12]
        return f"EditResult(number={self.number}, kind={str(self.edit.kind)!r}, snapshot={self.id[:12]!r}, base={base!r})"


def result_of(registry: Registry, snapshot: Snapshot) -> EditResult:
    """The snapshot with the edit that made it."""
    return EditResult(registry.edit(snapshot.model, snapshot.edit), snapshot)
