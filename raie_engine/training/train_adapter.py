"""One region, its new windows and its replay in; one adapter out. Tasks are picklable values, so any executor maps them.

Legend: n windows, L positions, d hidden size, t items of windows, v item rows (row 0 is padding).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from raie.engine.backbones import Backbone, Contexts, Delta, load_backbone
from raie.engine.config import AdapterConfig, BackboneConfig
from raie.engine.data.sampling import keep_sample
from raie.engine.data.windows import Windows, concatenate
from raie.engine.evaluation.metrics import leaving_out_context, mean_metrics, per_window
from raie.engine.training.adapter import Adapter, AdapterDelta, fresh_adapter
from raie.engine.training.batches import trimmed_ranks
from raie.engine.training.loop import Progress, Schedule, fit
from raie.engine.training.sampled_softmax import next_item_cross_entropy
from raie.engine.training.transition_counts import TransitionCounts
from raie.engine.training.workers import side_by_side

__all__ = [
    "EPOCH_WINDOWS",
    "SHARED",
    "TrainTask",
    "TrainedRegion",
    "adapter_scores",
    "fit_adapter",
    "next_item_loss",
    "one_thread",
    "quality",
    "sampled_negatives",
    "scoring_parts",
    "task_backbone",
    "touched_items",
    "train_region",
    "train_regions",
    "trainable",
    "trained_parameters",
]


EPOCH_WINDOWS = 1_500
"""Validation windows by which an epoch is chosen."""
SHARED = -1
"""The region id under which the adapter of all touched regions trains; no region ever has it."""


@dataclass(frozen=True)
class TrainTask:
    """All that training one adapter depends on, as bytes and arrays.

    backbone: (configuration, weights); item_rows: [new items, d] appended to its table. current: blobs of the adapter
    that serves these windows now, None for the frozen backbone. shared: blobs of the adapter trained on all touched
    regions of this edit, {} where that left the frozen backbone, None where there is none. new: windows of the edit;
    replay: windows of the region's past; validation: the edit's newest windows and retained: later windows of the past,
    neither of which is trained on. positions: last positions of a window the loss reads. transitions: item transition
    counts for the trained adapter. titles: of the new items, where the log has titles. backbone_file: the Python file of
    a backbone of the user's own. negatives: items drawn beside the targets of a batch; 0 for a loss over all items.
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
    transitions: bytes | None = None
    titles: tuple[str, ...] = ()
    backbone_file: Path | None = None
    negatives: int = 0


@dataclass(frozen=True)
class TrainedRegion:
    """What the training of one region came to.

    blobs: the adapter to serve from now on, {} for the frozen backbone. chosen: "current", "shared" or "trained".
    before, after: metrics on the validation windows and, prefixed "retained ", on the retained ones, under the current
    and under the chosen adapter. samples_seen: training samples seen. seconds: wall time.
    """

    region: int
    blobs: Mapping[str, bytes]
    chosen: str
    before: Mapping[str, float]
    after: Mapping[str, float]
    samples_seen: int
    seconds: float


