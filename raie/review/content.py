"""A review as rows that a page and its markdown both show: words, numbers and marks, without any layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from raie.lines import numbers_line
from raie.registry import Edit
from raie.registry.promotion.impact_report import Change, Part
from raie.registry.states import EditKind
from raie.review.review import Measurement, Review
from raie.snapshots.snapshot_diff import RegionDifference

__all__ = [
    "Claim",
    "EditCost",
    "MetricRow",
    "PartRows",
    "RegionRow",
    "claims",
    "costs",
    "gate_counts",
    "holds",
    "interval_text",
    "metric_rows",
    "region_rows",
    "signed",
    "verdict",
    "warnings",
    "words_of_part",
]

METRIC = "Recall@10"
"""The metric that decides."""
_LARGEST = 1e300
"""Beyond it is no number of seconds, and an integer of hundreds of digits is no float."""
_PARTS = {
    "adaptation": "new windows, held out",
    "adaptation_known": "new windows of known items, held out",
    "retention": "setup windows, held out",
    "shadow": "requests that both answered",
}


@dataclass(frozen=True)
class Claim:
    """One of the few things that are said first.

    Attributes:
        value: A number; verdict: what it means, in a word or two.
        state: "good", "warn", "bad" or "soft": what a mark and a colour show besides the words.
    """

    name: str
    value: str
    verdict: str
    detail: str
    state: str

    @property
    def mark(self) -> str:
        """A character that says the same as the colour."""
        return {"good": "✓", "warn": "!", "bad": "✗"}.get(self.state, "·")


@dataclass(frozen=True)
class MetricRow:
    """One metric on one set of windows; before and after: None where only the change is known."""

    metric: str
    before: float | None
    after: float | None
    change: Change
    verdict: str


@dataclass(frozen=True)
class PartRows:
    """All metrics of one set of windows, the deciding one first."""

    name: str
    windows: int
    rows: tuple[MetricRow, ...]


@dataclass(frozen=True)
class RegionRow:
    """A region that differs, with what its edit measured; new and setup: METRIC before and after."""

    difference: RegionDifference
    adapter: str
    new: tuple[float, float] | None
    setup: tuple[float, float] | None


@dataclass(frozen=True)
class EditCost:
    """What an edit took; None where its report does not say."""

    edit: Edit
    samples_seen: int | None
    seconds: float | None
    regions: tuple[tuple[int, int, float], ...]


def words_of_part(name: str) -> str:
    """A part of an impact report in words."""
    return _PARTS.get(name, name)


def verdict(change: Change) -> str:
    """Whether a change is beyond chance: "better", "worse", "within chance", or "" without an interval."""
    if change.low is None or change.high is None:
        return ""
    if change.low > 0:
        return "better"
    return "worse" if change.high < 0 else "within chance"


def metric_rows(measurement: Measurement) -> tuple[PartRows, ...]:
    """The metrics of a measurement: new windows before those of the setup, and of each the deciding metric first."""
    known = [name for name in _PARTS if name in measurement.parts]
    others = sorted(set(measurement.parts) - set(known))
    return tuple(_part(words_of_part(name), measurement.parts[name]) for name in (*known, *others))


def _part(name: str, part: Part) -> PartRows:
    rows = (
        MetricRow(m, part.before.get(m), part.after.get(m), part.changes[m], verdict(part.changes[m]))
        for m in sorted(part.changes, key=_order)
    )
    return PartRows(name, part.windows, tuple(rows))


def _order(metric: str) -> tuple[bool, bool, str, int]:
    """The deciding metric first, then those of its kind, and each kind by the length of its list."""
    kind, _, length = metric.partition("@")
    return metric != METRIC, kind != METRIC.partition("@")[0], kind, int(length) if length.isdecimal() else 0


def region_rows(review: Review) -> tuple[RegionRow, ...]:
    """The regions that differ, with their metrics."""
    differences = () if review.difference is None else review.difference.regions
    return tuple(
        RegionRow(
            difference=region,
            adapter=_adapter(region.measured),
            new=_pair(region.measured, METRIC),
            setup=_pair(region.measured, f"retained {METRIC}"),
        )
        for region in differences
    )


def _adapter(measured: Mapping[str, Any] | None) -> str:
    """Which adapter a region has now, as its edit says it."""
    if measured is None or not isinstance(measured.get("adapter"), str):
        return ""
    return str(measured["adapter"]) if measured.get("accepted", True) else "rejected"


def _pair(measured: Mapping[str, Any] | None, name: str) -> tuple[float, float] | None:
    if measured is None:
        return None
    sides = [
        side.get(name) if isinstance(side, Mapping) else None for side in map(measured.get, ("before", "after"))
    ]
    if not all(isinstance(side, float) for side in sides):
        return None
    return float(sides[0] or 0), float(sides[1] or 0)


def costs(review: Review) -> tuple[EditCost, ...]:
    """What the edits took that only the newer snapshot holds, newest first; for a first snapshot, its own edit."""
    if review.difference is None:
        edits = [review.record.edit]
    else:
        edits = [between.edit for between in review.difference.edits if between.only_in == "newer"]
    return tuple(_cost(edit) for edit in edits if edit.kind in (EditKind.EDIT, EditKind.SETUP))


def _cost(edit: Edit) -> EditCost:
    rows = edit.report.get("regions")
    return EditCost(
        edit=edit,
        samples_seen=_whole_number(edit.report, "passes"),
        seconds=_number(edit.report, "seconds"),
        regions=tuple(_region_costs(rows if isinstance(rows, list) else ())),
    )


def _region_costs(rows: Any) -> Iterator[tuple[int, int, float]]:
    for row in rows:
        if isinstance(row, Mapping) and isinstance(row.get("region"), int):
            samples, seconds = _whole_number(row, "passes"), _number(row, "seconds")
            if samples is not None and seconds is not None:
                yield row["region"], samples, seconds


def _number(values: Mapping[str, Any], key: str) -> float | None:
    """A number of a report that another client may have written; None for anything else."""
    value: Any = values.get(key)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and abs(value) < _LARGEST else None


def _whole_number(values: Mapping[str, Any], key: str) -> int | None:
    value = values.get(key)
    return value if type(value) is int else None


def warnings(review: Review) -> tuple[str, ...]:
    """What a reviewer must not miss, each in a line; users' words are in none."""
    record, lines = review.record, []
    if record.snapshot.expired is not None:
        lines.append("The snapshot has expired: it cannot be served.")
    if record.undone_by is not None:
        lines.append(f"Edit {record.edit.number} was undone by edit {record.undone_by}.")
    if review.difference is not None:
        lost = [between.edit.number for between in review.difference.edits if between.only_in == "older"]
        if lost:
            lines.append(
                f"It lacks edit{'s' * (len(lost) != 1)} {numbers_line(lost)}, which the other snapshot holds."
            )
        if review.difference.backbone:
            lines.append("The backbone differs: every region answers anew.")
    if not holds(review):
        lines.append("Something changed that should be untouched: see Locality.")
    return tuple(lines)


