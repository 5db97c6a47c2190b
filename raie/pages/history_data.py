"""What the page of a whole history holds: one JSON object, in columns, each text once.

A snapshot is named by its position, oldest first; a text by its position in `texts`; -1 stands for none. Times are epoch
seconds UTC, angles are radians. The script history_data.js reads the same names.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from raie.pages.render import visible
from raie.registry import Edit, Operation
from raie.registry.edits.undone import undoing_edits, undone_edits
from raie.registry.edits.whole_history import SnapshotRow, WholeHistory
from raie.registry.states import RegionAction

__all__ = ["METRICS_BYTES", "PublishedPages", "history_data", "metric_rows"]

METRICS_BYTES = 3_000_000
"""What all metrics of a page may take; those of the oldest edits are left out beyond it."""

_METRICS_PER_EDIT = 40
_DATA_DIGEST = 16
_NONE = -1


@dataclass(frozen=True)
class PublishedPages:
    """Where MLflow shows snapshots.

    Attributes:
        address: Of the server; the links begin with it.
        model: The registered model's name.
        versions: Id of the snapshot -> version, experiment and run.
    """

    address: str
    model: str
    versions: Mapping[str, tuple[str, str, str]]


@dataclass
class _Texts:
    """Each text once, in the order in which it was first seen."""

    known: dict[str, int] = field(default_factory=dict)

    def __call__(self, text: str | None) -> int:
        return _NONE if text is None else self.known.setdefault(visible(text), len(self.known))


def history_data(
    history: WholeHistory, pages: PublishedPages | None = None, opened: str | None = None
) -> dict[str, Any]:
    """The data of a page.

    Args:
        history: All that happened to one model.
        pages: Where MLflow shows its snapshots; None where it does not, or nobody can follow a link to it.
        opened: Id of the snapshot whose details are shown first; None for the whole history.

    Returns:
        Plain values with a JSON form.
    """
    texts, rows = _Texts(), history.snapshots
    position = {row.id: number for number, row in enumerate(rows)}
    made = [history.edits[row.edit] for row in rows]
    changes = [history.operations.get(row.edit, ()) for row in rows]
    landed = history.landed()
    undoes, undone = undoing_edits(landed), undone_edits(landed)
    metrics = [metric_rows(edit.report) for edit in made]
    left_out = _too_many(metrics)
    return {
        "format": 1,
        "model": visible(history.model),
        "head": position.get(history.head or "", _NONE),
        "opened": position.get(opened or "", _NONE),
        "snapshots": _snapshots(rows, made, position, texts),
        "undoes": {n: undoes[row.edit] for n, row in enumerate(rows) if row.edit in undoes},
        "undone_by": {n: undone[row.edit] for n, row in enumerate(rows) if row.edit in undone},
        "returns_to": _returns(made, position),
        "expired": {
            n: [row.expired.at, texts(row.expired.actor), texts(row.expired.reason)]
            for n, row in enumerate(rows)
            if row.expired is not None
        },
        "changes": _changes(rows, changes, position, texts),
        "metrics": {
            n: [[texts(name), *numbers] for name, *numbers in named]
            for n, named in enumerate(metrics)
            if named and n >= left_out
        },
        "metrics_from": left_out,
        "aliases": {visible(name): position[snapshot] for name, snapshot in history.aliases.items()},
        "moves": [
            [
                texts(move.alias),
                position.get(move.source or "", _NONE),
                position.get(move.target or "", _NONE),
                texts(move.actor),
                texts(move.reason),
                _time(move.at),
            ]
            for move in history.moves
        ],
        "notes": _notes(history, position, texts),
        "tags": _tags(history, position, texts),
        "other_edits": _other_edits(history, texts),
        "mlflow": _published(pages, position),
        "texts": list(texts.known),
    }


def _snapshots(
    rows: Sequence[SnapshotRow], made: Sequence[Edit], position: Mapping[str, int], texts: _Texts
) -> dict[str, list[Any]]:
    first: dict[str, int] = {}
    return {
        "id": [row.id for row in rows],
        "parent": [position.get(row.parent or "", _NONE) for row in rows],
        "edit": [row.edit for row in rows],
        "at": [_time(row.created_at) for row in rows],
        # The first snapshot that scores the same: a rollback shows what it came back to.
        "same": [first.setdefault(row.content_digest, n) for n, row in enumerate(rows)],
        "kind": [texts(edit.kind) for edit in made],
        "actor": [texts(edit.actor) for edit in made],
        "reason": [texts(edit.reason) for edit in made],
        "data": [texts(edit.data_digest and edit.data_digest[:_DATA_DIGEST]) for edit in made],
        "seconds": [_seconds(edit) for edit in made],
    }


def _time(seconds: float) -> float:
    return round(seconds, 3)


def _seconds(edit: Edit) -> float:
    """From the beginning of an edit to its end; a clock that went back makes it 0."""
    return 0 if edit.closed_at is None else round(max(0.0, edit.closed_at - edit.created_at), 1)


def _returns(made: Sequence[Edit], position: Mapping[str, int]) -> dict[int, int]:
    """Rollbacks to a snapshot, each with that snapshot."""
    targets = ((n, edit.parameters.get("to")) for n, edit in enumerate(made))
    return {n: position[target] for n, target in targets if isinstance(target, str) and target in position}


def _changes(
    rows: Sequence[SnapshotRow],
    changes: Sequence[Sequence[Operation]],
    position: Mapping[str, int],
    texts: _Texts,
) -> dict[str, list[Any]]:
    """The changes of all snapshots one after the other; `start` says where those of each begin."""
    before = _versions_before(rows, changes, position)
    flat = [operation for done in changes for operation in done]
    starts = [0]
    for done in changes:
        starts.append(starts[-1] + len(done))
    return {
        "start": starts,
        "region": [operation.change.region for operation in flat],
        "action": [texts(operation.change.action) for operation in flat],
        "before": before,
        "version": [0 if _is_gone(operation) else operation.version or 0 for operation in flat],
        "windows": [operation.change.windows for operation in flat],
        "shift": [_short(operation.change.centre_shift) for operation in flat],
        "radius": [_short(operation.change.radius) for operation in flat],
        "members": [operation.change.count for operation in flat],
    }


def _is_gone(operation: Operation) -> bool:
    return operation.change.action == RegionAction.RETIRE or operation.version is None


def _versions_before(
    rows: Sequence[SnapshotRow], changes: Sequence[Sequence[Operation]], position: Mapping[str, int]
) -> list[int]:
    """For each change the version that the parent held of its region; 0 where the parent did not have it."""
    children = [0] * len(rows)
    for row in rows:
        if row.parent is not None:
            children[position[row.parent]] += 1
    held: dict[int, dict[int, int]] = {}
    before = []
    for number, (row, done) in enumerate(zip(rows, changes, strict=True)):
        parent = _NONE if row.parent is None else position[row.parent]
        versions = _handed_on(held, children, parent)
        for operation in done:
            region = operation.change.region
            before.append(versions.pop(region, 0))
            if not _is_gone(operation):
                versions[region] = operation.version or 0
        held[number] = versions
    return before


def _handed_on(held: dict[int, dict[int, int]], children: list[int], parent: int) -> dict[int, int]:
    """The versions of a parent for one of its children: a copy, but for the last one, so that a long line costs none."""
    if parent == _NONE:
        return {}
    children[parent] -= 1
    return dict(held[parent]) if children[parent] else held.pop(parent)


def _short(number: float) -> float:
    return float(f"{number:.4g}")


def metric_rows(
    report: Mapping[str, Any],
) -> list[tuple[str, float | None, float | None, float | None, float | None]]:
    """What an edit measured, as rows of numbers.

    Args:
        report: Of an edit, of this or of another client.

    Returns:
        Name, value before, value after, and the ends of the interval of the difference; None for what is not there. A
        number without a before stands as the after.
    """
    rows = list(_metrics(report))[:_METRICS_PER_EDIT]
    return [(name, *map(_rounded, numbers)) for name, *numbers in rows]


def _metrics(report: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    for name, value in report.items():
        if _is_number(value):
            yield name, None, value, None, None
        elif isinstance(value, Mapping) and "before" in value and "after" in value:
            yield from _compared(name, value)
        elif isinstance(value, Mapping):
            yield from (
                (f"{name} {key}", None, part, None, None) for key, part in value.items() if _is_number(part)
            )


def _compared(name: str, part: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Numbers before and after, of one metric or of several."""
    before, after = part["before"], part["after"]
    if _is_number(before) and _is_number(after):
        yield name, before, after, None, None
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for metric in before:
            if _is_number(before[metric]) and _is_number(after.get(metric)):
                yield f"{name} {metric}", before[metric], after[metric], *_interval(part, metric)


