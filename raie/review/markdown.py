"""A review as markdown for a pull request: what the page says, in short.

What users wrote stands in code spans: there neither markdown nor HTML means anything, and nobody is mentioned.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from raie.pages.render import visible
from raie.registry.times import utc_text
from raie.review.content import (
    claims,
    costs,
    gate_counts,
    interval_text,
    metric_rows,
    region_rows,
    signed,
    warnings,
)
from raie.review.review import Review
from raie.snapshots.snapshot_diff import RegionState

if TYPE_CHECKING:
    from raie.snapshots.changed_users import ChangedUser
    from raie.snapshots.recommend import ScoredItem
    from raie.snapshots.region_descriptions import RegionDescription

__all__ = ["markdown", "quoted"]

_METRICS = ("Recall@10", "NDCG@10")
"""The page has all of them."""
_PLAIN = re.compile(r"(?:[^\W_]|[ ,.;:%+−–()/-]|(?<=[^\W_])@)*")
_REGIONS = 12
"""Regions that are described; a pull request is no place for hundreds."""


def markdown(review: Review) -> str:
    """The markdown of a review.

    Args:
        review: What it shows.

    Returns:
        Text that ends with a new line. The same review gives the same text.
    """
    sections = (
        _head(review),
        _what_counts(review),
        _changes(review),
        _metrics(review),
        _locality(review),
        _regions(review),
        _users(review),
        _cost(review),
        _policy(review),
    )
    return "\n\n".join("\n".join(lines) for lines in map(list, sections) if lines) + "\n"


def quoted(text: str) -> str:
    """A user's text as a code span on one line; in a table too."""
    line = " ".join(visible(text).split()).replace("|", "\\|")
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    # A span that begins or ends with a backtick needs a space there.
    return f"{fence} {line} {fence}" if "`" in line else f"{fence}{line or ' '}{fence}"


def _shown(text: str) -> str:
    """A text as it is where nothing in it can mean anything in markdown; else as a code span."""
    return text if _PLAIN.fullmatch(text) else quoted(text)


def _table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(headers)} |"
    yield f"|{'---|' * len(headers)}"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"


def _head(review: Review) -> Iterator[str]:
    record = review.record
    yield f"## {quoted(review.model)} · edit {record.edit.number}"
    yield ""
    yield quoted(record.edit.reason) if record.edit.reason else "No reason given."
    yield ""
    yield f"Snapshot `{record.snapshot.id[:12]}` by {quoted(record.edit.actor)}, {utc_text(record.snapshot.created_at)},"
    if review.against is None:
        yield "the first one."
    else:
        name = quoted(review.against_name)
        yield f"compared with `{review.against.id[:12]}` of edit {review.against.edit} ({name})."


def _what_counts(review: Review) -> Iterator[str]:
    yield from _table(
        ("", "", "", ""),
        (
            (claim.name, claim.value, f"{claim.mark} {claim.verdict}".strip(), _shown(claim.detail))
            for claim in claims(review)
        ),
    )
    for line in warnings(review):
        yield ""
        yield f"> **Note:** {line}"


def _changes(review: Review) -> Iterator[str]:
    difference = review.difference
    if difference is None:
        return
    yield "### What changed"
    yield ""
    if gate := gate_counts(review):
        yield f"The gate sent {', '.join(f'{count:,} new windows to {name}' for name, count in gate.items())}."
        yield ""
    for between in difference.edits:
        sign = "+" if between.only_in == "newer" else "−"
        yield f"- {sign} edit {between.edit.number}, {_shown(between.edit.kind)}: {quoted(between.edit.reason)}"
    if difference.regions:
        yield ""
        yield from _table(
            ("region", "", "version", "windows", "Recall@10, new", "Recall@10, setup"),
            (
                (
                    row.difference.region,
                    row.difference.difference,
                    f"{_version(row.difference.older_version)} → {_version(row.difference.newer_version)}",
                    f"{_members(row.difference.older)} → {_members(row.difference.newer)}",
                    _swing(row.new),
                    _swing(row.setup),
                )
                for row in region_rows(review)
            ),
        )
    yield ""
    yield f"Untouched regions: {', '.join(map(str, difference.unchanged)) or 'none'}."


