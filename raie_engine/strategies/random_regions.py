"""Random regions: what an edit does to its regions, done to regions that mean nothing.

Every window belongs to the region that a hash of its items says; the regions are as many and as large as those of the
setup. They keep old windows, and their shared adapter goes on from the last one, as in an edit. What RAIE gains over
this is what preference regions are worth beyond extra capacity.
Legend: n windows, k regions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from raie.engine.data.sampling import keep_sample
from raie.engine.data.windows import Windows, concatenate
from raie.engine.edit.training_tasks import RegionWindows, pooled, task_of
from raie.engine.strategies.task_data import LearnedState, Score, State, Strategy, TaskData
from raie.engine.strategies.tuning import adapter_of, task_size
from raie.engine.training.train_adapter import SHARED, TrainTask, adapter_scores, train_regions
from raie.engine.training.transition_counts import transitions_of

__all__ = ["RANDOM_REGIONS", "hashed_regions"]

KEPT = "kept"
_MIXER = np.uint64(0x9E3779B97F4A7C15)


def hashed_regions(windows: Windows, shares: np.ndarray, seed: int) -> np.ndarray:
    """The region of each window by a hash of its items: equal contexts lie together.

    Args:
        windows: n of them.
        shares: [k], of all contexts that each region gets.
        seed: of the hash.

    Returns:
        int64 [n].
    """
    factors = np.random.default_rng(seed).integers(1, 2**63, windows.items.shape[1], dtype=np.uint64) | np.uint64(
        1
    )
    hashed = (windows.items.astype(np.uint64) * factors).sum(axis=1, dtype=np.uint64)
    hashed = (hashed ^ (hashed >> np.uint64(29))) * _MIXER
    fraction = (hashed >> np.uint64(11)).astype(np.float64) / 2**53  # in [0, 1)
    return np.searchsorted(np.cumsum(shares)[:-1], fraction, side="right")


def _regions(state: State, task_data: TaskData, windows: Windows) -> np.ndarray:
    return hashed_regions(windows, task_data.base.region_map.weights, task_data.config.seed)


def _parts(state: State, task_data: TaskData) -> dict[int, RegionWindows]:
    """The parts of every region that enough new windows reach."""
    edit = task_data.config.edit
    every = (task_data.new, task_data.past, task_data.validation, task_data.retained)
    owners = [_regions({}, task_data, windows) for windows in every]
    parts = {}
    for region in task_data.base.region_map.ids.tolist():
        new, past, *evaluated = (
            windows.take(owner == region) for windows, owner in zip(every, owners, strict=True)
        )
        if len(new) + len(evaluated[0]) >= task_data.config.gate.min_windows:
            kept = _kept(state, region, past, task_data)
            replay = keep_sample(kept, int(edit.replay_ratio * len(new)), [task_data.seed, region])
            parts[region] = RegionWindows(new, kept, replay, *evaluated)
    return parts


def _kept(state: State, region: int, past: Windows, task_data: TaskData) -> Windows:
    """The past windows that the region has kept, as RAIE's keep theirs: of the setup's, and then of new ones too."""
    if f"{KEPT}/{region}" in state:
        return Windows.from_bytes(state[f"{KEPT}/{region}"])
    return keep_sample(past, task_data.config.edit.max_replay, [task_data.config.seed, region])


def _learn(state: State, task_data: TaskData) -> LearnedState:
    parts = _parts(state, task_data)
    if not parts:
        return LearnedState(state)
    whole = pooled(list(parts.values()))
    counted = transitions_of([whole.new, whole.past], task_data.config, task_data.items + 1)

    def task(region: int, part: RegionWindows, current: State | None, shared: State | None) -> TrainTask:
        made = task_of(
            task_data.base,
            region,
            part,
            item_rows=task_data.item_rows,
            titles=task_data.titles,
            seed=task_data.seed,
            touched=len(parts),
        )
        return replace(made, current=current, shared=shared, transitions=counted)

    together = [task(SHARED, whole, _blobs(state, SHARED), None)] if task_data.config.edit.shared_epochs else []
    results = list(train_regions(together, 1))
    shared = results[0].blobs if results else None
    tasks = [task(region, part, _blobs(state, region), shared) for region, part in parts.items()]
    alone = list(train_regions(tasks, 1))
    after = {f"{result.region}/{role}": data for result in results + alone for role, data in result.blobs.items()}
    kept = {f"{KEPT}/{region}": _keeps(part, region, task_data).to_bytes() for region, part in parts.items()}
    samples_seen = sum(result.samples_seen for result in results + alone)
    return LearnedState(
        {**state, **after, **kept}, samples_seen, sum(map(task_size, together + tasks)), tuple(parts)
    )


def _keeps(part: RegionWindows, region: int, task_data: TaskData) -> Windows:
    """The windows that a region keeps after an edit."""
    return keep_sample(
        concatenate([part.past, part.new]), task_data.config.edit.max_replay, [task_data.seed, region, 1]
    )


def _blobs(state: State, region: int) -> Mapping[str, bytes] | None:
    prefix = f"{region}/"
    return {name.removeprefix(prefix): data for name, data in state.items() if name.startswith(prefix)} or None


def _score(state: State, task_data: TaskData) -> Score:
    ids = task_data.base.region_map.ids.tolist()
    by_region = {
        region: adapter_scores(task_data.backbone, adapter_of(_blobs(state, region) or {}, task_data.backbone))
        for region in ids
    }

    def score(windows: Windows) -> Tensor:
        owner = _regions(state, task_data, windows)
        scores = torch.empty(len(windows), task_data.items + 1)
        for region, score_region in by_region.items():
            rows = np.flatnonzero(owner == region)
            if len(rows):
                scores[torch.from_numpy(rows)] = score_region(windows.take(rows))
        return scores

    return score


RANDOM_REGIONS = Strategy(
    "random regions",
    "the regions of RAIE, as many and as large, by hash",
    _learn,
    _score,
    replays=True,
    regions=_regions,
)
