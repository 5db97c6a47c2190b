"""The database's tables as diagrams: `python docs/database_picture.py` writes docs/database.md from the metadata.

The page holds Mermaid, which many viewers render. The site renders the same tables itself, so that it loads no script.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from sqlalchemy import Column, Table

from raie.registry.db.tables import APPEND_ONLY_TABLES, metadata

__all__ = ["GROUPS", "PAGE", "Group", "document", "drawings", "mermaid", "svg"]

PAGE = Path(__file__).resolve().parent / "database.md"


@dataclass(frozen=True)
class Group:
    """Tables that one reads together: a title, a sentence, and the names of the tables by column of the drawing."""

    title: str
    about: str
    columns: tuple[tuple[str, ...], ...]

    @property
    def tables(self) -> list[Table]:
        return [metadata.tables[name] for column in self.columns for name in column]


GROUPS = (
    Group(
        "Snapshots and their bytes",
        "A snapshot names blobs by their sha256; `heads` has the newest snapshot of each model.",
        (("models", "heads"), ("snapshots", "expired_snapshots"), ("snapshot_blobs", "blobs")),
    ),
    Group(
        "Edits",
        "An edit makes one snapshot. Each region that it touches gets an operation and a version.",
        (("edits",), ("operations", "edit_checkpoints"), ("adapter_versions",)),
    ),
    Group(
        "Aliases and what people say",
        "An alias points at one snapshot; each move of it stays.",
        (("aliases",), ("alias_moves",), ("snapshot_notes",)),
    ),
    Group(
        "Trust",
        "What a promotion has to pass, who measured, approved and signed, and whose keys count.",
        (("policies", "key_events"), ("evaluations", "signatures"), ("approvals", "approval_events")),
    ),
    Group(
        "Audit, outbox and ownership",
        "Events that exist if and only if their commit does, how far each consumer is, and whose the store is.",
        (("audit_events",), ("outbox_events", "audit_head"), ("event_positions", "identity")),
    ),
)

_HEAD = """\
# Database

SQLite and PostgreSQL have the same {count} tables, made by the same migrations. This page is written from SQLAlchemy's
metadata by `python docs/database_picture.py`. Times are epoch seconds, UTC. Digests are 64 hexadecimal characters. JSON
is canonical JSON in text. Triggers keep everybody from changing rows of the append-only tables, and
[`raie verify`](trust.md#what-verify-notices) notices who went around them.

Append-only: {append_only}.
"""


def document() -> str:
    """The text of docs/database.md."""
    names = ", ".join(f"`{name}`" for name in sorted(APPEND_ONLY_TABLES))
    parts = [_HEAD.format(count=len(metadata.tables), append_only=names)]
    for group in GROUPS:
        parts.append(f"\n## {group.title}\n\n{group.about}\n\n```mermaid\n{mermaid(group)}```\n")
    return "".join(parts)


def mermaid(group: Group) -> str:
    """A group as an entity-relationship diagram of Mermaid."""
    lines = ["erDiagram"]
    for table in group.tables:
        lines.append(f"  {table.name} {{")
        lines += [f"    {_type(column)} {column.name}{_mermaid_key(column)}" for column in table.columns]
        lines.append("  }")
    for table in group.tables:
        for target, columns in _references(table).items():
            lines.append(f'  {target} ||--o{{ {table.name} : "{", ".join(columns)}"')
    return "\n".join(lines) + "\n"


def _type(column: Column) -> str:
    return {"Integer": "integer", "BigInteger": "bigint", "Double": "double"}.get(
        type(column.type).__name__, "text"
    )


def _mermaid_key(column: Column) -> str:
    keys = ["PK"] * column.primary_key + ["FK"] * bool(column.foreign_keys)
    return f" {', '.join(keys)}" if keys else ""


def _references(table: Table) -> dict[str, list[str]]:
    """The tables that a table refers to -> the columns that do, in order."""
    seen: dict[str, list[str]] = {}
    for column in table.columns:
        for key in sorted(column.foreign_keys, key=lambda key: key.target_fullname):
            seen.setdefault(key.column.table.name, []).append(column.name)
    return seen


# --- The drawing of the site

_WIDTH, _GAP, _ROW, _TITLE, _EDGE = 236, 56, 19, 32, 8


def svg(group: Group) -> str:
    """A group as a drawing whose colours are those of the page around it."""
    boxes, width, height = _boxes(group)
    labels = escape(f"{group.title}: {', '.join(boxes)}", quote=True)
    parts = [f'<svg class="tables" viewBox="0 0 {width} {height}" role="img" aria-label="{labels}">']
    parts += [
        _arrow(table, target, boxes)
        for table in group.tables
        for target in _references(table)
        if target in boxes and target != table.name
    ]
    parts += [_card(table, *boxes[table.name]) for table in group.tables]
    return "".join(parts) + "</svg>"


def _boxes(group: Group) -> tuple[dict[str, tuple[int, int]], int, int]:
    """Table -> its left and upper edge; the width and the height of them all."""
    boxes, lowest = {}, 0
    for number, column in enumerate(group.columns):
        top = 1
        for name in column:
            boxes[name] = (1 + number * (_WIDTH + _GAP), top)
            top += _tall(metadata.tables[name]) + 28
        lowest = max(lowest, top - 28)
    return boxes, len(group.columns) * (_WIDTH + _GAP) - _GAP // 2, lowest + 1


def _tall(table: Table) -> int:
    return _TITLE + _ROW * len(table.columns) + _EDGE


def _card(table: Table, left: int, top: int) -> str:
    parts = [
        f'<rect class="card" x="{left}" y="{top}" width="{_WIDTH}" height="{_tall(table)}" rx="5"/>',
        f'<text class="title" x="{left + 12}" y="{top + 21}">{table.name}</text>',
        f'<path class="rule" d="M{left} {top + _TITLE}h{_WIDTH}"/>',
    ]
    for number, column in enumerate(table.columns):
        line = top + _TITLE + _ROW * number + 16
        kind = "key" if column.primary_key else "column"
        targets = sorted(key.column.table.name for key in column.foreign_keys)
        note = f"→ {', '.join(targets)}" if targets else _type(column)
        parts.append(f'<text class="{kind}" x="{left + 12}" y="{line}">{column.name}</text>')
        parts.append(f'<text class="note" x="{left + _WIDTH - 12}" y="{line}">{note}</text>')
    return "".join(parts)


def _arrow(table: Table, target: str, boxes: dict[str, tuple[int, int]]) -> str:
    """A line from a table's title to the table that it refers to, on the sides that face each other."""
    (left, top), (to_left, to_top) = boxes[table.name], boxes[target]
    start, end = top + _TITLE // 2, to_top + _TITLE // 2
    if left == to_left:
        out = left + _WIDTH
        return f'<path class="link" d="M{out} {start}c24 0 24 {end - start} 0 {end - start}"/>'
    if left > to_left:
        begin, finish = left, to_left + _WIDTH
    else:
        begin, finish = left + _WIDTH, to_left
    middle = (begin + finish) // 2
    return f'<path class="link" d="M{begin} {start}C{middle} {start} {middle} {end} {finish} {end}"/>'


def drawings() -> Sequence[str]:
    """The drawings of all groups, in the order of the page."""
    return [svg(group) for group in GROUPS]


if __name__ == "__main__":
    PAGE.write_text(document(), encoding="utf-8")