def train_region(task: TrainTask, progress: Progress | None = None, threads: int = 1) -> TrainedRegion:
    """Train one region and keep the better of the shared and the newly trained adapter, or the current one.

    They are compared on windows none of them was trained on. The current one stays where it is better than both by
    more than a standard error, because only the others know the new items. Without validation windows nothing can be
    compared, and the trained one is taken.

    Args:
        task: the training of one adapter.
        progress: called after every epoch.
        threads: of parts of a batch, side by side.

    Returns:
        The chosen adapter and its metrics.

    Source: equation 7; idea 4 of the method for the shared adapter and the publication gate.

    Departs from the paper: the backbone is frozen and all positions of a window train.
    """
    started = time.monotonic()
    backbone = task_backbone(task)
    candidates = {"current": _read(task.current, backbone), "shared": _read(task.shared, backbone)}
    ranked = {
        name: _ranked(backbone, adapter, task)
        for name, adapter in candidates.items()
        if name == "current" or adapter is not None
    }
    start = candidates[_preferred(ranked, equal="shared")]  # which has seen the new windows
    begun = fresh_adapter(backbone, task.adapter, touched_items(task.new), task.schedule.seed, start)
    trained, samples_seen = fit_adapter(backbone, begun, task, progress, threads)
    counted = None if task.transitions is None else TransitionCounts.from_bytes(task.transitions)
    candidates["trained"] = replace(trained, transitions=counted)
    ranked["trained"] = _ranked(backbone, candidates["trained"], task)
    chosen = _preferred(ranked, equal="current") if len(task.validation) else "trained"
    adapter = candidates[chosen]
    blobs = dict(task.current or {}) if chosen == "current" or adapter is None else adapter.to_blobs()
    return TrainedRegion(
        region=task.region,
        blobs=blobs,
        chosen=chosen,
        before=ranked["current"].metrics,
        after=ranked[chosen].metrics,
        samples_seen=samples_seen,
        seconds=time.monotonic() - started,
    )


def task_backbone(task: TrainTask) -> Backbone:
    """The frozen backbone of a task, with the item rows that its edit appends.

    Args:
        task: the training of one adapter.

    Returns:
        The backbone.
    """
    return load_backbone(*task.backbone, task.backbone_file).with_item_rows(task.item_rows, task.titles)


def _read(blobs: Mapping[str, bytes] | None, backbone: Backbone) -> Adapter | None:
    if not blobs:
        return None
    adapter = Adapter.from_blobs(blobs)
    adapter.require(backbone)
    return adapter


def quality(measured: Mapping[str, float]) -> float:
    """The validation score of an adapter.

    Args:
        measured: metrics of the validation windows and, prefixed "retained ", of the retained ones; NaN without windows.

    Returns:
        NDCG@10 on validation and on retained windows in equal parts, where they exist.
    """
    values = [measured[name] for name in ("NDCG@10", "retained NDCG@10") if not math.isnan(measured[name])]
    return sum(values) / len(values) if values else 0.0


def touched_items(windows: Windows) -> Tensor:
    """Item rows that a window ends in or passes through, ascending: int64 [t].

    Args:
        windows: n of them.

    Returns:
        int64 [t].
    """
    rows = np.union1d(windows.items.ravel(), windows.target)
    return torch.from_numpy(rows[rows != 0]).long()


def trained_parameters(adapter: Adapter, task: TrainTask) -> dict[str, Tensor]:
    """Of an adapter, what the task trains: all of it, but on top of a shared adapter only what is nearest to the
    scores.

    Args:
        adapter: one region's adapter.
        task: the training of one adapter.

    Returns:
        By name.

    Departs from the paper, where every adapter is trained whole: the shared one has learned what holds for all
    regions. Beyond that the last block and a bias per item gain as much, in two thirds of the time (docs/research.md).
    """
    return adapter.parameters() if task.shared is None else adapter.last_parameters()


def fit_adapter(
    backbone: Backbone, adapter: Adapter, task: TrainTask, progress: Progress | None = None, threads: int = 1
) -> tuple[Adapter, int]:
    """Train an adapter on the task's new and replayed windows.

    Args:
        backbone: the frozen backbone.
        adapter: to begin from.
        task: the training of one adapter.
        progress: called after every epoch.
        threads: parts of a batch that pass side by side.

    Returns:
        The adapter, and training samples seen.
    """
    live = trainable(adapter, trained_parameters(adapter, task))
    parameters, asked = trained_parameters(live, task), _for_epochs(task)

    def validate() -> float:
        return quality(_ranked(backbone, live, asked).metrics)

    result = fit(
        parameters,
        next_item_loss(backbone, live, task.positions, negatives=task.negatives),
        concatenate([task.new, task.replay]),
        task.schedule,
        validate=validate if len(task.validation) else None,
        checkpoint=task.checkpoint,
        identity=_depends_on(backbone, task),
        progress=progress,
        threads=threads,
    )
    return adapter.with_parameters(result.parameters), result.samples_seen


