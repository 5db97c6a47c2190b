"""`Interactions` become `Windows`: a context of up to L items of one user and the item that came next.

n windows, L positions. Contexts are left-justified: items first, PAD after them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from raie_engine.catalogue import PAD
from raie_engine.config import WindowConfig
from raie_engine.errors import DamagedArtifact, InputError
from raie_engine.interactions import Interactions, between
from raie_engine.ordering import stable_order

__all__ = ["Windows", "concatenate", "cut_windows"]

_DTYPES = {"items": np.int32, "target": np.int32, "user": np.int32, "timestamp": np.int64}


@dataclass(frozen=True, eq=False)
class Windows:
    """Row i of every array is the same window.

    items: int32 [n, L], oldest first, then PAD.  target: int32 [n], the item after the context.
    user: int32 [n], catalogue rows.  timestamp: int64 [n], epoch seconds UTC of the target.
    """

    items: NDArray[np.int32]
    target: NDArray[np.int32]
    user: NDArray[np.int32]
    timestamp: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.target)

    @property
    def length(self) -> NDArray[np.int32]:
        """int32 [n]: context items that are not PAD."""
        return np.asarray((self.items != PAD).sum(axis=1, dtype=np.int32))

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Windows:
        """The windows of these rows (indices, mask or slice), in that order."""
        return Windows(self.items[rows], self.target[rows], self.user[rows], self.timestamp[rows])

    def without_items_above(self, row: int) -> Windows:
        """The windows as a model reads them whose item rows end here: later items passed over, as a target a miss."""
        items = np.where(self.items > row, np.int32(PAD), self.items)
        order = np.argsort(items == PAD, axis=1, kind="stable")
        target = np.where(self.target > row, np.int32(PAD), self.target)
        return Windows(np.take_along_axis(items, order, axis=1), target, self.user, self.timestamp)

    def to_bytes(self) -> bytes:
        """safetensors; equal windows give equal bytes."""
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _DTYPES}
        return bytes(safetensors.numpy.save(arrays))

    @staticmethod
    def from_bytes(data: bytes) -> Windows:
        """The inverse of `to_bytes`.

        Raises: DamagedArtifact for bytes that hold no windows.
        """
        try:
            arrays = safetensors.numpy.load(data)
            return Windows(**{name: arrays[name].astype(kind, copy=False) for name, kind in _DTYPES.items()})
        except (safetensors.SafetensorError, KeyError) as error:
            raise DamagedArtifact(
                f"expected windows as safetensors, found bytes that do not parse: {error}"
            ) from error

    @cached_property
    def digest(self) -> str:
        """sha256 of `to_bytes`."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def concatenate(parts: Sequence[Windows]) -> Windows:
    """The windows of all parts, in order.

    Raises: InputError for no parts, or parts of different context lengths.
    """
    lengths = {part.items.shape[1] for part in parts}
    if len(lengths) != 1:
        raise InputError(f"expected windows of one length to concatenate, found lengths {sorted(lengths)}")
    return Windows(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in _DTYPES})


def cut_windows(interactions: Interactions, config: WindowConfig, *, after: int | None = None) -> Windows:
    """Slide over each user's items: a window starts every `stride` items and its target follows its context.

    Full windows hold `length` items. Where min_length is shorter, the end of a user's history that fills no full
    window gives one more, so that its last item is a target too; no item is the target of two windows. Windows
    come by user row, then in time order.

    after: epoch seconds; only targets later than it. With config.context "slice" the context is later too; with
    "history" windows start where they start in the whole log, so edits one after the other cut each window once.
    """
    if after is not None and config.context == "slice":
        interactions, after = between(interactions, after, None), None
    order = stable_order(interactions.user)  # by user, then in the recorded order
    user, item = interactions.user[order], interactions.item[order]
    begin, end = _user_spans(user)
    start, stop = _window_spans(begin, end, config)
    timestamp = interactions.timestamp[order][stop]
    if after is not None:
        new = timestamp > after
        start, stop, timestamp = start[new], stop[new], timestamp[new]
    return Windows(_contexts(item, start, stop, config.length), item[stop], user[start], timestamp)


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
    item: NDArray[np.int32], start: NDArray[np.int64], stop: NDArray[np.int64], length: int
) -> NDArray[np.int32]:
    """Items of the rows [start, stop), left-justified: int32 [n, L]."""
    padded = np.concatenate([item, np.full(length, PAD, dtype=np.int32)])
    contexts = np.lib.stride_tricks.sliding_window_view(padded, length)[start]  # [n, L]
    short = np.flatnonzero(stop - start < length)
    beyond = np.arange(length) >= (stop - start)[short, None]  # [short, L]
    contexts[short] = np.where(beyond, PAD, contexts[short])
    return contexts