def _version(version: int | None) -> str:
    return "–" if version is None else f"v{version}"


def _members(state: RegionState | None) -> str:
    return "–" if state is None else f"{state.members:,}"


def _swing(pair: tuple[float, float] | None) -> str:
    return "–" if pair is None else f"{pair[0]:.4f} → {pair[1]:.4f}"


def _metrics(review: Review) -> Iterator[str]:
    yield "### Metrics"
    yield ""
    if not review.whole:
        yield "Nobody measured this snapshot against the other one."
        yield ""
    for number, measurement in enumerate(review.measurements):
        yield from [""] * bool(number)
        rows = [
            (
                _shown(part.name),
                row.metric,
                f"{signed(row.change.mean)}{interval_text(row.change)}",
                row.verdict or "–",
            )
            for part in metric_rows(measurement)
            for row in part.rows
            if row.metric in _METRICS
        ]
        yield from _table((f"{measurement.source}, windows", "metric", "change", "beyond chance?"), rows)


def _locality(review: Review) -> Iterator[str]:
    yield "### Locality"
    yield ""
    measured = review.locality
    if measured is None:
        yield f"Not measured: {_shown(review.missing.get('locality', ''))}"
        return
    yield f"- held-out windows of untouched regions: {measured.untouched:,} of {measured.windows:,}"
    yield f"- of which the target's rank changed: {measured.ranks_changed:,}"
    yield f"- of which a score differs in any bit: {measured.scores_changed:,}"
    yield f"- windows that another region serves than before: {measured.rerouted:,}"


def _regions(review: Review) -> Iterator[str]:
    if not review.descriptions:
        return
    yield "### Regions"
    yield ""
    ordered = sorted(
        review.descriptions.values(), key=lambda about: (about.region not in review.marks, about.region)
    )
    for about in ordered[:_REGIONS]:
        yield f"- region {about.region}, {review.marks.get(about.region, 'same')}: {_about(about)}"
    if len(ordered) > _REGIONS:
        yield f"- and {len(ordered) - _REGIONS} more: `raie regions list {review.record.snapshot.id[:12]} --describe`"


def _about(about: RegionDescription) -> str:
    size = f"{about.members:,} windows ({about.share:.1%})"
    if about.missing:
        return f"{size}; no items: {_shown(about.missing)}"
    items = ", ".join(f"{quoted(item.title or item.item)} {item.lift:.1f}×" for item in about.items)
    return f"{size}; {items or 'no item stands out'}"


def _users(review: Review) -> Iterator[str]:
    if review.users is None:
        return
    yield "### Users"
    yield ""
    yield f"{review.users.changed:,} of {review.users.users:,} users get another top 10."
    yield ""
    for user in review.users.examples:
        yield f"- {quoted(user.user)}: {_lists(user)}"


def _lists(user: ChangedUser) -> str:
    """What left the list and what came into it, in the order of the ranks."""
    older, newer = ({item.item for item in side} for side in (user.older, user.newer))
    gone = [_item(item) for item in user.older if item.item not in newer]
    came = [_item(item) for item in user.newer if item.item not in older]
    return f"gone {', '.join(gone) or 'nothing'}; new {', '.join(came) or 'nothing'}"


def _item(item: ScoredItem) -> str:
    return quoted(item.title or item.item)


def _cost(review: Review) -> Iterator[str]:
    for cost in costs(review):
        if cost.samples_seen is not None and cost.seconds is not None:
            yield (
                f"Cost of edit {cost.edit.number}: {cost.samples_seen:,} training samples seen, "
                f"{cost.seconds:.1f} s of training."
            )


def _policy(review: Review) -> Iterator[str]:
    yield f"### Policy of {quoted(review.alias)}"
    yield ""
    if not review.rehearsal.checks:
        yield "Nothing is asked of this alias."
        return
    yield from _table(
        ("", "check", "expected", "found"),
        (
            (
                "✓" if check.passed else "✗ **FAIL**",
                _shown(check.name),
                quoted(check.expected),
                quoted(check.actual),
            )
            for check in review.rehearsal.checks
        ),
    )
    yield ""
    yield "It may be promoted." if review.rehearsal.accepted else "A promotion would be refused."
