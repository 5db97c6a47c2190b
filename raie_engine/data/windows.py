"""`Interactions` become `Windows`: a context of up to L items of one user and the item that came next.

n windows, L positions. Contexts are left-justified: items first, PAD after them.
Legend: n windows, L positions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from raie.engine.arrays import stable_order
from raie.engine.bytes.arrays import load_arrays
from raie.engine.config import WindowConfig
from raie.engine.data.catalogue import PAD
from raie.engine.data.interactions import Interactions, between
from raie.engine.errors import InputError

__all__ = ["Windows", "concatenate", "cut_windows", "last_windows"]

_DTYPES = {"items": np.int32, "target": np.int32, "user": np.int32, "timestamp": np.int64, "times": np.int64}
_AXES = {"items": "nL", "target": "n", "user": "n", "timestamp": "n", "times": "nL"}


@dataclass(frozen=True, eq=False)
class Windows:
    """Row i of every array is the same window.

    items: int32 [n, L], oldest first, then PAD.  target: int32 [n], the item after the context.
    user: int32 [n], catalogue rows.  timestamp: int64 [n], epoch seconds UTC of the target.
    times: int64 [n, L], epoch seconds UTC of the items, 0 at PAD; None unless they were cut with `windows.times`.
    """

    items: NDArray[np.int32]
    target: NDArray[np.int32]
    user: NDArray[np.int32]
    timestamp: NDArray[np.int64]
    times: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.target)

    @property
    def length(self) -> NDArray[np.int32]:
        """int32 [n]: context items that are not PAD."""
        return np.asarray((self.items != PAD).sum(axis=1, dtype=np.int32))

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Windows:
        """The windows of these rows (indices, mask or slice), in that order.

        Args:
            rows: indices, mask or slice.

        Returns:
            The windows.
        """
        return Windows(**{name: array[rows] for name, array in self._arrays.items()})

    def trimmed(self) -> Windows:
        """The windows without the last positions, where none of them has an item.

        Returns:
            The windows.
        """
        width = max(1, int(self.length.max(initial=0)))
        times = None if self.times is None else self.times[:, :width]
        return replace(self, items=self.items[:, :width], times=times)

    def without_items_above(self, row: int) -> Windows:
        """Items of later rows than `row` are passed over in contexts; a target among them becomes PAD, a sure miss.

        Args:
            row: the last item row that stays.

        Returns:
            The windows.
        """
        items = np.where(self.items > row, PAD, self.items)
        order = np.argsort(items == PAD, axis=1, kind="stable")
        known = {"items": items} if self.times is None else {"items": items, "times": self.times * (items != PAD)}
        contexts = {name: np.take_along_axis(array, order, axis=1) for name, array in known.items()}
        return replace(self, target=np.where(self.target > row, PAD, self.target), **contexts)

    @property
    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {name: array for name in _DTYPES if (array := getattr(self, name)) is not None}

    def to_bytes(self) -> bytes:
        """safetensors; equal windows give equal bytes."""
        arrays = {name: np.ascontiguousarray(array) for name, array in self._arrays.items()}
        return bytes(safetensors.numpy.save(arrays))

    @staticmethod
    def from_bytes(data: bytes) -> Windows:
        """The inverse of `to_bytes`.

        Args:
            data: the stored bytes.

        Returns:
            The value that was stored.

        Raises:
            DamagedArtifact: for bytes that hold no windows.
        """
        return Windows(**load_arrays(data, "windows", _DTYPES, _AXES, optional=("times",)))

    @cached_property
    def digest(self) -> str:
        """sha256 of `to_bytes`."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def concatenate(parts: Sequence[Windows]) -> Windows:
    """The windows of all parts, in order.

    Args:
        parts: one after the other.

    Returns:
        The windows.

    Raises:
        InputError: for no parts, or parts of different context lengths, or with and without times.
    """
    lengths = {part.items.shape[1] for part in parts}
    if len(lengths) != 1:
        raise InputError(f"expected windows of one length to concatenate, found lengths {sorted(lengths)}")
    if len({part.times is None for part in parts}) != 1:
        raise InputError(
            "expected windows that all hold times, or none, found both; cut them with one configuration"
        )
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in parts[0]._arrays}
    return Windows(**arrays)


