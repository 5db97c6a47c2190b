"""The registry's values as JSON objects with stable keys, and their short forms in text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from raie.cli.ui.output import accent, faint, one_line, short, times, when
from raie.lines import leaves, numbers_line
from raie.registry.states import EditState, RegionAction

if TYPE_CHECKING:
    from raie.findings import Finding
    from raie.registry import AdapterVersion, AliasMove, Edit, Expiry, Operation, Snapshot

__all__ = [
    "change_json",
    "changes_line",
    "degrees",
    "edit_json",
    "edit_number",
    "expiry_json",
    "expiry_lines",
    "finding_line",
    "flat",
    "move_json",
    "names",
    "operation_json",
    "snapshot_json",
    "state_word",
    "step",
    "tags_line",
    "undid_line",
    "undone_line",
    "version_json",
]

_DONE: Mapping[str, str] = {
    RegionAction.SETUP: "set up",
    RegionAction.UPDATE: "updated",
    RegionAction.EXPAND: "expanded",
    RegionAction.ADD: "added",
    RegionAction.REVERT: "reverted",
    RegionAction.REPLACE: "replaced",
    RegionAction.RETIRE: "retired",
    RegionAction.ERASE: "erased a user from",
}
_STATE_COLOURS: Mapping[str, str] = {
    EditState.RUNNING: "cyan",
    EditState.ABANDONED: "red",
    EditState.ABORTED: "magenta",
}
_NAMED_REGIONS = 8


def edit_json(edit: Edit) -> dict[str, Any]:
    """An edit without its parameters and its report, which only `edit show` prints."""
    return {
        "edit": edit.number,
        "kind": edit.kind,
        "state": edit.state,
        "base": edit.base,
        "result": edit.result,
        "actor": edit.actor,
        "reason": edit.reason,
        "seed": edit.seed,
        "data_digest": edit.data_digest,
        "plan_digest": edit.plan_digest,
        "close_reason": edit.close_reason,
        "lease_owner": edit.lease_owner,
        **times(created_at=edit.created_at, closed_at=edit.closed_at, lease_expires_at=edit.lease_expires_at),
    }


def snapshot_json(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot with the digest of its content: two snapshots with the same one score the same."""
    return {
        "id": snapshot.id,
        "parent": snapshot.parent,
        "edit": snapshot.edit,
        "content_digest": snapshot.content.digest,
        **times(created_at=snapshot.created_at),
        "expired": expiry_json(snapshot.expired),
    }


def expiry_json(expired: Expiry | None) -> dict[str, Any] | None:
    """Since when a snapshot's blobs may be gone, by whom and why; null while they are kept."""
    return None if expired is None else {**times(at=expired.at), "actor": expired.actor, "reason": expired.reason}


def expiry_lines(*snapshots: Snapshot) -> list[str]:
    """A line for each of them that expired: it can be looked at, and no longer be used."""
    return [
        f"{accent('expired', 'magenta')}  {short(snapshot.id)} at {when(expired.at)} UTC by {one_line(expired.actor)}: "
        f"{one_line(expired.reason)}"
        for snapshot in snapshots
        if (expired := snapshot.expired) is not None
    ]


def finding_line(finding: Finding) -> str:
    """What an operator should know, with the command that mends it."""
    text = one_line(finding.text) + (f"; `{one_line(finding.advice)}`" if finding.advice else "")
    return accent(text, "red") if finding.is_problem else text


def undid_line(undoes: Sequence[int]) -> str:
    """What a rollback took back; empty for another edit."""
    return f"undid edit{'s' * (len(undoes) != 1)} {numbers_line(undoes)}" if undoes else ""


def undone_line(undone_by: int | None) -> str:
    """That an edit does not count any more; empty where it does."""
    return "" if undone_by is None else accent(f"undone by edit {undone_by}", "magenta")


