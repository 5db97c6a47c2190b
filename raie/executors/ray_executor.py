"""Ray as the executor: tasks run on a cluster that Ray looks after, and one that is lost with its machine runs again.

Values travel as pickles between processes of one user and one version of raie. They are made here and not by Ray, whose
arrays would be read-only views of shared memory, on which torch does not work. Ray is imported when a first task runs.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.metadata import version
from typing import Any, Generic, TypeVar

from raie.engine.errors import WorkerLost
from raie.engine.executor import Report
from raie.errors import ClusterUnreachable

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
KNOCK_S = 10.0
_HELD = 4  # shared values that a worker keeps as they were last used


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
class _RayShared(Generic[T]):
    """A value in Ray's object store, as pickle; a process that asks twice unpickles it once."""

    ref: Any

    @property
    def value(self) -> T:
        value: T = _fetched(self.ref)
        return value


@lru_cache(maxsize=_HELD)
def _fetched(ref: Any) -> Any:
    import ray

    return pickle.loads(ray.get(ref))


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

    def share(self, value: T) -> _RayShared[T]:
        """Put a value into Ray's object store, from where each machine fetches it once."""
        return _RayShared(self._ray.put(pickle.dumps(value, pickle.HIGHEST_PROTOCOL)))

    def as_ready(
        self, function: Callable[[Any], R], tasks: Iterable[Any], *, threads: int = 0
    ) -> Generator[tuple[int, R]]:
        """Each result as it is ready; what `Executor.as_ready` says."""
        upcoming, pending = enumerate(tasks), dict[Any, int]()
        task = next(upcoming, None)  # before anything is started for no task at all
        try:
            while task or pending:
                while task and len(pending) < self._most_queued:
                    pending[self._begun(_in_worker, function, task[1], threads or _threads())] = task[0]
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
        ref = self._begun(_reporting, function, task, _threads(), queue)
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
            _connect(self.address, self.workers)
            self.stack.callback(ray.shutdown)
        return ray

    @cached_property
    def _remotes(self) -> dict[Callable[..., bytes], Any]:
        """Each function of a worker as Ray's, made once: Ray sends a function that is made anew to every worker again."""
        return {function: self._ray.remote(function) for function in (_in_worker, _reporting)}

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
        packed, refs = _packed(function, task)
        return self._remotes[runs].options(**options).remote(packed, refs, threads, version("raie"), *more)

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


def _connect(address: str, workers: int) -> None:
    """Connect this process to a cluster, or start one of its own here; signals stay whose they were."""
    import ray

    quiet = {"log_to_driver": False, "logging_level": "ERROR", "namespace": "raie"}
    with _own_signals():
        if not address:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # what Ray would report to its makers
            ray.init("local", num_cpus=workers, include_dashboard=False, **quiet)
            return
        try:
            _knock(address)
            ray.init(address, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ClusterUnreachable(
                f"expected a Ray cluster at RAY_ADDRESS {address}, found: {reason:.300}; check the address, or unset it"
            ) from error


def _knock(address: str) -> None:
    """Raises OSError within seconds where nothing listens: Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself and would end this process without a word of what can be resumed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _threads() -> int:
    import torch

    return torch.get_num_threads()


class _Packing(pickle.Pickler):
    """Leaves Ray's handles out, and remembers them: Ray must see what a task needs, to keep it for as long."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.refs: list[Any] = []

    def persistent_id(self, value: Any) -> int | None:
        if not isinstance(value, _RayShared):
            return None
        self.refs.append(value.ref)
        return len(self.refs) - 1


class _Unpacking(pickle.Unpickler):
    def __init__(self, packed: bytes, refs: Sequence[Any]) -> None:
        super().__init__(io.BytesIO(packed))
        self.refs = refs

    def persistent_load(self, number: int) -> _RayShared[Any]:
        return _RayShared(self.refs[number])


def _packed(function: Callable[..., Any], task: Any) -> tuple[bytes, list[Any]]:
    file = io.BytesIO()
    pickler = _Packing(file)
    pickler.dump((function, task))
    return file.getvalue(), pickler.refs


# --- In a worker


def _in_worker(packed: bytes, refs: Sequence[Any], threads: int, made_by: str) -> bytes:
    """The pickled result of a task."""
    function, task = _unpacked(packed, refs, threads, made_by)
    return pickle.dumps(function(task), pickle.HIGHEST_PROTOCOL)


def _reporting(packed: bytes, refs: Sequence[Any], threads: int, made_by: str, queue: Any) -> bytes:
    """The pickled result of a long task, which puts its reports into a queue."""
    function, task = _unpacked(packed, refs, threads, made_by)
    return pickle.dumps(function(task, lambda *said: queue.put(said)), pickle.HIGHEST_PROTOCOL)


def _unpacked(packed: bytes, refs: Sequence[Any], threads: int, made_by: str) -> tuple[Callable[..., Any], Any]:
    import torch

    if made_by != version("raie"):
        raise ClusterUnreachable(
            f"expected raie {made_by} on every machine of the cluster, found {version('raie')} on one: install the same "
            "version on all"
        )
    torch.set_num_threads(threads)
    function, task = _Unpacking(packed, refs).load()
    return function, task
