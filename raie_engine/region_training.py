"""One region, its new windows and its replay in; one adapter out. Tasks are picklable values, so any executor maps them.

Legend: n windows, L positions, d hidden size, m real positions of a batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from raie_engine.adapters import Adapter, fresh_adapter, item_parts, low_rank_delta
from raie_engine.backbones import Backbone, Delta, encode, load_backbone
from raie_engine.config import AdapterConfig
from raie_engine.cross_entropy import linear_cross_entropy
from raie_engine.evaluation import mean_metrics, ranks
from raie_engine.training import Progress, Schedule, fit, successors
from raie_engine.windows import Windows, concatenate
from raie_engine.worker_pool import side_by_side

__all__ = [
    "TrainTask",
    "TrainedRegion",
    "adapter_scores",
    "fit_adapter",
    "next_item_loss",
    "one_thread",
    "quality",
    "touched_items",
    "train_region",
    "train_regions",
    "trainable",
    "trained_positions",
]


@dataclass(frozen=True)
class TrainTask:
    """All that training one adapter depends on, as bytes and arrays.

    backbone: (configuration, weights); item_rows: [new items, d] appended to its table. current: blobs of the adapter
    that serves these windows now, None for the bare backbone. shared: blobs of the adapter trained on all touched
    regions of this edit, if there is one. new: windows of the edit; replay: windows of the region's past; validation:
    the edit's newest windows and retained: later windows of the past, neither of which is trained on. positions: last
    positions of a window the loss reads.
    """

    region: int
    backbone: tuple[bytes, bytes]
    item_rows: Tensor
    current: Mapping[str, bytes] | None
    shared: Mapping[str, bytes] | None
    new: Windows
    replay: Windows
    validation: Windows
    retained: Windows
    positions: int
    adapter: AdapterConfig
    schedule: Schedule
    checkpoint: Path | None = None


@dataclass(frozen=True)
class TrainedRegion:
    """What the training of one region came to.

    blobs: the adapter to serve from now on, {} for the bare backbone. chosen: "current", "shared" or "trained".
    before, after: metrics on the validation windows and, prefixed "retained ", on the retained ones, under the current
    and under the chosen adapter. passes: windows passed in training. seconds: wall time.
    """

    region: int
    blobs: Mapping[str, bytes]
    chosen: str
    before: Mapping[str, float]
    after: Mapping[str, float]
    passes: int
    seconds: float


def train_region(task: TrainTask, progress: Progress | None = None) -> TrainedRegion:
    """Train one region and keep the best of its current, the shared and the newly trained adapter.

    The best is judged on windows none of them was trained on; the current one stays unless another is better. Without
    validation windows nothing can be judged, and the trained one is taken.

    Source: equation 7; idea 4 of the method for the shared adapter and the publication gate. Departs from the paper:
    the backbone is frozen and all positions of a window train.
    """
    started = time.monotonic()
    backbone = load_backbone(*task.backbone).with_item_rows(task.item_rows)
    candidates = {"current": _read(task.current, backbone), "shared": _read(task.shared, backbone)}
    measured = {
        name: measure(backbone, adapter, task)
        for name, adapter in candidates.items()
        if name == "current" or adapter is not None
    }
    start = candidates[max(measured, key=lambda name: quality(measured[name]))]
    begun = fresh_adapter(backbone, task.adapter, touched_items(task.new), task.schedule.seed, start)
    candidates["trained"], passes = fit_adapter(backbone, begun, task, progress)
    measured["trained"] = measure(backbone, candidates["trained"], task)
    chosen = max(measured, key=lambda name: quality(measured[name])) if len(task.validation) else "trained"
    adapter = candidates[chosen]
    blobs = dict(task.current or {}) if chosen == "current" or adapter is None else adapter.to_blobs()
    return TrainedRegion(
        region=task.region,
        blobs=blobs,
        chosen=chosen,
        before=measured["current"],
        after=measured[chosen],
        passes=passes,
        seconds=time.monotonic() - started,
    )


def _read(blobs: Mapping[str, bytes] | None, backbone: Backbone) -> Adapter | None:
    if not blobs:
        return None
    adapter = Adapter.from_blobs(blobs)
    adapter.require(backbone)
    return adapter


def quality(measured: Mapping[str, float]) -> float:
    """What an adapter is judged by: NDCG@10 on validation and on retained windows in equal parts, where they exist."""
    values = [measured[name] for name in ("NDCG@10", "retained NDCG@10") if not math.isnan(measured[name])]
    return sum(values) / len(values) if values else 0.0


def touched_items(windows: Windows) -> Tensor:
    """Item rows that a window ends in or passes through, ascending: int64 [t]."""
    rows = np.union1d(windows.items.ravel(), windows.target)
    return torch.from_numpy(rows[rows != 0]).long()


def fit_adapter(
    backbone: Backbone, adapter: Adapter, task: TrainTask, progress: Progress | None = None
) -> tuple[Adapter, int]:
    """The adapter after training on the task's new and replayed windows, and how many windows were passed."""
    live = trainable(adapter)
    parameters = live.parameters()

    def validate() -> float:
        return quality(measure(backbone, live, task))

    result = fit(
        parameters,
        next_item_loss(backbone, live, task.positions),
        concatenate([task.new, task.replay]),
        task.schedule,
        validate=validate if len(task.validation) else None,
        checkpoint=task.checkpoint,
        progress=progress,
    )
    return adapter.with_parameters(result.parameters), result.passes


