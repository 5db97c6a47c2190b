"""An executor without a cluster: whatever goes to a task or comes from it passes through pickle, as between machines."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from raie.engine.executor import Held, Report

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class TravellingExecutor:
    """Runs tasks in this process, the last one first. ran: the function of every task that was run."""

    remote: bool = True
    ran: list[Callable[..., Any]] = field(default_factory=list)

    def require(self) -> None:
        """Nothing has to begin."""

    def share(self, value: T) -> Held[T]:
        return Held(travelled(value))

    def as_ready(
        self, function: Callable[[Any], R], tasks: Iterable[Any], *, threads: int = 0
    ) -> Generator[tuple[int, R]]:
        for number, task in reversed(list(enumerate(tasks))):
            self.ran.append(function)
            yield number, travelled(function(travelled(task)))

    def run(self, function: Callable[[Any, Report], R], task: Any, report: Report) -> R:
        self.ran.append(function)
        return travelled(function(travelled(task), report))


def travelled(value: T) -> T:
    """The value as another process would have it."""
    copy: T = pickle.loads(pickle.dumps(value))
    return copy