def _interval(part: Mapping[str, Any], metric: str) -> tuple[Any, Any]:
    changes = part.get("changes")
    known = changes.get(metric) if isinstance(changes, Mapping) else part.get(f"{metric} change")
    low, high = (known.get("low"), known.get("high")) if isinstance(known, Mapping) else (None, None)
    return (low, high) if _is_number(low) and _is_number(high) else (None, None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _rounded(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.6g}")


def _too_many(metrics: Sequence[Sequence[Any]]) -> int:
    """The first snapshot whose metrics are on the page: from the newest on, as many as it may hold."""
    size = 0
    for number in range(len(metrics) - 1, -1, -1):
        size += len(json.dumps(metrics[number]))
        if size > METRICS_BYTES:
            return number + 1
    return 0


def _notes(history: WholeHistory, position: Mapping[str, int], texts: _Texts) -> dict[int, list[list[Any]]]:
    return {
        position[snapshot]: [[texts(n.actor), _time(n.at), texts(n.reason)] for n in annotations.notes]
        for snapshot, annotations in history.annotations.items()
        if annotations.notes
    }


def _tags(history: WholeHistory, position: Mapping[str, int], texts: _Texts) -> dict[int, list[list[Any]]]:
    return {
        position[snapshot]: [
            [texts(t.tag), texts(t.actor), _time(t.at), texts(t.reason)] for t in annotations.tags
        ]
        for snapshot, annotations in history.annotations.items()
        if annotations.tags
    }


def _other_edits(history: WholeHistory, texts: _Texts) -> list[list[Any]]:
    """The edits that made no snapshot: they run, were abandoned or aborted, or made one that was there already."""
    made = {row.edit for row in history.snapshots}
    return [
        [
            edit.number,
            texts(edit.kind),
            texts(edit.state),
            texts(edit.actor),
            texts(edit.reason),
            _time(edit.created_at),
            texts(edit.close_reason),
        ]
        for edit in history.edits.values()
        if edit.number not in made
    ]


def _published(pages: PublishedPages | None, position: Mapping[str, int]) -> dict[str, Any] | None:
    if pages is None:
        return None
    versions = {
        position[snapshot]: list(known) for snapshot, known in pages.versions.items() if snapshot in position
    }
    return {"address": pages.address, "model": pages.model, "versions": versions}
