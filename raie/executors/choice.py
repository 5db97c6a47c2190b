"""From the name of an executor to the executor, which lives as long as a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from raie.engine.executor import Executor, LocalExecutor
from raie.errors import UsageError
from raie.extras import require

__all__ = ["EXECUTORS", "opened"]

EXECUTORS = ("local", "ray")


@contextmanager
def opened(name: str, workers: int = 1) -> Iterator[Executor]:
    """The executor of a name, while the block runs. Nothing is started or connected to before the first task.

    Args:
        name: "local", or "ray" for the cluster of RAY_ADDRESS or, without one, a Ray of this machine that ends with the
            block. Where this process has connected to Ray already, that connection is used and left as it is.
        workers: Processes of the local executor, and processors of a Ray that is started here; a cluster has its own.

    Raises:
        UsageError: There is no such executor.
        MissingExtra: Ray is not installed.
    """
    if name not in EXECUTORS:
        raise UsageError(
            f"expected the executor to be one of {', '.join(EXECUTORS)}, found {name!r}: choose one with --executor, "
            "RAIE_EXECUTOR or executor in raie.toml"
        )
    if name == "local":
        yield LocalExecutor(workers)
        return
    require("ray")
    from raie.executors.ray_executor import ray_executor

    with ray_executor(workers) as executor:
        yield executor
