"""Which edits a rollback took back, and what that means for a snapshot that somebody serves.

A rollback is an edit like any other: it can be undone in its turn, and then what it took back is there again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from raie.registry.canonical import parse_json
from raie.registry.db.queries import head_id, require_model, resolve_id
from raie.registry.db.tables import edits, snapshots
from raie.registry.states import EditKind

__all__ = ["Distance", "LandedEdit", "distance", "landed_edits", "undoing_edits", "undone_edits"]


@dataclass(frozen=True)
class LandedEdit:
    """An edit of one history, and the snapshot that it made.

    undoes: numbers of the edits that it takes back. returns_to: the snapshot whose content it restores; None for an
    edit that does not.
    """

    number: int
    snapshot: str
    undoes: tuple[int, ...] = ()
    returns_to: str | None = None


def undone_edits(landed: Sequence[LandedEdit]) -> dict[int, int]:
    """The edits that do not count at the end of a history, each with the edit that took it back.

    Args:
        landed: the history, oldest first.

    Returns:
        Number of the edit that was taken back -> number of the edit that did it.
    """
    undone: dict[int, int] = {}
    # By snapshot: how many edits made it, and what was undone then.
    after: dict[str, tuple[int, dict[int, int]]] = {}
    for count, edit in enumerate(landed, start=1):
        if edit.returns_to in after:
            kept, undone_then = after[edit.returns_to]
            undone = {**{later.number: edit.number for later in landed[kept : count - 1]}, **undone_then}
        for number in edit.undoes:
            undone = {earlier: by for earlier, by in undone.items() if by != number}
            undone[number] = edit.number
        after[edit.snapshot] = count, dict(undone)
    return undone


def undoing_edits(landed: Sequence[LandedEdit]) -> dict[int, tuple[int, ...]]:
    """The rollbacks of a history, each with the edits that it took back.

    Args:
        landed: the history, oldest first.

    Returns:
        Number of the rollback -> numbers of the edits, those between it and the snapshot that it returned to among them.
    """
    made = {edit.snapshot: position for position, edit in enumerate(landed)}
    between = {
        edit.number: tuple(later.number for later in landed[made[edit.returns_to] + 1 : position])
        for position, edit in enumerate(landed)
        if edit.returns_to in made
    }
    return {edit.number: edit.undoes for edit in landed if edit.undoes} | between


@dataclass(frozen=True)
class Distance:
    """How far a snapshot is from the head.

    behind: edits of the head's history that it lacks. taken_back: edits that it holds and the head does not any more,
    each with the edit that took it back.
    """

    behind: tuple[int, ...]
    taken_back: Mapping[int, int]


def distance(of_head: Sequence[LandedEdit], of_snapshot: Sequence[LandedEdit]) -> Distance:
    """How far a snapshot is from the head.

    Args:
        of_head: the head's history, oldest first.
        of_snapshot: the snapshot's.

    Returns:
        What it lacks, and what it holds although it was taken back.
    """
    there = {edit.number for edit in of_snapshot}
    gone, gone_there = undone_edits(of_head), undone_edits(of_snapshot)
    held = there - gone_there.keys()
    return Distance(
        tuple(edit.number for edit in of_head if edit.number not in there),
        {number: by for number, by in sorted(gone.items()) if number in held},
    )


def landed_edits(connection: Connection, model: str, refs: Sequence[str]) -> list[list[LandedEdit]]:
    """The edits that made some snapshots and their ancestors, all read at once.

    Args:
        connection: to the registry's database.
        model: its name.
        refs: of the snapshots, as `Registry.resolve` takes them.

    Returns:
        For each snapshot one entry for each edit, oldest first; none for the head of a model that has none yet.

    Raises:
        NotFound: for a model or a snapshot that is not there.
    """
    require_model(connection, model)
    columns = (snapshots.c.parent, snapshots.c.edit, snapshots.c.id)
    made = {row.id: row for row in connection.execute(select(*columns).where(snapshots.c.model == model))}
    rollbacks = _rollbacks(connection, model)

    def chain(snapshot: str | None) -> Iterator[LandedEdit]:
        """From a snapshot to the first one."""
        while snapshot is not None:
            row = made[snapshot]
            yield _landed(row.edit, snapshot, rollbacks.get(row.edit, {}))
            snapshot = row.parent

    starts = [head_id(connection, model) if ref == "head" else resolve_id(connection, model, ref) for ref in refs]
    return [list(chain(start))[::-1] for start in starts]


def _rollbacks(connection: Connection, model: str) -> dict[int, Mapping[str, Any]]:
    """The parameters of every rollback, by its number."""
    mine = (edits.c.model == model, edits.c.kind == EditKind.ROLLBACK)
    rows = connection.execute(select(edits.c.number, edits.c.parameters).where(*mine))
    return {row.number: parse_json(row.parameters) for row in rows}


def _landed(number: int, snapshot: str, parameters: Mapping[str, Any]) -> LandedEdit:
    return LandedEdit(number, snapshot, tuple(parameters.get("edits", ())), parameters.get("to"))
