"""Random regions: what an edit does to its regions, done to regions that mean nothing.

Every window belongs to the region that a hash of its items says; the regions are as many and as large as those of the
set-up. What RAIE gains over this is what preference regions are worth beyond extra capacity.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from raie_engine.edit_tasks import RegionWindows, adapter_schedule, pooled
from raie_engine.region_training import SHARED, TrainTask, adapter_scores, train_regions
from raie_engine.setting_up import keep_sample
from raie_engine.strategies.lesson import Learnt, Lesson, Score, State, Strategy
from raie_engine.strategies.tuning import adapter_of, task_size
from raie_engine.transitions import transitions_of
from raie_engine.windows import Windows

__all__ = ["RANDOM_REGIONS", "hashed_regions"]

_MIXER = np.uint64(0x9E3779B97F4A7C15)


def hashed_regions(windows: Windows, shares: np.ndarray, seed: int) -> np.ndarray:
    """The region int64 [n] of each window: equal contexts lie together, and region k gets shares[k] of all contexts."""
    factors = np.random.default_rng(seed).integers(1, 2**63, windows.items.shape[1], dtype=np.uint64) | np.uint64(
        1
    )
    hashed = (windows.items.astype(np.uint64) * factors).sum(axis=1, dtype=np.uint64)
    hashed = (hashed ^ (hashed >> np.uint64(29))) * _MIXER
    place = (hashed >> np.uint64(11)).astype(np.float64) / 2**53  # in [0, 1)
    return np.searchsorted(np.cumsum(shares)[:-1], place, side="right")


def _regions(state: State, lesson: Lesson, windows: Windows) -> np.ndarray:
    return hashed_regions(windows, lesson.base.region_map.weights, lesson.config.seed)


def _parts(lesson: Lesson) -> dict[int, RegionWindows]:
    """The parts of every region that enough new windows reach."""
    edit = lesson.config.edit
    every = (lesson.new, lesson.past, lesson.validation, lesson.retained)
    owners = [_regions({}, lesson, windows) for windows in every]
    parts = {}
    for region in lesson.base.region_map.ids.tolist():
        new, past, *judged = (windows.take(owner == region) for windows, owner in zip(every, owners, strict=True))
        if len(new) + len(judged[0]) >= lesson.config.gate.min_windows:
            kept = keep_sample(past, edit.max_replay, [lesson.seed, region])
            replay = keep_sample(kept, int(edit.replay_ratio * len(new)), [lesson.seed, region])
            parts[region] = RegionWindows(new, kept, replay, *judged)
    return parts


def _learn(state: State, lesson: Lesson) -> Learnt:
    parts = _parts(lesson)
    if not parts:
        return Learnt(state)
    whole = pooled(list(parts.values()))
    counted = transitions_of([whole.new, whole.past], lesson.config, lesson.items + 1)
    task = partial(_task, lesson, transitions=counted, touched=len(parts))
    together = [task(SHARED, whole, None, None)] if lesson.config.edit.shared_epochs else []
    results = list(train_regions(together, 1))
    shared = results[0].blobs if results else None
    tasks = [task(region, part, _blobs(state, region), shared) for region, part in parts.items()]
    alone = list(train_regions(tasks, 1))
    after = {f"{one.region}/{role}": data for one in alone for role, data in one.blobs.items()}
    passes = sum(one.passes for one in results + alone)
    return Learnt({**state, **after}, passes, sum(map(task_size, together + tasks)), tuple(parts))


def _task(
    lesson: Lesson,
    region: int,
    part: RegionWindows,
    current: Mapping[str, bytes] | None,
    shared: Mapping[str, bytes] | None,
    *,
    transitions: bytes | None,
    touched: int,
) -> TrainTask:
    return TrainTask(
        region=region,
        backbone=lesson.base.backbone_bytes,
        item_rows=lesson.item_rows,
        titles=lesson.titles,
        own=lesson.base.own,
        current=current,
        shared=shared,
        new=part.new,
        replay=part.replay,
        validation=part.validation,
        retained=part.retained,
        transitions=transitions,
        positions=lesson.config.windows.stride,
        adapter=lesson.config.adapter,
        schedule=adapter_schedule(lesson.config.edit, region, lesson.seed, touched),
    )


def _blobs(state: State, region: int) -> Mapping[str, bytes] | None:
    prefix = f"{region}/"
    return {name.removeprefix(prefix): data for name, data in state.items() if name.startswith(prefix)} or None


def _score(state: State, lesson: Lesson) -> Score:
    ids = lesson.base.region_map.ids.tolist()
    by_region = {
        region: adapter_scores(lesson.backbone, adapter_of(_blobs(state, region) or {}, lesson.backbone))
        for region in ids
    }

    def score(windows: Windows) -> Tensor:
        owner = _regions(state, lesson, windows)
        scores = torch.empty(len(windows), lesson.items + 1)
        for region, one in by_region.items():
            rows = np.flatnonzero(owner == region)
            if len(rows):
                scores[torch.from_numpy(rows)] = one(windows.take(rows))
        return scores

    return score


RANDOM_REGIONS = Strategy(
    "random regions",
    "the regions of RAIE, as many and as large, by hash",
    _learn,
    _score,
    replays=True,
    differs="counts what followed what",
    regions=_regions,
)
