"""A review as one HTML page: raie/pages/report.html with what it shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raie.pages.render import render
from raie.registry.promotion.impact_report import Change
from raie.review import charts
from raie.review.content import METRIC, claims, costs, gate_counts, metric_rows, region_rows, warnings
from raie.review.review import Review

__all__ = ["page"]


def page(review: Review) -> str:
    """The page of a review.

    Args:
        review: What it shows.

    Returns:
        One HTML document that loads nothing. The same review gives the same bytes.
    """
    measured = [(measurement.source, metric_rows(measurement)) for measurement in review.measurements]
    axis = charts.axis_of(row.change for _, parts in measured for part in parts for row in part.rows)
    return render(
        "report.html",
        styles=("report.css",),
        review=review,
        record=review.record,
        heading=f"{review.model} · edit {review.record.edit.number}",
        claims=claims(review),
        gate=gate_counts(review),
        described=_described(review),
        warnings=warnings(review),
        measured=measured,
        mark_of=lambda change: charts.interval_mark(change, axis),
        interval_width=charts.INTERVAL_WIDTH,
        rows=region_rows(review),
        costs=costs(review),
        new_blobs=_new_blobs(review),
        maps=_maps(review),
        map_size=(charts.MAP_WIDTH, charts.MAP_HEIGHT),
        trade=_trade(review),
        trade_size=charts.TRADE_SIZE,
        parts=_parts(review),
    )


def _new_blobs(review: Review) -> int | None:
    """How many blobs the newer snapshot has that the older lacks."""
    if review.difference is None:
        return None
    return len(review.difference.newer.content.blobs() - review.difference.older.content.blobs())


def _described(review: Review) -> list[Any]:
    """What each region is about, those that differ first."""
    return sorted(review.descriptions.values(), key=lambda about: (about.region not in review.marks, about.region))


def _maps(review: Review) -> list[tuple[str, str, tuple[charts.MapMark, ...]]]:
    """Title, words and marks of each map."""
    if review.maps is None:
        return []
    before = {point.region: point for point in review.maps.before}
    shown = [("After", review.record.snapshot.id, charts.map_marks(review.maps.after, before))]
    if review.against is not None:
        shown.insert(0, ("Before", review.against.id, charts.map_marks(review.maps.before)))
    return shown


def _trade(review: Review) -> Mapping[str, Any] | None:
    """Retention against adaptation: the whole with its intervals, and each region that has both."""
    regions = {
        str(row.difference.region): (row.setup[1] - row.setup[0], row.new[1] - row.new[0])
        for row in region_rows(review)
        if row.setup is not None and row.new is not None
    }
    whole = _whole(review)
    if not regions and whole is None:
        return None
    ends = [Change(value) for pair in regions.values() for value in pair]
    axis = charts.axis_of([*ends, *(whole or ())])
    return {
        "regions": charts.trade_marks(regions, axis),
        "whole": None if whole is None else charts.trade_cross(*whole, axis),
        "zero": charts.trade_marks({"": (0.0, 0.0)}, axis)[0],
    }


def _whole(review: Review) -> tuple[Change, Change] | None:
    """The change of the deciding metric on setup windows and on new ones."""
    if not review.whole:
        return None
    changes = [
        part.changes.get(METRIC)
        for name in ("retention", "adaptation")
        if (part := review.measurements[0].parts.get(name)) is not None
    ]
    return (changes[0], changes[1]) if len(changes) == 2 and changes[0] and changes[1] else None


def _parts(review: Review) -> list[tuple[str, str, str]]:
    """Each part of the whole model: its name, and its digest before ("" without) and after."""
    newer = review.record.snapshot.content
    older = None if review.against is None else review.against.content
    sides = [() if older is None else older.shared.get(part, ()) for part in newer.shared]
    return [
        ("content", "" if older is None else older.digest, newer.digest),
        *(
            (f"backbone {role}", "" if older is None else older.backbone.get(role, ""), digest)
            for role, digest in newer.backbone.items()
        ),
        ("routing space", "" if older is None else older.space, newer.space),
        *(
            (part, before[-1] if before else "", chunks[-1] if chunks else "")
            for before, (part, chunks) in zip(sides, newer.shared.items(), strict=True)
        ),
    ]