def trainable(adapter: Adapter) -> Adapter:
    """The same adapter over copies of its tensors that record gradients."""
    return adapter.with_parameters(
        {k: v.detach().clone().requires_grad_() for k, v in adapter.parameters().items()}
    )


def next_item_loss(
    backbone: Backbone, adapter: Adapter | None, positions: int, delta: Delta | None = None
) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss that every strategy trains on: cross-entropy over all items at the last positions of a window.

    delta: what the layers add, where it is not the adapter's own LoRA.
    """
    delta = delta if adapter is None or delta else low_rank_delta(adapter.lora, adapter.scaling)

    def loss(items: Tensor, target: Tensor) -> Tensor:
        states, following = trained_positions(backbone.hidden(items, delta), items, target, positions)
        rows = () if adapter is None else item_parts(adapter, states)
        return linear_cross_entropy(states, backbone.item_table()[1:], following - 1, *rows)

    return loss


def trained_positions(states: Tensor, items: Tensor, target: Tensor, positions: int) -> tuple[Tensor, Tensor]:
    """(states [m, d], following items [m]) of the last `positions` real positions of each window.

    With as many positions as the stride of the windows, an item is a target once, with its longest context.
    """
    following = successors(items, target)
    length = (items != 0).sum(dim=1, keepdim=True)
    place = torch.arange(items.shape[1])
    read = (place < length) & (place >= length - positions)
    return states[read], following[read]


def adapter_scores(
    backbone: Backbone, adapter: Adapter | None, *, delta: Delta | None = None, visible: int | None = None
) -> Callable[[Windows], Tensor]:
    """Windows -> scores [n, v] under one adapter, or under the bare backbone, as a Router scores them.

    Padding and items that were appended after the adapter, or the backbone, was trained score minus infinity.
    delta: what the layers add, where it is not the adapter's own LoRA. visible: the last item row that is scored,
    where another training than the adapter's has reached further.
    """
    table = backbone.item_table()
    visible = visible or (backbone.known_items if adapter is None else adapter.visible)
    delta = delta if adapter is None or delta else low_rank_delta(adapter.lora, adapter.scaling)

    @torch.no_grad()
    def score(windows: Windows) -> Tensor:
        states = encode(backbone, torch.from_numpy(windows.items).long(), delta)
        scores = states @ table.T
        if adapter is not None:
            low, rows = item_parts(adapter, states)
            scores[:, 1 : visible + 1] += low @ rows.T
        scores[:, visible + 1 :] = float("-inf")
        scores[:, 0] = float("-inf")
        return scores

    return score


def measure(backbone: Backbone, adapter: Adapter | None, task: TrainTask) -> dict[str, float]:
    """Metrics of an adapter on the task's validation windows and, prefixed "retained ", on its retained ones."""
    score = adapter_scores(backbone, adapter)
    retained = mean_metrics(ranks(score, task.retained))
    return mean_metrics(ranks(score, task.validation)) | {f"retained {name}": v for name, v in retained.items()}


def train_regions(tasks: Sequence[TrainTask], workers: int) -> Generator[TrainedRegion]:
    """Train every task and yield each result as it is ready; the results do not depend on `workers`.

    Each task runs on one thread, so that its bytes are the same alone or beside others.

    Raises: WorkerLost when the system ends a worker, for instance because memory is short.
    """
    if workers <= 1 or len(tasks) <= 1:
        yield from _on_one_thread(tasks)
        return
    yield from side_by_side(_train_alone, tasks, workers)


def _train_alone(task: TrainTask) -> TrainedRegion:
    with one_thread():
        return train_region(task)


def _on_one_thread(tasks: Iterable[TrainTask]) -> Iterator[TrainedRegion]:
    with one_thread():
        for task in tasks:
            yield train_region(task)


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread, and afterwards on as many as before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
