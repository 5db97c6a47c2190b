"""What an erasure bars: the snapshots that hold the erased user, which nothing may bring into use again.

An edit of kind "erase" names the first snapshot that held the user. That one and all that descend from it hold the
user, unless the erasure's own snapshot is among their ancestors.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, select

from raie.registry.canonical import parse_json
from raie.registry.db.engine import Database, reading
from raie.registry.db.tables import aliases, edits, snapshots
from raie.registry.errors import SnapshotErased
from raie.registry.states import EditKind, EditState

__all__ = ["FIRST", "barred_edits", "erasing_edit", "erasures_served", "require_not_erased"]

FIRST = "first"
"""The parameter of an erasure that names the first snapshot that held the user."""


def erasing_edit(connection: Connection, model: str, snapshot: str) -> int | None:
    """The erasure of a user whom a snapshot holds; None where it holds no erased user.

    Args:
        connection: to the registry's database.
        model: its name.
        snapshot: its id.

    Returns:
        The number of the edit.
    """
    erasures = _erasures(connection, model)
    if not erasures:
        return None
    ancestors = _line(_parents(connection, model), snapshot)
    holding = [
        number for number, (first, result) in erasures.items() if first in ancestors and result not in ancestors
    ]
    return min(holding, default=None)


def erasures_served(database: Database, model: str) -> dict[str, int]:
    """The aliases that still serve a snapshot that holds an erased user.

    Args:
        database: the registry's.
        model: its name.

    Returns:
        Name of the alias -> number of the erasure.
    """
    with reading(database) as connection:
        served = (
            select(aliases.c.name, aliases.c.snapshot).where(aliases.c.model == model).order_by(aliases.c.name)
        )
        erasing = {
            row.name: erasing_edit(connection, model, row.snapshot) for row in connection.execute(served).all()
        }
    return {alias: number for alias, number in erasing.items() if number is not None}


def require_not_erased(connection: Connection, model: str, snapshot: str) -> None:
    """Refuses a snapshot that would bring an erased user back.

    Args:
        connection: to the registry's database.
        model: its name.
        snapshot: its id.

    Raises:
        SnapshotErased: naming the erasure.
    """
    number = erasing_edit(connection, model, snapshot)
    if number is not None:
        raise SnapshotErased(
            f"Expected a snapshot without erased users, found that {snapshot[:12]} holds the user whom edit {number} of "
            f"{model!r} erased; use a snapshot since then, such as edit:{number} or head",
            snapshot,
        )


def barred_edits(connection: Connection, model: str, head: str) -> dict[int, int]:
    """The edits of the head's line that no rollback may undo, each with the erasure that bars it.

    Args:
        connection: to the registry's database.
        model: its name.
        head: the id of the head.

    Returns:
        Number of the edit -> number of the erasure; the erasures themselves among them.
    """
    erasures = _erasures(connection, model)
    if not erasures:
        return {}
    parents = _parents(connection, model)
    rows = connection.execute(select(snapshots.c.id, snapshots.c.edit).where(snapshots.c.model == model))
    made = {row.id: row.edit for row in rows}
    line = _line(parents, head)
    barred: dict[int, int] = {}
    for number, (first, result) in erasures.items():
        if result in line:
            before = set(_line(parents, parents.get(first)))
            barred |= {made[snapshot]: number for snapshot in _line(parents, result) if snapshot not in before}
    return barred


def _erasures(connection: Connection, model: str) -> dict[int, tuple[str, str]]:
    """The erasures of a model: number -> the first snapshot that held the user, and the one that holds it no more."""
    table = edits.c
    mine = (table.model == model, table.kind == EditKind.ERASE, table.state == EditState.COMMITTED)
    rows = connection.execute(select(table.number, table.parameters, table.result).where(*mine))
    return {row.number: (str(parse_json(row.parameters)[FIRST]), row.result) for row in rows}


def _parents(connection: Connection, model: str) -> dict[str, str | None]:
    rows = connection.execute(select(snapshots.c.id, snapshots.c.parent).where(snapshots.c.model == model))
    return {row.id: row.parent for row in rows}


def _line(parents: Mapping[str, str | None], snapshot: str | None) -> dict[str, None]:
    """A snapshot and its ancestors, newest first."""
    line: dict[str, None] = {}
    while snapshot is not None:
        line[snapshot] = None
        snapshot = parents.get(snapshot)
    return line
