"""Regions trained in other processes, which put what they train into the store; this one learns the digests alone.

A task carries the windows of its region. What all tasks of an edit read is shared once: the frozen backbone, new item
rows, the shared adapter and item transition counts.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import torch

from raie.command_blobs import CommandBlobs
from raie.engine.executor import Executor, Shared
from raie.engine.training.train_adapter import TrainedRegion, TrainTask, one_thread, train_region
from raie.registry import Digest, StoreUnreachable, digest_of
from raie.registry.store.base import ArtifactStore

__all__ = ["StoredTraining", "train_and_store", "train_remotely"]

_WINDOWS = ("new", "replay", "validation", "retained")
_COMMON = ("backbone", "item_rows", "shared", "transitions", "titles")
_BLANK: Mapping[str, Any] = {
    "backbone": (b"", b""),
    "item_rows": torch.empty(0, 0),
    "shared": None,
    "transitions": None,
    "titles": (),
}


@dataclass(frozen=True)
class StoredTraining:
    """The training of one region in another process.

    own: the task without what it has in common with others. common: that, by field. threads: parts of a batch that pass
    side by side. store: where the adapter goes. known: a blob of this edit, by which a worker sees that it is that store.
    """

    own: TrainTask
    common: Shared[Mapping[str, Any]]
    threads: int
    store: ArtifactStore
    known: Digest


@dataclass(frozen=True)
class StoredRegion:
    """A trained region without its bytes. blobs: digest and size in bytes by role."""

    trained: TrainedRegion
    blobs: Mapping[str, tuple[Digest, int]]


def train_remotely(
    executor: Executor, blobs: CommandBlobs, known: Digest, tasks: Sequence[TrainTask]
) -> Generator[TrainedRegion]:
    """Train every task on an executor.

    Args:
        executor: where they run.
        blobs: of the edit, to whose registry what was trained is added.
        known: a blob that the store holds.
        tasks: of one edit; either regions or the shared adapter.

    Yields:
        Each result as it is ready, its blobs live.

    Raises:
        WorkerLost: where a task was lost with its process or machine in every try.
        StoreUnreachable: where a worker reads another store than this process.
    """
    if not tasks:
        return
    common = executor.share({name: getattr(tasks[0], name) for name in _COMMON})
    threads = max(_parts(task) for task in tasks)
    stored = (StoredTraining(_alone(task), common, threads, blobs.registry.store, known) for task in tasks)
    with closing(executor.as_ready(train_and_store, stored, threads=threads)) as results:
        for _, result in results:
            data = blobs.adopt_all(dict(result.blobs.values()))
            own = {role: data[digest] for role, (digest, _) in result.blobs.items()}
            yield replace(result.trained, blobs=own)


def _parts(task: TrainTask) -> int:
    """In how many parts a batch passes."""
    return math.ceil(task.schedule.batch / (task.schedule.part or task.schedule.batch))


def _alone(task: TrainTask) -> TrainTask:
    """The task without what is shared, and without the histories of its windows, which no training reads."""
    windows: dict[str, Any] = {name: getattr(task, name).without_past() for name in _WINDOWS}
    # A checkpoint would lie on the worker's own disk: a training that is lost with its machine begins anew.
    return replace(task, **windows, **_BLANK, checkpoint=None)


def train_and_store(task: StoredTraining) -> StoredRegion:
    """Train a region and put its adapter into the store, in a worker.

    Args:
        task: the training.

    Returns:
        What it came to, with digests instead of bytes.

    Raises:
        StoreUnreachable: where the store is another one than that of whoever asks.
    """
    if not task.store.exists(task.known):
        raise StoreUnreachable(
            f"Expected every machine of the cluster to read the store that the edit was begun with, found one where "
            f"{task.store!r} lacks its blob {task.known[:12]}; keep blobs in S3 or in a folder that all machines mount"
        )
    with one_thread():
        trained = train_region(replace(task.own, **task.common.value), threads=task.threads)
    digests = {role: (digest_of(data), len(data)) for role, data in trained.blobs.items()}
    new = {digests[role][0]: data for role, data in trained.blobs.items()}
    task.store.put_all([data for digest, data in new.items() if not task.store.exists(digest)])
    return StoredRegion(replace(trained, blobs={}), digests)