def _for_epochs(task: TrainTask) -> TrainTask:
    """The task with as many validation windows as it takes to choose an epoch: all would take longer than training.

    Args:
        task: the training of one adapter.

    Returns:
        The task.
    """
    seed = [task.schedule.seed]
    asked, retained = (keep_sample(windows, EPOCH_WINDOWS, seed) for windows in (task.validation, task.retained))
    return replace(task, validation=asked, retained=retained)


def _depends_on(backbone: Backbone, task: TrainTask) -> str:
    """What a task's loss and score depend on besides what trains."""
    held_out = [task.validation.digest, task.retained.digest]
    return json.dumps([backbone.digest, asdict(task.adapter), task.positions, task.negatives, *held_out])


def trainable(adapter: Adapter, parameters: Mapping[str, Tensor] | None = None) -> Adapter:
    """The same adapter over copies of these of its tensors, or of all, that record gradients.

    Args:
        adapter: one region's adapter.
        parameters: some of its tensors by name; None for all.

    Returns:
        The adapter.
    """
    moved = adapter.parameters() if parameters is None else parameters
    return adapter.with_parameters({k: v.detach().clone().requires_grad_() for k, v in moved.items()})


def scoring_parts(
    backbone: Backbone, adapter: Adapter, *, merged: bool = False
) -> tuple[AdapterDelta, Tensor, Tensor]:
    """What a window is scored with under one adapter.

    Args:
        backbone: the frozen backbone.
        adapter: what is added on the way, E_k [v, d] and b_k [v].
        merged: whether linear layers make one product, as in training.

    Returns:
        What is added inside the backbone, E_k [v, d] and b_k [v].
    """
    table = backbone.item_table()
    rows = adapter.item_rows(len(table) - 1)
    bias = adapter.bias.new_zeros(len(table)).index_copy(0, adapter.item_ids, adapter.bias)
    return AdapterDelta(adapter.lora, adapter.scaling, rows, merged), table + rows, bias


def sampled_negatives(config: BackboneConfig, items: int) -> int:
    """How many negatives a training on this catalogue samples.

    Args:
        config: the options.
        items: catalogue size.

    Returns:
        How many; 0 where the sum goes over all items.
    """
    return config.negatives if items >= config.full_softmax_below else 0


def next_item_loss(
    backbone: Backbone, adapter: Adapter | None, positions: int, delta: Delta | None = None, *, negatives: int = 0
) -> Callable[[Contexts, Tensor], Tensor]:
    """The loss that every strategy trains on: cross-entropy over all items at the last positions of a window.

    Args:
        backbone: the frozen backbone.
        adapter: None for the frozen backbone.
        positions: last positions of a window that the loss reads.
        delta: what is added inside the backbone, where it is not the adapter's own.
        negatives: items drawn beside the targets of a batch to estimate it; 0 for the sum over all items.

    Returns:
        The mean loss of contexts and the items [n] after them.
    """

    def loss(contexts: Contexts, target: Tensor) -> Tensor:
        if adapter is None:
            states, following = backbone.examples(contexts, target, positions, delta)
            return next_item_cross_entropy(states, backbone.item_table(), following, negatives=negatives)
        own, table, bias = scoring_parts(backbone, adapter, merged=True)
        states, following = backbone.examples(contexts, target, positions, delta or own)
        return next_item_cross_entropy(states, table, following, bias=bias, negatives=negatives)

    return loss


