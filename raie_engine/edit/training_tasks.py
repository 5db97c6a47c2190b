"""What an edit trains: one task for the adapter of all touched regions together, and then one for each region.

Legend: n windows, d hidden size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from raie.engine.config import EditConfig
from raie.engine.data.sampling import keep_sample
from raie.engine.data.windows import Windows, concatenate
from raie.engine.edit.pipeline import PreparedEdit, appended_rows, appended_titles
from raie.engine.edit.plan import EditPlan
from raie.engine.model import SHARED_PREFIX, ModelView
from raie.engine.regions.region_map import assign
from raie.engine.training.loop import Schedule
from raie.engine.training.train_adapter import SHARED, TrainTask, sampled_negatives
from raie.engine.training.transition_counts import transitions_of

__all__ = [
    "RegionWindows",
    "adapter_schedule",
    "own_epochs",
    "pooled",
    "region_tasks",
    "shared_task",
    "task_of",
    "touched_windows",
    "trial_task",
]

PART = 128  # windows: at d = 64 smaller parts lose more on one thread than they gain on several


@dataclass(frozen=True)
class RegionWindows:
    """What one region trains on and is validated on; replay: the part of its past that it trains on."""

    new: Windows
    past: Windows
    replay: Windows
    validation: Windows
    retained: Windows


def _region_windows(view: ModelView, prepared: PreparedEdit, region: int, owner: np.ndarray) -> RegionWindows:
    """owner: regions [.] of the view's validation windows."""
    rows, buffered = prepared.plan.rows(region)
    windows = concatenate([view.buffer.windows.take(buffered), prepared.windows.take(rows)])
    judged = windows.timestamp > prepared.train_until
    new = windows.take(~judged)
    edit = view.settings.engine.edit
    past = view.replay(region) if region in view.content.regions else new.take(slice(0, 0))
    replay = keep_sample(past, int(edit.replay_ratio * len(new)), [prepared.plan.seed, region])
    return RegionWindows(new, past, replay, windows.take(judged), view.validation.take(owner == region))


def _all_region_windows(view: ModelView, prepared: PreparedEdit) -> dict[int, RegionWindows]:
    owner = assign(view.region_map, view.vectors(view.validation))
    return {region: _region_windows(view, prepared, region, owner) for region in prepared.plan.touched}


def pooled(parts: Sequence[RegionWindows]) -> RegionWindows:
    """The windows of several regions together.

    Args:
        parts: of each region.

    Returns:
        The windows.

    Raises:
        InputError: for none.
    """
    names = [field.name for field in fields(RegionWindows)]
    return RegionWindows(*(concatenate([getattr(part, name) for part in parts]) for name in names))


def _transitions(view: ModelView, prepared: PreparedEdit, parts: Iterable[RegionWindows]) -> bytes | None:
    """Item transition counts of the new and of all past windows of the touched regions."""
    rows = len(view.backbone.item_table()) + len(prepared.item_rows)
    return transitions_of(
        [windows for part in parts for windows in (part.new, part.past)], view.settings.engine, rows
    )


def shared_task(view: ModelView, prepared: PreparedEdit, checkpoint: Path | None = None) -> TrainTask:
    """The task of the adapter that trains on all touched regions together; the regions continue from it.

    Args:
        view: the snapshot.
        prepared: the edit, prepared.
        checkpoint: file of the training's checkpoint; None for none.

    Returns:
        The task.
    """
    windows = touched_windows(view, prepared)
    return replace(
        _task(view, prepared, SHARED, windows),
        current=_last_shared(view, prepared.plan),
        transitions=_transitions(view, prepared, [windows]),
        checkpoint=checkpoint,
    )


def trial_task(view: ModelView, prepared: PreparedEdit) -> TrainTask:
    """The shared task for an adapter that begins anew and counts nothing, which takes as long and reads no adapter.

    Args:
        view: the snapshot.
        prepared: the edit, prepared.

    Returns:
        The task.
    """
    return _task(view, prepared, SHARED, touched_windows(view, prepared))


def touched_windows(view: ModelView, prepared: PreparedEdit) -> RegionWindows:
    """What the shared adapter of an edit trains on and is validated on.

    Args:
        view: the snapshot.
        prepared: the edit, prepared.

    Returns:
        The windows.

    Raises:
        InputError: where no region is touched.
    """
    return pooled(list(_all_region_windows(view, prepared).values()))