def tags_line(tags: Iterable[str]) -> str:
    """The tags of a snapshot; empty without one."""
    shown = ", ".join(accent(one_line(tag), "blue") for tag in tags)
    return f"{faint('#')} {shown}" if shown else ""


def change_json(operation: Operation) -> dict[str, Any]:
    """What an edit did to a region, and the version that led to."""
    change = operation.change
    return {
        "region": change.region,
        "action": change.action,
        "version": operation.version,
        "windows": change.windows,
        "centre_shift": change.centre_shift,
    }


def operation_json(operation: Operation) -> dict[str, Any]:
    """An operation with the region's geometry after it; angles in radians, the centre left out for its length."""
    change = operation.change
    return change_json(operation) | {
        "radius": change.radius,
        "concentration": change.concentration,
        "count": change.count,
        "metrics": dict(change.metrics),
    }


def version_json(version: AdapterVersion) -> dict[str, Any]:
    """One version of a region: its blobs by role, its geometry, and the edit that first made it."""
    change = version.change
    return {
        "region": version.region,
        "version": version.version,
        "edit": version.edit,
        "snapshot": version.snapshot,
        "action": change.action,
        "windows": change.windows,
        "count": change.count,
        "radius": change.radius,
        "concentration": change.concentration,
        "centre_shift": change.centre_shift,
        "metrics": dict(change.metrics),
        "adapter": "lora" in version.entry,
        "blobs": dict(version.entry),
        **times(created_at=version.created_at),
    }


def move_json(move: AliasMove) -> dict[str, Any]:
    """One move of an alias."""
    return {
        "alias": move.alias,
        "from": move.source,
        "to": move.target,
        "actor": move.actor,
        "reason": move.reason,
        **times(at=move.at),
    }


def changes_line(operations: Iterable[Operation]) -> str:
    """What an edit did to the regions, in one line: `updated 0, 2; added 4`."""
    regions: dict[str, list[Operation]] = {}
    for operation in operations:
        regions.setdefault(operation.change.action, []).append(operation)
    return "; ".join(f"{_DONE.get(action, action)} {_regions(action, done)}" for action, done in regions.items())


def _regions(action: str, operations: list[Operation]) -> str:
    if len(operations) > _NAMED_REGIONS:
        return f"{len(operations)} regions"
    shown = [_region(action, operation) for operation in operations]
    return f"region{'s' if len(shown) > 1 else ''} {', '.join(shown)}"


def _region(action: str, operation: Operation) -> str:
    """The region, with the version it led to where that is not simply its next one."""
    name = str(operation.change.region)
    if action not in (RegionAction.REVERT, RegionAction.REPLACE, RegionAction.ERASE):
        return name
    return f"{name} to v{operation.version}" if operation.version is not None else f"{name} (removed)"


def names(aliases: Iterable[str], *, is_head: bool = False) -> str:
    """Where a snapshot is pointed at from: the head first, then its aliases."""
    shown = [accent("head", "cyan")] if is_head else []
    shown += [accent(alias, "green") for alias in sorted(aliases)]
    return f"{faint('◂')} {', '.join(shown)}" if shown else ""


def state_word(state: str) -> str:
    """An edit's state; the ones that need somebody's eye are coloured."""
    return accent(state, _STATE_COLOURS[state]) if state in _STATE_COLOURS else state


def degrees(radians: float) -> str:
    """An angle as a person reads it."""
    return f"{math.degrees(radians):.1f}°"


def flat(values: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Nested values as (dotted name, text) pairs."""
    for name, value in leaves(values):
        yield name, f"{value:.4g}" if isinstance(value, float) else one_line(str(value))


def edit_number(text: str) -> int | None:
    """The number of an edit that is named 3 or edit:3; None for any other text."""
    match = re.fullmatch(r"(?:edit:)?([0-9]{1,9})", text)
    return None if match is None else int(match[1])


def step(older: str | None, newer: str | None) -> str:
    """A move from one snapshot to another."""
    return f"{short(older)} → {short(newer)}"
