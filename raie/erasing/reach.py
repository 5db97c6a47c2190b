"""What a user's rows reached in a model's head, found in what its snapshots keep: nothing is trained and nothing changes.

A region is reached by the user's own windows, by counts of the log, or by lineage: through an adapter that an edit
trained on all the regions that it touched, one of which the user was in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from raie.engine.data.windows import Windows
from raie.engine.edit.erasing import user_rows, windows_of
from raie.engine.edit.pipeline import PreparedEdit
from raie.engine.model import LOG_COUNTS, MIXTURE, ModelView
from raie.engine.regions.region_map import assign
from raie.erasing.replay import MemoryBlobs, first_step
from raie.erasing.steps import Step, steps_of, without_history
from raie.errors import UsageError
from raie.registry import Digest, Registry, Snapshot
from raie.registry.errors import BlobMissing, SnapshotExpired

__all__ = ["Reach", "RegionReach", "reach_of"]


@dataclass(frozen=True)
class RegionReach:
    """How the user reached one region; windows: of the user, among those that it keeps to replay.

    Attributes:
        counts: Whether counts of the log in its mixture hold the user's rows.
        edits: The edits that trained its adapter on the user's windows, or on what such a training had made.
    """

    region: int
    windows: int
    counts: bool
    edits: tuple[int, ...]


@dataclass(frozen=True)
class Reach:
    """What the user's rows reached.

    Attributes:
        first: The first snapshot that holds the user.
        row: Of the user in the catalogue.
        backbone: Whether the frozen backbone, the routing space and the first regions were made from the user's rows.
        windows: By part of the head that all regions share: windows of the user.
        regions: Those that are made again; every other one stays as it is, byte for byte.
        untouched: The other regions of the head.
        edits: The edits that the user's rows or their traces took part in.
    """

    first: str
    row: int
    backbone: bool
    windows: Mapping[str, int]
    regions: tuple[RegionReach, ...]
    untouched: tuple[int, ...]
    edits: tuple[int, ...]


@dataclass
class _Traces:
    """What is reached so far, while the history is walked: regions, and by region the edits."""

    regions: set[int] = field(default_factory=set)
    edits: dict[int, list[int]] = field(default_factory=dict)

    def train(self, regions: Sequence[int], number: int) -> None:
        """An edit trains regions on what the user reached."""
        for region in regions:
            self.regions.add(region)
            self.edits.setdefault(region, []).append(number)


def reach_of(registry: Registry, head: Snapshot, user: str) -> Reach:
    """What a user's rows reached in the head.

    Args:
        registry: Of the model.
        head: Its head.
        user: The external id.

    Raises:
        UsageError: The head does not hold the user.
    """
    steps, blobs = steps_of(registry, head), MemoryBlobs(registry)
    first = first_step(steps, blobs.get, {user})
    if first is None:
        raise UsageError(
            f"expected a user whom the head of {head.model!r} holds, found none of this id; ids are compared as text; "
            "raie erase --prove says what else is left"
        )
    view = ModelView(without_history(head.content), blobs.get)
    rows = user_rows(view.catalogue, {user})
    traces = _Traces()
    for step in steps[first:]:
        _follow(step, steps, blobs, rows, traces, view)
    counted = {region: _counted(head, steps[:first], region) for region in head.content.regions}
    own = {region: int(windows_of(view.replay(region), rows).sum()) for region in head.content.regions}
    reached = sorted({region for region in own if own[region] or counted[region]} | traces.regions & own.keys())
    return Reach(
        first=steps[first].snapshot,
        row=rows[0],
        backbone=steps[first].parent is None,
        windows={
            name: int(windows_of(windows, rows).sum())
            for name, windows in (
                ("add_buffer", view.buffer.windows),
                ("validation", view.validation),
                ("holdout", view.holdout),
            )
        },
        regions=tuple(
            RegionReach(region, own[region], counted[region], tuple(traces.edits.get(region, ())))
            for region in reached
        ),
        untouched=tuple(region for region in own if region not in reached),
        edits=tuple(sorted({number for numbers in traces.edits.values() for number in numbers})),
    )


def _counted(head: Snapshot, before: Sequence[Step], region: int) -> bool:
    """Whether the counts of a region's mixture are later than the last snapshot without the user."""
    entry = head.content.regions[region]
    if MIXTURE not in entry:
        return False
    return not any(step.content.regions.get(region, {}).get(LOG_COUNTS) == entry[LOG_COUNTS] for step in before)


def _follow(
    step: Step,
    steps: Sequence[Step],
    blobs: MemoryBlobs,
    rows: Sequence[int],
    traces: _Traces,
    head: ModelView,
) -> None:
    """Add what an edit trained on the user's windows, or on regions that these had reached."""
    if step.plan is None:
        return
    base = next(earlier for earlier in steps if earlier.snapshot == step.base)
    try:
        prepared = PreparedEdit.from_bytes(blobs.get(Digest(step.plan)))
        view = ModelView(base.content, blobs.get)
        own = _regions_of_windows(view, prepared, rows)
    except (BlobMissing, SnapshotExpired):
        # What has expired cannot be looked at: everything that the edit touched counts as reached.
        traces.train(_changed(step, base), step.number)
        return
    touched = list(prepared.plan.touched)
    settings = head.settings.engine
    together = settings.edit.shared_epochs > 0 or bool(settings.adapter.transition_weight)
    mine = [region for region in touched if region in own | traces.regions]
    if mine:
        traces.train(touched if together else mine, step.number)


def _changed(step: Step, base: Step) -> list[int]:
    return [region for region, entry in step.content.regions.items() if entry != base.content.regions.get(region)]


def _regions_of_windows(view: ModelView, prepared: PreparedEdit, rows: Sequence[int]) -> set[int]:
    """The regions whose training in an edit reads windows of the user."""
    plan = prepared.plan
    regions = set(plan.region[windows_of(prepared.windows, rows)].tolist())
    regions |= set(plan.buffer_region[windows_of(view.buffer.windows, rows)].tolist())
    for region in set(plan.touched) & view.content.regions.keys():
        if windows_of(view.replay(region), rows).any():
            regions.add(region)
    validation: Windows = view.validation.take(windows_of(view.validation, rows))
    if len(validation):
        regions |= set(np.unique(assign(view.region_map, view.vectors(validation))).tolist())
    return regions
