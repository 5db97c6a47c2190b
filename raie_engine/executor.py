"""Where independent tasks run: in this process, or in those of a cluster that somebody else looks after.

A task is a picklable value and its function is a pure one of a module, so it may run anywhere, and again where a machine
was lost. Whatever many tasks read is shared: a cluster moves it to each machine once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["LOCAL", "Executor", "Held", "LocalExecutor", "Report", "Shared", "in_order"]

T = TypeVar("T")
R = TypeVar("R")
T_co = TypeVar("T_co", covariant=True)

Report = Callable[[int, float], None]
"""Called by a long task as it goes on: after every epoch with its number and its validation score."""


class Shared(Protocol[T_co]):
    """A value that many tasks read."""

    @property
    def value(self) -> T_co:
        """The value, read-only for whoever asks."""
        ...


class Executor(Protocol):
    """Runs tasks. Every method raises what a task's function raises, and WorkerLost where a task cannot be finished."""

    @property
    def remote(self) -> bool:
        """Whether tasks run in processes that share no memory, and perhaps no disk, with this one."""
        ...

    def require(self) -> None:
        """Begin what tasks need, before anything is recorded that would have to be resumed."""
        ...

    def share(self, value: T) -> Shared[T]:
        """A handle of a value, which tasks carry in its place.

        Args:
            value: picklable.
        """
        ...

    def as_ready(
        self, function: Callable[[Any], R], tasks: Iterable[Any], *, threads: int = 0
    ) -> Generator[tuple[int, R]]:
        """function(task) for every task, each result as it is ready. Closed early, it stops what still runs.

        Args:
            function: of a module, pure.
            tasks: picklable; no more of them are taken than are soon to run.
            threads: of torch in each task, which is as many processors as it takes; 0 for as many as in this process.

        Yields:
            The task's number, from 0, and its result.
        """
        ...

    def run(self, function: Callable[[Any, Report], R], task: Any, report: Report) -> R:
        """One long task, on as many threads of torch as this process has.

        Args:
            function: of a module, pure but for its reports.
            task: picklable.
            report: called in this process with what the task reports.
        """
        ...


def in_order(
    executor: Executor, function: Callable[[Any], R], tasks: Iterable[Any], *, threads: int = 0
) -> Generator[R]:
    """function(task) for every task, in the order of the tasks.

    Args:
        executor: where they run.
        function: of a module, pure.
        tasks: picklable.
        threads: as of `Executor.as_ready`.

    Yields:
        Each result, once those before it are ready too.
    """
    early: dict[int, R] = {}
    due = 0
    for number, result in executor.as_ready(function, tasks, threads=threads):
        early[number] = result
        while due in early:
            yield early.pop(due)
            due += 1


@dataclass(frozen=True)
class Held(Generic[T]):
    """A shared value in the process that shares it."""

    value: T


@dataclass(frozen=True)
class LocalExecutor:
    """This process, one task after the other.

    workers: processes that train regions or strategies side by side, where the code that asks has some of its own.
    """

    workers: int = 1
    remote: bool = False

    def require(self) -> None:
        """Nothing: this process is there."""

    def share(self, value: T) -> Held[T]:
        """The value itself."""
        return Held(value)

    def as_ready(
        self, function: Callable[[Any], R], tasks: Iterable[Any], *, threads: int = 0
    ) -> Generator[tuple[int, R]]:
        """Each result in turn; the process keeps its threads."""
        for number, task in enumerate(tasks):
            yield number, function(task)

    def run(self, function: Callable[[Any, Report], R], task: Any, report: Report) -> R:
        """The task, which reports at once."""
        return function(task, report)


LOCAL = LocalExecutor()
"""Where nobody chose an executor."""
