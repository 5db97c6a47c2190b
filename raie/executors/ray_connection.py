"""How this process connects to a Ray cluster, or starts a Ray of its own."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from raie.errors import ClusterUnreachable

__all__ = ["connect"]

_KNOCK_S = 10.0


def connect(address: str, workers: int) -> None:
    """Connect this process to a cluster, or start one of its own here; signals stay whose they were.

    Args:
        address: Of the cluster; "" starts one here.
        workers: Processors of one that is started here.

    Raises:
        ClusterUnreachable: Nothing answers at the address.
    """
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
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_S).close()


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