def adapter_scores(
    backbone: Backbone, adapter: Adapter | None, *, delta: Delta | None = None, vocab_size: int | None = None
) -> Callable[[Windows], Tensor]:
    """Scores under one adapter, or under the frozen backbone, as a Router scores.

    Args:
        backbone: frozen, with a row for every item.
        adapter: None for the frozen backbone.
        delta: what is added inside the backbone, where it is not the adapter's own.
        vocab_size: the last item row that is scored, where another training than the adapter's has reached further.

    Returns:
        A function of windows to scores [n, v]: logits, to be compared within a window. Padding and items that were
        appended after the adapter, or the backbone, was trained score minus infinity.
    """
    last = vocab_size or (backbone.known_items if adapter is None else adapter.vocab_size)

    @torch.no_grad()
    def score(windows: Windows) -> Tensor:
        contexts = Contexts.of(windows)
        if adapter is None:
            scores = backbone.encode(contexts, delta) @ backbone.item_table().T
        else:  # as it is now: training validates an adapter that it goes on to change
            own, table, bias = scoring_parts(backbone, adapter)
            scores = torch.addmm(bias, backbone.encode(contexts, delta or own), table.T)
        scores[:, last + 1 :] = float("-inf")
        scores[:, 0] = float("-inf")
        return scores if adapter is None else adapter.with_transition_counts(scores, windows.items)

    return score


@dataclass(frozen=True, eq=False)
class _TargetRanks:
    """Ranks of the targets of a task's validation windows and of its retained ones, under one adapter."""

    validation: np.ndarray
    retained: np.ndarray

    @property
    def metrics(self) -> dict[str, float]:
        """Of the validation windows and, prefixed "retained ", of the retained ones."""
        retained = mean_metrics(self.retained)
        return mean_metrics(self.validation) | {f"retained {name}": value for name, value in retained.items()}

    def lead(self, rival: _TargetRanks) -> tuple[float, float]:
        """By how much its quality is above the rival's, and the standard error of that."""
        pairs = (self.validation, rival.validation), (self.retained, rival.retained)
        gains = [per_window(own)["NDCG@10"] - per_window(its)["NDCG@10"] for own, its in pairs if len(own)]
        error = math.sqrt(sum(gain.var() / len(gain) for gain in gains))
        return sum(float(gain.mean()) for gain in gains) / max(len(gains), 1), error / max(len(gains), 1)


def _ranked(backbone: Backbone, adapter: Adapter | None, task: TrainTask) -> _TargetRanks:
    score = leaving_out_context(adapter_scores(backbone, adapter))
    return _TargetRanks(trimmed_ranks(score, task.validation), trimmed_ranks(score, task.retained))


def _preferred(ranked: Mapping[str, _TargetRanks], equal: str) -> str:
    """The best of the others, unless the current one is better by more than a standard error.

    equal: which one, where the best of the others ranks every target as the current one does.
    """
    others = [name for name in ranked if name != "current"]
    if not others:
        return "current"
    best = max(others, key=lambda name: quality(ranked[name].metrics))
    lead, error = ranked["current"].lead(ranked[best])
    if lead == error == 0:
        return equal
    return "current" if lead > error else best


def train_regions(tasks: Sequence[TrainTask], workers: int) -> Generator[TrainedRegion]:
    """Train every task, several on so many processes, a single one on as many threads of this process.

    Yields each result as it is ready. The results do not depend on `workers`: each task, or each part of its batches,
    runs on one thread, so that its bytes are the same alone or beside others.

    Args:
        tasks: of one edit.
        workers: processes, or threads for a single task.

    Yields:
        Each result as it is ready.

    Raises:
        WorkerLost: when the system ends a worker, for instance because memory is short.
    """
    if workers > 1 and len(tasks) > 1:
        yield from side_by_side(_train_alone, tasks, workers)
        return
    with one_thread():
        for task in tasks:
            yield train_region(task, threads=workers)


def _train_alone(task: TrainTask) -> TrainedRegion:
    with one_thread():
        return train_region(task)


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread, and afterwards on as many as before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
