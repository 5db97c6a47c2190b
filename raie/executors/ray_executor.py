"""Ray as the executor: tasks run on a cluster that Ray looks after, and one that is lost with its machine runs again.

Ray is imported when a first task runs.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import Any, TypeVar

from raie.engine.errors import WorkerLost
from raie.engine.executor import Report
from raie.errors import ClusterUnreachable
from raie.executors.ray_connection import connect
from raie.executors.ray_worker import RayShared, in_worker, packed, pickled, reporting

__all__ = ["MAX_RETRIES", "RayExecutor", "ray_executor"]

T = TypeVar("T")
R = TypeVar("R")

MAX_RETRIES = 3
"""How often Ray begins a task again whose process or machine was lost; an error of the task itself is final."""
QUEUED_PER_CPU = 2
"""Tasks that are handed over for each processor of the cluster: the next one waits where the last one ends."""
LEAST_QUEUED = 16
"""The same for a small cluster, or one that grows when it is asked for more than it has."""
POLL_S = 0.05


@contextmanager
def ray_executor(workers: int) -> Iterator[RayExecutor]:
    """An executor that connects to Ray when its first task runs, and leaves it as it was when the block ends.

    Args:
        workers: Processors of a Ray that has to be started here.

    Raises:
        ClusterUnreachable: By the first task: RAY_ADDRESS does not answer.
    """
    with ExitStack() as stack:
        yield RayExecutor(workers, os.environ.get("RAY_ADDRESS", ""), stack)


@dataclass(frozen=True, eq=False)
class RayExecutor:
    """Tasks on Ray.

    Attributes:
        workers: Processors of a Ray that has to be started here.
        address: Of the cluster; "" for one that is started here.
        stack: What ends with the executor.
    """

    workers: int
    address: str
    stack: ExitStack = field(repr=False)
    remote: bool = True

    def require(self) -> None:
        """Connect, or start a Ray here."""
        _ = self._ray

    def share(self, value: T) -> RayShared[T]:
        """Put a value into Ray's object store, from where each machine fetches it once."""
        return RayShared(self._ray.put(pickled(value)))

    def as_ready(
        self, function: Callable[[Any], R], tasks: Iterable[Any], *, threads: int = 0
    ) -> Generator[tuple[int, R]]:
        """Each result as it is ready; what `Executor.as_ready` says."""
        upcoming, pending = enumerate(tasks), dict[Any, int]()
        task = next(upcoming, None)  # before anything is started for no task at all
        try:
            while task or pending:
                while task and len(pending) < self._most_queued:
                    pending[self._begun(in_worker, function, task[1], threads or _threads())] = task[0]
                    task = next(upcoming, None)
                ready = self._first_ready(list(pending))
                yield pending.pop(ready), self._result(ready)
        finally:
            for ref in pending:
                self._ray.cancel(ref)

    def run(self, function: Callable[[Any, Report], R], task: Any, report: Report) -> R:
        """One long task, whose reports come through a queue."""
        self.require()
        from ray.util.queue import Queue

        queue = Queue(actor_options={"num_cpus": 0})
        ref = self._begun(reporting, function, task, _threads(), queue)
        try:
            ready = False
            while not ready:
                time.sleep(POLL_S)
                ready = bool(self._ray.wait([ref], timeout=0)[0])
                for said in queue.get_nowait_batch(queue.qsize()):
                    report(*said)
            result: R = self._result(ref)
        except BaseException:
            self._ray.cancel(ref)
            raise
        finally:
            queue.shutdown(force=True)
        return result

    @cached_property
    def _ray(self) -> Any:
        import ray

        if not ray.is_initialized():
            connect(self.address, self.workers)
            self.stack.callback(ray.shutdown)
        return ray

    @cached_property
    def _remotes(self) -> dict[Callable[..., bytes], Any]:
        """Each function of a worker as Ray's, made once: Ray sends a function that is made anew to every worker again."""
        return {function: self._ray.remote(function) for function in (in_worker, reporting)}

    @property
    def _most_queued(self) -> int:
        return max(QUEUED_PER_CPU * int(self._ray.cluster_resources().get("CPU", 0)), LEAST_QUEUED)

    def _begun(
        self, runs: Callable[..., bytes], function: Callable[..., Any], task: Any, threads: int, *more: Any
    ) -> Any:
        """A task handed over, on as many processors as it has threads, where some machine has them."""
        largest = max((node["Resources"].get("CPU", 0) for node in self._ray.nodes() if node["Alive"]), default=0)
        options = {
            "num_cpus": min(threads, int(largest) or threads),
            "max_retries": MAX_RETRIES,
            "retry_exceptions": False,
            # What numpy's sums add up side by side here, they must in a worker: their last bits depend on it.
            "runtime_env": {
                "env_vars": {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))}
            },
        }
        packed_task, refs = packed(function, task)
        return self._remotes[runs].options(**options).remote(packed_task, refs, threads, version("raie"), *more)

    def _first_ready(self, refs: list[Any]) -> Any:
        """One that is ready. Not waited for by Ray, which makes exit code 1 of whatever a signal raises in it."""
        while not (ready := self._ray.wait(refs, num_returns=1, timeout=0)[0]):
            time.sleep(POLL_S)
        return ready[0]

    def _result(self, ref: Any) -> Any:
        from ray import exceptions

        try:
            return pickle.loads(self._ray.get(ref))
        except exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, ModuleNotFoundError) and (cause.name or "").partition(".")[0] == "raie":
                raise ClusterUnreachable(
                    f"expected raie {version('raie')} on every machine of the cluster, found one without it: install it "
                    "in the image of the workers"
                ) from error
            raise cause from error
        except exceptions.RayError as error:
            raise WorkerLost(
                f"expected a task to finish in {MAX_RETRIES + 1} tries, found its process or machine lost in each "
                f"({type(error).__name__}), most likely for lack of memory; give the workers more, and resume"
            ) from error


def _threads() -> int:
    import torch

    return torch.get_num_threads()
