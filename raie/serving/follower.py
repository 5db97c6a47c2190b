"""An alias followed: the registry is asked now and then, and a new snapshot takes over once it is loaded and verified.

A request takes `current` once and answers with that snapshot alone. A swap replaces one reference, so no answer mixes
two snapshots, and the old one goes when the last request that holds it is done. Whatever fails, the old one stays.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from dataclasses import dataclass, replace
from typing import Protocol

from raie.engine.answers import LoadedSnapshot
from raie.registry import Snapshot

__all__ = ["POLL_S", "Follower", "NotLoaded", "SnapshotSource", "State"]

_log = logging.getLogger(__name__)

POLL_S = 5.0
JITTER = 0.2
"""Of the interval: servers that started together do not ask together."""


class SnapshotSource(Protocol):
    """What names a snapshot and loads it."""

    @property
    def alias(self) -> str:
        """The name that is followed."""

    def pointed_at(self) -> Snapshot:
        """The snapshot to serve now. Raises: RegistryError."""

    def load(self, snapshot: Snapshot) -> LoadedSnapshot:
        """The snapshot, verified. Raises: RegistryError, EngineError."""


class NotLoaded(RuntimeError):
    """No snapshot has been loaded yet."""


@dataclass(frozen=True)
class State:
    """How following goes.

    Attributes:
        swaps: How often another snapshot took over.
        loaded_at: When the current one did, epoch seconds; None before the first.
        checked_at: When the registry last answered; None before the first answer.
        behind_since: Since when a poll or a load fails; None where the last one succeeded.
        refused: The id of the snapshot that could not be loaded; None where the registry itself did not answer.
        error: What failed, in one line that may name servers and files; None where nothing does.
        kind: The kind of that error.
        load_s: Seconds that the last load took.
    """

    swaps: int = 0
    loaded_at: float | None = None
    checked_at: float | None = None
    behind_since: float | None = None
    refused: str | None = None
    error: str | None = None
    kind: str | None = None
    load_s: float = 0.0


class Follower:
    """Keeps the snapshot of an alias loaded.

    Args:
        source: Names and loads it.
        interval_s: Seconds between two questions to the registry, less or more by a fifth at random.
    """

    def __init__(self, source: SnapshotSource, *, interval_s: float = POLL_S) -> None:
        self.source = source
        self._interval_s = interval_s
        self._current: LoadedSnapshot | None = None
        self._state = State()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def current(self) -> LoadedSnapshot:
        """The snapshot to answer with now. Raises: NotLoaded."""
        if self._current is None:
            raise NotLoaded(
                f"expected a snapshot of alias {self.source.alias!r}, found none loaded yet; try again"
            )
        return self._current

    @property
    def loaded(self) -> LoadedSnapshot | None:
        """The same; None before the first one is loaded."""
        return self._current

    @property
    def state(self) -> State:
        """How following goes."""
        return self._state

    def load_first(self) -> None:
        """Load the snapshot that the alias points to. Raises: RegistryError, EngineError."""
        snapshot = self.source.pointed_at()
        self._swap(snapshot, time.time())

    def check(self) -> bool:
        """Ask the registry once, and load what the alias points to where that is another snapshot.

        Returns:
            Whether another snapshot took over. What fails is in `state`, and nothing is raised.
        """
        snapshot = None
        try:
            snapshot = self.source.pointed_at()
            if self._current is not None and self._current.id == snapshot.id:
                self._state = replace(
                    self._state, checked_at=time.time(), behind_since=None, refused=None, error=None, kind=None
                )
                return False
            self._swap(snapshot, time.time())
            return True
        except Exception as error:  # the thread must not end, whatever a backbone of the user's own raises
            self._failed(error, snapshot)
        return False

    def _swap(self, snapshot: Snapshot, asked_at: float) -> None:
        loaded = self.source.load(snapshot)
        swaps = self._state.swaps + (self._current is not None)
        now = time.time()
        self._current = loaded
        self._state = State(swaps=swaps, loaded_at=now, checked_at=asked_at, load_s=now - asked_at)
        _log.info("alias %r: snapshot %s took over", self.source.alias, snapshot.id[:12])

    def _failed(self, error: Exception, snapshot: Snapshot | None) -> None:
        now, before = time.time(), self._state
        kind, line = type(error).__name__, " ".join(str(error).split())
        if line != before.error:
            serving = "nothing" if self._current is None else self._current.id[:12]
            _log.warning("alias %r: serving %s, for %s: %s", self.source.alias, serving, kind, line)
        self._state = replace(
            before,
            behind_since=before.behind_since or now,
            refused=None if snapshot is None else snapshot.id,
            error=line,
            kind=kind,
        )

    def start(self) -> None:
        """Follow in a thread of its own until `stop`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._follow, name=f"raie-{self.source.alias}", daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        """Follow no longer; a load that goes on is not waited for beyond this many seconds."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _follow(self) -> None:
        while not self._stopped.wait(self._interval_s * random.uniform(1 - JITTER, 1 + JITTER)):
            self.check()
