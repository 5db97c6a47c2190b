"""The rows that travel with a snapshot, and their one JSON form in a file.

Every row has the columns of its table but those that belong to one registry alone: numbers that a database gives out,
leases, and the audit events that a row refers to. A column holds what its table could hold, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Column, Double, Integer, String, Table

from raie.registry.canonical import canonical_json, parse_json
from raie.registry.db import tables
from raie.registry.errors import ArchiveDamaged, InvalidValue
from raie.registry.recorded_rows import COLUMNS as RECORDED
from raie.registry.values import Digest, check_digest

__all__ = ["COLUMNS", "Records", "Row", "require"]

Row = Mapping[str, Any]

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "snapshots": tuple(tables.snapshots.c.keys()),
    "edits": RECORDED["edits"],
    "operations": RECORDED["operations"],
    "adapter_versions": RECORDED["adapter_versions"],
    "expired_snapshots": ("snapshot", "at", "actor", "reason"),
    "evaluations": tuple(name for name in RECORDED["evaluations"] if name != "id"),
    "signatures": RECORDED["signatures"],
}
"""The columns of each table that travel."""

_LATEST_S = 253402300799
"""The end of the year 9999 in epoch seconds: what cannot be shown as a date would stop every list that shows it."""


@dataclass(frozen=True)
class Records:
    """Rows by table, each in a fixed order: snapshots after their parents, edits by number.

    plans: the digests of the edits' plans whose blobs travel too.
    """

    snapshots: Sequence[Row]
    edits: Sequence[Row]
    operations: Sequence[Row]
    adapter_versions: Sequence[Row]
    expired_snapshots: Sequence[Row]
    evaluations: Sequence[Row]
    signatures: Sequence[Row]
    plans: Sequence[Digest]

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json({field.name: list(getattr(self, field.name)) for field in fields(self)})

    @staticmethod
    def from_bytes(data: bytes) -> Records:
        """The inverse of `to_bytes`; raises ArchiveDamaged for a row that no registry could hold."""
        try:
            value = parse_json(data)
            names = {field.name for field in fields(Records)}
            if not isinstance(value, dict) or set(value) != names:
                raise InvalidValue("other parts than those of a history")
            rows = {name: [_checked(name, row) for row in value[name]] for name in COLUMNS}
            plans = [check_digest(digest) for digest in value["plans"]]
        except (InvalidValue, TypeError) as error:
            raise ArchiveDamaged(
                f"Expected the rows of a snapshot's history in the file, found: {error}; export it again"
            ) from error
        return Records(**rows, plans=plans)


def _checked(name: str, row: Any) -> Row:
    if not isinstance(row, dict) or set(row) != set(COLUMNS[name]):
        raise InvalidValue(f"a row of {name} with other columns")
    table: Table = tables.metadata.tables[name]
    for column, value in row.items():
        if not _fits(table.c[column], value):
            raise InvalidValue(f"{ascii(value)[:60]} as {column} in {name}")
    return dict(row)


def _fits(column: Column[Any], value: Any) -> bool:
    if value is None:
        return bool(column.nullable)
    if isinstance(column.type, Double):
        return type(value) in (int, float) and math.isfinite(value) and 0 <= value <= _LATEST_S
    if isinstance(column.type, Integer):
        return type(value) is int and -(2**63) <= value < 2**63
    longest = column.type.length if isinstance(column.type, String) else None
    return isinstance(value, str) and "\0" not in value and (longest is None or len(value) <= longest)


def require(holds: bool, otherwise: str) -> None:
    """Raises InvalidValue, which names what a file holds otherwise."""
    if not holds:
        raise InvalidValue(otherwise)
