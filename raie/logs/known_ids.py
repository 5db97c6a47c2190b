"""Where a log meets a model: how many of its ids the model knows, and whether the others are known ones respelt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raie.engine.data.interactions import Interactions, between
from raie.engine.data.known_ids import Overlap, Reference, overlap, reference
from raie.engine.data.respelt_ids import cause_of, far_below, forgotten_past, swapped
from raie.engine.errors import InputError
from raie.engine.model import ModelView
from raie.lines import known_line
from raie.registry import Registry, Snapshot

__all__ = ["KnownIds", "doubt_line", "known_ids", "require_known"]

_GENERATIONS = 20  # of snapshots that no edit made, a rollback's for instance: further back nothing is looked up


@dataclass(frozen=True)
class KnownIds:
    """What a model knows of the new rows of a log.

    least: what earlier slices had, None where that is not known.  doubt: why the ids look like known ones respelt, None
    where they do not.
    """

    overlap: Overlap
    least: Reference | None
    doubt: str | None

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        least = None if self.least is None else self.least.to_mapping()
        return {**self.overlap.to_mapping(), "reference": least, "doubt": self.doubt}

    def kept(self, *, accepted: bool) -> dict[str, Any]:
        """What the edit's report keeps: the shares, and what later slices are measured against.

        accepted: the new ids were passed on purpose, so their share says nothing of later slices.
        """
        least = self.least or Reference((1.0, 1.0), (1.0, 1.0))
        later = self.least if accepted else least.lowered(self.overlap)
        return {**self.overlap.to_mapping(), "reference": None if later is None else later.to_mapping()}


def known_ids(
    registry: Registry, model: str, base: Snapshot, view: ModelView, interactions: Interactions, until: int | None
) -> KnownIds:
    """What the snapshot knows of the rows after its watermark and up to `until` (epoch seconds).

    interactions: read with the snapshot's catalogue.
    """
    mark = view.watermark
    past, new = between(interactions, None, mark.timestamp), between(interactions, mark.timestamp, until)
    shared = overlap(interactions, view.catalogue, mark.timestamp, until)
    least = _reference(registry, model, base)
    if least is None and 2 * len(past) >= mark.rows:
        least = reference(past)
    return KnownIds(shared, least, _doubt(view, past, new, shared, least) if len(new) else None)


def _reference(registry: Registry, model: str, base: Snapshot) -> Reference | None:
    """What the newest report that says so keeps of earlier slices; older models have none."""
    snapshot = base
    for _ in range(_GENERATIONS):
        known = registry.edit(model, snapshot.edit).report.get("known")
        kept = Reference.from_mapping(known.get("reference")) if isinstance(known, dict) else None
        if kept is not None or snapshot.parent is None:
            return kept
        snapshot = registry.resolve(model, snapshot.parent)
    return None


def _doubt(
    view: ModelView, past: Interactions, new: Interactions, shared: Overlap, least: Reference | None
) -> str | None:
    held_out = (view.holdout, view.validation)
    cause = cause_of(new, view.catalogue, shared)
    if cause is not None:
        return cause
    if swapped(new, view.catalogue, held_out):
        return "the columns of users and items look swapped"
    if forgotten_past(past, held_out):
        return "the log's older rows hold next to nothing of what the model has read of that time: their ids are others"
    low = far_below(shared, least)
    return (
        f"{' and '.join(low)} are far less known than in earlier slices: their ids may be spelt otherwise"
        if low
        else None
    )


def require_known(known: KnownIds, log: Path, *, accepted: bool) -> None:
    """Raises: InputError for ids that look like known ones respelt, unless new ids are accepted."""
    if known.doubt is None or accepted:
        return
    earlier, line = "", known_line(known.overlap.to_mapping())
    if known.least is not None:
        earlier = f", where earlier slices had {known.least.users[0]:.1%} and {known.least.items[0]:.1%} or more"
    raise InputError(
        f"{log}: expected ids that the model knows, found {line}{earlier}; {known.doubt}: "
        "write them as the setup's log does, or pass --accept-new-ids if they are new"
    )


def doubt_line(known: KnownIds) -> tuple[str, ...]:
    """The doubt about a log's ids as a note, where nothing is learned from it."""
    return () if known.doubt is None else (f"ids that the model does not know: {known.doubt}",)