def _last_shared(view: ModelView, plan: EditPlan) -> dict[str, bytes] | None:
    """The shared adapter of an earlier edit that most of the plan's windows know; None where there was none."""
    windows: Counter[str] = Counter()
    region_of: dict[str, int] = {}
    for region in plan.touched:
        digest = view.content.regions.get(region, {}).get(SHARED_PREFIX + "lora")
        if digest is not None:
            windows[digest] += plan.operation(region).windows
            region_of.setdefault(digest, region)
    return view.shared_blobs(region_of[max(windows, key=windows.__getitem__)]) if windows else None


def region_tasks(
    view: ModelView, prepared: PreparedEdit, shared: Mapping[str, bytes] | None, folder: Path | None = None
) -> list[TrainTask]:
    """One task per touched region; a new region begins with the adapter of its nearest one.

    Args:
        view: the snapshot.
        prepared: the edit, prepared.
        shared: blobs of the shared adapter; None where there is none.
        folder: for checkpoints; None for none.

    Returns:
        The tasks, by region id.
    """
    by_region = _all_region_windows(view, prepared)
    counted = _transitions(view, prepared, by_region.values())
    return [
        replace(
            _task(view, prepared, region, windows),
            current=view.adapter_blobs(prepared.plan.operation(region).nearest),
            shared=shared,
            transitions=counted,
            checkpoint=None if folder is None else folder / f"region-{region}.safetensors",
        )
        for region, windows in by_region.items()
    ]


def own_epochs(edit: EditConfig, touched: int) -> int:
    """For how many epochs each of so many touched regions trains by itself.

    0 where one is touched alone: the shared adapter has then trained on the same windows, and is the region's own.

    Args:
        edit: options of the edit.
        touched: how many regions the edit touches.

    Returns:
        Epochs.
    """
    return 0 if touched == 1 and edit.shared_epochs else edit.epochs


def adapter_schedule(edit: EditConfig, region: int, seed: int, touched: int) -> Schedule:
    """How long and how fast a region's adapter trains, or the shared one.

    Batches of the shared one pass in parts, because nothing else trains meanwhile.

    Args:
        edit: options of the edit.
        region: its id, or SHARED.
        seed: of the edit.
        touched: regions it touches.

    Returns:
        The schedule.
    """
    seed = seed * 10_007 + region + 1
    if region == SHARED:
        return Schedule(
            edit.shared_epochs, edit.batch, edit.shared_learning_rate, edit.patience, seed=seed, part=PART
        )
    return Schedule(own_epochs(edit, touched), edit.batch, edit.learning_rate, edit.patience, seed=seed)


def _task(view: ModelView, prepared: PreparedEdit, region: int, windows: RegionWindows) -> TrainTask:
    """The task of an adapter that begins anew and counts nothing."""
    return task_of(
        view,
        region,
        windows,
        item_rows=appended_rows(view, prepared.item_rows),
        titles=appended_titles(view, prepared),
        seed=prepared.plan.seed,
        touched=len(prepared.plan.touched),
    )


def task_of(
    view: ModelView,
    region: int,
    windows: RegionWindows,
    *,
    item_rows: Tensor,
    titles: tuple[str, ...],
    seed: int,
    touched: int,
) -> TrainTask:
    """The task of an adapter that begins anew and counts nothing, of one region or of all together.

    Args:
        view: the snapshot.
        region: its id, or SHARED.
        windows: of the region.
        item_rows: [new items, d] of all items that came since the setup.
        titles: of these items.
        seed: of the edit.
        touched: regions that the edit touches.

    Returns:
        The task.
    """
    config = view.settings.engine
    return TrainTask(
        region=region,
        backbone=view.backbone_bytes,
        item_rows=item_rows,
        current=None,
        shared=None,
        new=windows.new,
        replay=windows.replay,
        validation=windows.validation,
        retained=windows.retained,
        positions=config.windows.stride,
        adapter=config.adapter,
        schedule=adapter_schedule(config.edit, region, seed, touched),
        titles=titles,
        backbone_file=view.backbone_file,
        negatives=sampled_negatives(config.backbone, view.backbone.known_items + len(item_rows)),
    )