def gate_counts(review: Review) -> Mapping[str, int]:
    """How many new windows the gate of the snapshot's edit sent where; empty where its report does not say."""
    gate = review.record.edit.report.get("gate")
    if not isinstance(gate, Mapping):
        return {}
    return {name: gate[name] for name in ("update", "expand", "add") if type(gate.get(name)) is int}


def claims(review: Review) -> tuple[Claim, ...]:
    """What is said first: new windows, setup windows, locality, and the checks of the policy."""
    parts = review.measurements[0].parts if review.whole else {}
    return (
        _measured_claim("New windows", parts.get("adaptation")),
        _measured_claim("Setup windows", parts.get("retention") or _scored(review)),
        _locality_claim(review),
        _policy_claim(review),
    )


def _scored(review: Review) -> Part | None:
    """Both snapshots on the windows that the locality proof has scored anyway; None without it."""
    if review.locality is None:
        return None
    measured = review.locality.retention
    changes = {name: Change(change.mean, change.low, change.high) for name, change in measured.changes.items()}
    return Part(measured.windows, measured.before, measured.after, changes)


def _measured_claim(name: str, part: Part | None) -> Claim:
    change = None if part is None else part.changes.get(METRIC)
    if part is None or change is None:
        return Claim(name, "–", "not measured", f"{METRIC} against the other snapshot", "soft")
    words = verdict(change)
    state = {"better": "good", "worse": "bad"}.get(words, "soft")
    return Claim(
        name, signed(change.mean), words, f"{METRIC}{interval_text(change)}, {part.windows:,} windows", state
    )


def signed(number: float) -> str:
    """A change with its sign, a true minus."""
    return f"{number:+.4f}".replace("-", "−")


def interval_text(change: Change) -> str:
    """The interval of a change in words; "" where it is unknown."""
    if change.low is None or change.high is None:
        return ""
    return f", 95 % {signed(change.low)} to {signed(change.high)}"


def _locality_claim(review: Review) -> Claim:
    measured = review.locality
    if measured is None:
        return Claim("Locality", "–", "not measured", review.missing.get("locality", ""), "soft")
    value = f"{max(measured.ranks_changed, measured.scores_changed):,} of {measured.untouched:,}"
    detail = "held-out windows of untouched regions whose rank or score changed"
    if not holds(review):
        return Claim("Locality", value, "broken", detail, "bad")
    if not measured.untouched:
        return Claim("Locality", value, "nothing untouched", detail, "soft")
    return Claim("Locality", value, "proved", detail, "good")


def holds(review: Review) -> bool:
    """Whether nothing that should be untouched changed: no digest, no rank and no score."""
    disturbed = any(measurement.disturbed for measurement in review.measurements)
    return not disturbed and (review.locality is None or review.locality.holds)


def _policy_claim(review: Review) -> Claim:
    checks = review.rehearsal.checks
    if not checks:
        return Claim("Policy", "–", "no check", f"nothing is asked of {review.alias}", "warn")
    passed = sum(check.passed for check in checks)
    words, state = ("may be promoted", "good") if passed == len(checks) else ("would be refused", "bad")
    return Claim("Policy", f"{passed} of {len(checks)}", words, f"checks of {review.alias} that pass", state)
