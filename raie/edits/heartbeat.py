"""The lease of an edit while a command works on it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from raie.registry import Registry, RegistryError

__all__ = ["HEARTBEAT_S", "kept_alive"]

HEARTBEAT_S = 30.0

_log = logging.getLogger(__name__)


@contextmanager
def kept_alive(registry: Registry, model: str, number: int) -> Iterator[None]:
    """Renew the edit's lease while the block runs, however long one step takes; an interrupt says how to go on."""
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(HEARTBEAT_S):
            try:
                registry.heartbeat(model, number)
            except RegistryError as error:
                # The commit needs the lease too, and says what happened to it.
                _log.warning("the lease of edit %d was not renewed: %s", number, error)

    thread = threading.Thread(target=renew, daemon=True, name=f"lease of edit {number}")
    thread.start()
    try:
        yield
    except KeyboardInterrupt as stopped:
        stopped.add_note(f"`raie edit resume {number}` goes on")
        raise
    finally:
        ended.set()
        thread.join()
