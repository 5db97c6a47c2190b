"""What differs between two snapshots, as JSON and as lines for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from raie.cli.ui.output import faint, one_line, table, times, when
from raie.cli.ui.records import degrees, expiry_json, step, undid_line, undone_line
from raie.lines import numbers_line
from raie.newest import newest

if TYPE_CHECKING:
    from raie.registry import Snapshot
    from raie.snapshots.snapshot_diff import EditBetween, RegionDifference, RegionState, SnapshotDiff

__all__ = [
    "diff_json",
    "digest_lines",
    "digests_json",
    "edit_lines",
    "region_lines",
    "state_json",
    "untouched_line",
]

_METRIC = "Recall@10"


def diff_json(diff: SnapshotDiff) -> dict[str, Any]:
    """The edits, the regions and the digests that differ; angles in radians, centres left out for their length."""
    before, after = diff.older, diff.newer
    expired = {
        snapshot.id: expiry_json(snapshot.expired) for snapshot in (before, after) if snapshot.expired is not None
    }
    return {
        "older": before.id,
        "newer": after.id,
        "expired": expired,
        "same_content": diff.same_content,
        "edits": [_edit_json(edit) for edit in diff.edits],
        "regions": [_region_json(region) for region in diff.regions],
        "unchanged_regions": list(diff.unchanged),
        "shared": [_part_json(part, diff) for part in diff.shared],
        "backbone": list(diff.backbone),
        "space": diff.space,
    }


def _edit_json(between: EditBetween) -> dict[str, Any]:
    edit = between.edit
    return {
        "edit": edit.number,
        "only_in": between.only_in,
        "kind": edit.kind,
        "actor": edit.actor,
        "reason": edit.reason,
        "data_digest": edit.data_digest,
        "undoes": list(between.undoes),
        "undone_by": between.undone_by,
        "adaptation": edit.report.get("adaptation"),
        "retention": edit.report.get("retention"),
        **times(created_at=edit.created_at),
    }


def _region_json(region: RegionDifference) -> dict[str, Any]:
    return {
        "region": region.region,
        "difference": region.difference,
        "older_version": region.older_version,
        "newer_version": region.newer_version,
        "roles": list(region.roles),
        "centre_shift": region.centre_shift,
        "older": None if region.older is None else state_json(region.older),
        "newer": None if region.newer is None else state_json(region.newer),
        "measured": None if region.measured is None else dict(region.measured),
    }


def state_json(state: RegionState) -> dict[str, Any]:
    """A region as one snapshot holds it; angles in radians."""
    return {
        "version": state.version,
        "edit": state.edit,
        "action": state.action,
        "radius": state.radius,
        "concentration": state.concentration,
        "members": state.members,
        "share": state.share,
        "adapter": state.adapter,
        "metrics": dict(state.metrics),
    }


def _part_json(part: str, diff: SnapshotDiff) -> dict[str, Any]:
    older, newer = (snapshot.content.shared.get(part, ()) for snapshot in (diff.older, diff.newer))
    return {"part": part, "older": list(older), "newer": list(newer)}


def edit_lines(edits: Sequence[EditBetween], limit: int) -> list[str]:
    """The edits that only one of two snapshots holds, newest first, with what undid what.

    Args:
        edits: Newest first.
        limit: How many to show of each side.

    Returns:
        Lines of text; none where there is no edit.
    """
    lines: list[str] = []
    for side, mark in (("newer", "+"), ("older", "-")):
        shown, more = newest([edit for edit in edits if edit.only_in == side], limit)
        lines += _edit_table(shown, mark)
        lines += [faint(f"{mark} older edits follow: raise --limit")] if more else []
    return lines


def _edit_table(edits: Sequence[EditBetween], mark: str) -> list[str]:
    rows = [
        [
            f"{mark} edit {between.edit.number}",
            between.edit.kind,
            when(between.edit.created_at),
            one_line(between.edit.actor),
            " · ".join(filter(None, _about(between))),
        ]
        for between in edits
    ]
    return table(["", "", "", "", ""], rows)[1:] if rows else []


def _about(between: EditBetween) -> list[str]:
    report = between.edit.report
    return [
        undone_line(between.undone_by),
        undid_line(between.undoes),
        *(_gain(report.get(name), words) for name, words in (("adaptation", "new"), ("retention", "setup"))),
        one_line(between.edit.reason),
    ]


def _gain(compared: object, words: str) -> str:
    """How much a metric changed for windows of one kind; empty where the report has another shape, or no window."""
    change = compared.get(f"{_METRIC} change") if isinstance(compared, Mapping) else None
    mean = change.get("mean") if isinstance(change, Mapping) else None
    return f"{_METRIC}, {words} {mean:+.4f}" if isinstance(mean, float) else ""


def region_lines(regions: Sequence[RegionDifference]) -> list[str]:
    """The regions that were added, changed and removed, with their geometry and what the edits measured.

    Args:
        regions: That differ.

    Returns:
        A table; no line where no region differs.
    """
    if not regions:
        return []
    headers = ["region", "", "version", "moved", "radius", "members", "share"]
    measured = any(region.measured for region in regions)
    metrics = [f"{_METRIC}, new", f"{_METRIC}, setup"] if measured else []
    rows = [_region_row(region, measured=measured) for region in regions]
    return ["", *table([*headers, *metrics], rows, right=[0, 3])]


def _region_row(region: RegionDifference, *, measured: bool) -> list[object]:
    older, newer = region.older, region.newer
    row: list[object] = [
        region.region,
        region.difference,
        _both(older, newer, lambda state: f"v{state.version}", always=True),
        "-" if region.centre_shift is None else degrees(region.centre_shift),
        _both(older, newer, lambda state: degrees(state.radius)),
        _both(older, newer, lambda state: f"{state.members:,}"),
        _both(older, newer, lambda state: f"{state.share:.1%}"),
    ]
    if measured:
        row += [_measured(region.measured, _METRIC), _measured(region.measured, f"retained {_METRIC}")]
    return row


def _both(older: RegionState | None, newer: RegionState | None, text: Any, *, always: bool = False) -> str:
    """A value in both snapshots; once where it is the same."""
    a, b = ("-" if state is None else text(state) for state in (older, newer))
    return f"{a} → {b}" if a != b or always else str(a)


def _measured(measured: Mapping[str, Any] | None, name: str) -> str:
    if not measured:
        return "-"
    before, after = (
        side.get(name) if isinstance(side, Mapping) else None
        for side in (measured.get("before"), measured.get("after"))
    )
    if not isinstance(before, float) or not isinstance(after, float):
        return "-"
    return f"{before:.4f} → {after:.4f}"


def digests_json(snapshot: Snapshot) -> dict[str, Any]:
    """The digests of a snapshot's content, but for its regions."""
    content = snapshot.content
    return {
        "backbone": dict(content.backbone),
        "space": content.space,
        "shared": {part: list(chunks) for part, chunks in content.shared.items()},
    }


