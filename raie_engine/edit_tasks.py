"""What an edit trains: one task for the adapter of all touched regions together, and then one for each region.

Legend: n windows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from raie_engine.edit_plan import EditPlan
from raie_engine.editing import PreparedEdit, appended_rows, appended_titles
from raie_engine.model_view import SHARED_PREFIX, ModelView
from raie_engine.region_training import SHARED, TrainTask
from raie_engine.regions import assign
from raie_engine.routing import encode_windows
from raie_engine.setting_up import keep_sample
from raie_engine.training import Schedule
from raie_engine.transitions import count_transitions
from raie_engine.windows import Windows, concatenate

__all__ = ["region_tasks", "shared_task", "trial_task"]


@dataclass(frozen=True)
class _RegionWindows:
    """What one region trains on and is judged on; replay: the part of its past that it trains on."""

    new: Windows
    past: Windows
    replay: Windows
    validation: Windows
    retained: Windows


def _region_windows(view: ModelView, prepared: PreparedEdit, region: int, owner: np.ndarray) -> _RegionWindows:
    """owner: regions [.] of the view's validation windows."""
    rows, waited = prepared.plan.rows(region)
    windows = concatenate([view.buffer.windows.take(waited), prepared.windows.take(rows)])
    judged = windows.timestamp > prepared.judged_after
    new = windows.take(~judged)
    edit = view.settings.engine.edit
    past = view.replay(region) if region in view.content.regions else new.take(slice(0, 0))
    replay = keep_sample(past, int(edit.replay_ratio * len(new)), [prepared.plan.seed, region])
    return _RegionWindows(new, past, replay, windows.take(judged), view.validation.take(owner == region))


def _all_region_windows(view: ModelView, prepared: PreparedEdit) -> dict[int, _RegionWindows]:
    owner = assign(view.region_map, view.space.project(encode_windows(view.backbone, view.validation)))
    return {region: _region_windows(view, prepared, region, owner) for region in prepared.plan.touched}


def _transitions(view: ModelView, prepared: PreparedEdit, each: Iterable[_RegionWindows]) -> bytes | None:
    """What followed what in the new and in all past windows of the touched regions."""
    share, stride = view.settings.engine.adapter.transition_share, view.settings.engine.windows.stride
    windows = [part for one in each for part in (one.new, one.past)]
    if not share or not windows:
        return None
    rows = len(view.backbone.item_table()) + len(prepared.item_rows)
    return count_transitions(concatenate(windows), stride, share, rows).to_bytes()


def shared_task(view: ModelView, prepared: PreparedEdit, checkpoint: Path | None = None) -> TrainTask:
    """The task of the adapter that trains on all touched regions together; the regions continue from it."""
    windows = _pooled(view, prepared)
    task, counted = _shared_task(view, prepared, windows), _transitions(view, prepared, [windows])
    return replace(task, current=_last_shared(view, prepared.plan), transitions=counted, checkpoint=checkpoint)


def trial_task(view: ModelView, prepared: PreparedEdit) -> TrainTask:
    """The shared task for an adapter that begins anew and counts nothing, which takes as long and reads no adapter."""
    return _shared_task(view, prepared, _pooled(view, prepared))


def _pooled(view: ModelView, prepared: PreparedEdit) -> _RegionWindows:
    """The windows of all touched regions together."""
    each = list(_all_region_windows(view, prepared).values())
    names = ("new", "past", "replay", "validation", "retained")
    return _RegionWindows(*(concatenate([getattr(one, name) for one in each]) for name in names))


def _shared_task(view: ModelView, prepared: PreparedEdit, windows: _RegionWindows) -> TrainTask:
    edit = view.settings.engine.edit
    schedule = _schedule(view, edit.shared_epochs, edit.shared_learning_rate, prepared.plan.seed, SHARED)
    return _task(view, prepared, SHARED, windows, schedule, None, None, None)


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
    """One task per touched region; a new region begins with the adapter of its nearest one. folder: checkpoints."""
    edit, plan, each = view.settings.engine.edit, prepared.plan, _all_region_windows(view, prepared)
    counted = _transitions(view, prepared, each.values())
    tasks = []
    for region, windows in each.items():
        schedule = _schedule(view, edit.epochs, edit.learning_rate, plan.seed, region)
        current = view.adapter_blobs(plan.operation(region).nearest)
        checkpoint = None if folder is None else folder / f"region-{region}.safetensors"
        task = _task(view, prepared, region, windows, schedule, current, shared, checkpoint)
        tasks.append(replace(task, transitions=counted))
    return tasks


def _schedule(view: ModelView, epochs: int, learning_rate: float, seed: int, region: int) -> Schedule:
    edit = view.settings.engine.edit
    return Schedule(epochs, edit.batch, learning_rate, edit.patience, seed=seed * 10_007 + region + 1)


def _task(
    view: ModelView,
    prepared: PreparedEdit,
    region: int,
    windows: _RegionWindows,
    schedule: Schedule,
    current: Mapping[str, bytes] | None,
    shared: Mapping[str, bytes] | None,
    checkpoint: Path | None,
) -> TrainTask:
    config = view.settings.engine
    return TrainTask(
        region=region,
        backbone=view.backbone_bytes,
        item_rows=appended_rows(view, prepared.item_rows),
        current=current,
        shared=shared,
        new=windows.new,
        replay=windows.replay,
        validation=windows.validation,
        retained=windows.retained,
        positions=config.windows.stride,
        adapter=config.adapter,
        schedule=schedule,
        checkpoint=checkpoint,
        titles=appended_titles(view, prepared),
        own=view.own,
    )
