"""Parts of snapshots by the digests that they were read from, so that two snapshots hold what they share once.

A part lives for as long as some snapshot uses it. What a blob's bytes are read as depends on the bytes alone, and every
part is immutable: two snapshots that name the same digests may hold one object.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar
from weakref import WeakValueDictionary

__all__ = ["SharedParts"]

T = TypeVar("T")


class SharedParts:
    """Parts that are in use; several threads may ask at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()

    def __reduce__(self) -> tuple[type[SharedParts], tuple[()]]:
        """Another process shares nothing with this one: it begins with no part in use."""
        return SharedParts, ()

    def get(self, key: Hashable, read: Callable[[], T]) -> T:
        """The part of a key.

        Args:
            key: its kind and every digest that decides it.
            read: makes it where no snapshot holds it; raises what it raises.

        Returns:
            The part that is in use, or the one just read.
        """
        with self._lock:
            held: T | None = self._parts.get(key)
        if held is not None:
            return held
        made = read()
        with self._lock:
            # Of two threads that read it at the same time both get the first one's.
            shared: T = self._parts.setdefault(key, made)
            return shared