def digest_lines(diff: SnapshotDiff) -> list[str]:
    """The blobs that differ, of regions with the same ones in one line, and those of the whole model."""
    by_roles: dict[tuple[str, ...], list[int]] = {}
    for region in diff.regions:
        by_roles.setdefault(region.roles, []).append(region.region)
    rows = [
        (f"region{'s' * (len(regions) != 1)} {numbers_line(regions)}", ", ".join(roles))
        for roles, regions in by_roles.items()
    ]
    rows += [
        (name, "differs") for name, differs in (("space", diff.space), ("backbone", diff.backbone)) if differs
    ]
    for part in diff.shared:
        older, newer = (snapshot.content.shared.get(part, ()) for snapshot in (diff.older, diff.newer))
        rows.append((part, _part_line(older, newer)))
    rows.append(("content", step(diff.older.content.digest, diff.newer.content.digest)))
    width = max(len(name) for name, _ in rows)
    return ["", "digests that differ", *(f"{faint(name.ljust(width))}  {text}" for name, text in rows)]


def untouched_line(diff: SnapshotDiff) -> str:
    """The regions that both snapshots share."""
    return f"{faint('untouched regions')}  {', '.join(map(str, diff.unchanged)) or 'none'}"


def _part_line(older: Sequence[str], newer: Sequence[str]) -> str:
    if len(older) == len(newer) == 1:
        return step(older[0], newer[0])
    return f"{len(older)} → {len(newer)} blobs"
