"""What a worker of Ray runs, and how a task, its result and the values that tasks share travel there and back.

Values travel as pickles between processes of one user and one version of raie. They are made here and not by Ray, whose
arrays would be read-only views of shared memory, on which torch does not work.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Generic, TypeVar

from raie.errors import ClusterUnreachable

__all__ = ["RayShared", "in_worker", "packed", "pickled", "reporting"]

T = TypeVar("T")

_HELD = 4  # shared values that a worker keeps as they were last used


@dataclass(frozen=True, eq=False)
class RayShared(Generic[T]):
    """A value in Ray's object store, as pickle; a process that asks twice unpickles it once.

    ref: Ray's handle of it.
    """

    ref: Any

    @property
    def value(self) -> T:
        """The value, read-only for whoever asks."""
        value: T = _fetched(self.ref)
        return value


@lru_cache(maxsize=_HELD)
def _fetched(ref: Any) -> Any:
    import ray

    return pickle.loads(ray.get(ref))


class _Packing(pickle.Pickler):
    """Leaves Ray's handles out, and remembers them: Ray must see what a task needs, to keep it for as long."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.refs: list[Any] = []

    def persistent_id(self, value: Any) -> int | None:
        if not isinstance(value, RayShared):
            return None
        self.refs.append(value.ref)
        return len(self.refs) - 1


class _Unpacking(pickle.Unpickler):
    def __init__(self, packed_task: bytes, refs: Sequence[Any]) -> None:
        super().__init__(io.BytesIO(packed_task))
        self.refs = refs

    def persistent_load(self, number: int) -> RayShared[Any]:
        return RayShared(self.refs[number])


def packed(function: Callable[..., Any], task: Any) -> tuple[bytes, list[Any]]:
    """A task for a worker.

    Args:
        function: Of a module.
        task: Picklable; it may carry shared values.

    Returns:
        Both as a pickle, and Ray's handles of the shared values.
    """
    file = io.BytesIO()
    pickler = _Packing(file)
    pickler.dump((function, task))
    return file.getvalue(), pickler.refs


def pickled(value: Any) -> bytes:
    """A value as it travels."""
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def in_worker(packed_task: bytes, refs: Sequence[Any], threads: int, made_by: str) -> bytes:
    """The pickled result of a task.

    Args:
        packed_task: As of `packed`, with refs.
        refs: Ray's handles of what the task shares with others.
        threads: Of torch.
        made_by: The driver's version of raie.

    Raises:
        ClusterUnreachable: This machine has another version.
    """
    function, task = _unpacked(packed_task, refs, threads, made_by)
    return pickled(function(task))


def reporting(packed_task: bytes, refs: Sequence[Any], threads: int, made_by: str, queue: Any) -> bytes:
    """The pickled result of a long task, as `in_worker` returns it; what the task reports goes into Ray's queue."""
    function, task = _unpacked(packed_task, refs, threads, made_by)
    return pickled(function(task, lambda *said: queue.put(said)))


def _unpacked(
    packed_task: bytes, refs: Sequence[Any], threads: int, made_by: str
) -> tuple[Callable[..., Any], Any]:
    import torch

    if made_by != version("raie"):
        raise ClusterUnreachable(
            f"expected raie {made_by} on every machine of the cluster, found {version('raie')} on one: install the same "
            "version on all"
        )
    torch.set_num_threads(threads)
    function, task = _Unpacking(packed_task, refs).load()
    return function, task