def cut_windows(interactions: Interactions, config: WindowConfig, *, after: int | None = None) -> Windows:
    """Slide over each user's items: a window starts every `stride` items and its target follows its context.

    Full windows hold `length` items. Where min_length is shorter, the end of a user's history that fills no full
    window gives one more, so that its last item is a target too; no item is the target of two windows. Windows come by
    user row, then in time order. With config.times the windows hold the times of their items too.

    Args:
        interactions: the log, in time order.
        config: length, stride, min_length, context and times.
        after: epoch seconds; only targets later than it. With config.context "slice" the context is later too; with
            "history" windows start where they start in the whole log, so edits one after the other cut each window
            once.

    Returns:
        The windows.
    """
    if after is not None and config.context == "slice":
        interactions, after = between(interactions, after, None), None
    order = stable_order(interactions.user)  # by user, then in the recorded order
    user, item = interactions.user[order], interactions.item[order]
    begin, end = _user_spans(user)
    start, stop = _window_spans(begin, end, config)
    time = interactions.timestamp[order]
    if after is not None:
        new = time[stop] > after
        start, stop = start[new], stop[new]
    items = _contexts(item, start, stop, config.length)
    times = _contexts(time, start, stop, config.length) if config.times else None
    return Windows(items, item[stop], user[start], time[stop], times)


Values = Sequence[int] | NDArray[np.integer[Any]]


def last_windows(histories: Sequence[Values], length: int, times: Sequence[Values] | None = None) -> Windows:
    """The last `length` items of each history of item rows, oldest first, as a context without a target.

    Args:
        histories: item rows of each, oldest first.
        length: context items.
        times: epoch seconds of the items, for a backbone that reads them.

    Returns:
        Windows whose target is PAD.
    """

    def last(values: Sequence[Values], kind: type[np.integer[Any]]) -> NDArray[Any]:
        contexts = np.full((len(values), length), PAD, kind)
        for row, history in enumerate(values):
            contexts[row, : min(len(history), length)] = history[-length:]
        return contexts

    none = np.zeros(len(histories), np.int32)
    when = None if times is None else last(times, np.int64)
    return Windows(last(histories, np.int32), none, none, none.astype(np.int64), when)


def _user_spans(user: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First row and the row after the last of each user; rows are sorted by user."""
    edges = np.flatnonzero(np.diff(user)) + 1
    begin = np.concatenate([[0], edges]) if len(user) else edges
    return begin, np.append(begin[1:], len(user)) if len(user) else edges


def _window_spans(
    begin: NDArray[np.int64], end: NDArray[np.int64], config: WindowConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Start and target row of every window; users are [begin, end)."""
    size = end - begin
    full = np.maximum(0, (size - config.length - 1) // config.stride + 1)
    tail_start = full * config.stride
    last_target = np.where(full > 0, tail_start - config.stride + config.length, 0)
    tail = (size - 1 - tail_start >= config.min_length) & (last_target < size - 1)
    count = full + tail
    nth = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)  # 0, 1, .. within each user
    start = np.repeat(begin, count) + nth * config.stride
    return start, np.minimum(start + config.length, np.repeat(end, count) - 1)


def _contexts(
    values: NDArray[Any], start: NDArray[np.int64], stop: NDArray[np.int64], length: int
) -> NDArray[Any]:
    """Items, or their times, of the rows [start, stop), left-justified: [n, L]."""
    padded = np.concatenate([values, np.full(length, PAD, dtype=values.dtype)])
    contexts = np.lib.stride_tricks.sliding_window_view(padded, length)[start]  # [n, L]
    short = np.flatnonzero(stop - start < length)
    beyond = np.arange(length) >= (stop - start)[short, None]  # [short, L]
    contexts[short] = np.where(beyond, PAD, contexts[short])
    return contexts
