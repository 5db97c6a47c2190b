"""`Interactions` become `Windows`: a context of up to L items of one user and the item that came next.

Contexts are left-justified: items first, PAD after them. Training reads windows with up to `stride` targets each, so that
an item is encoded few times; evaluation reads one window per interaction, with the whole history before it.
Legend: n windows, L positions, p items of all histories, h items of all histories, each as often as it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from raie.engine.arrays import stable_order
from raie.engine.bytes.arrays import load_arrays
from raie.engine.config import WindowConfig
from raie.engine.data.catalogue import PAD
from raie.engine.data.interactions import Interactions, between
from raie.engine.data.past import Past, compacted, span_rows, without_above
from raie.engine.errors import ConfigError, DamagedArtifact, InputError

__all__ = [
    "UncutWindows",
    "Windows",
    "concatenate",
    "cut_windows",
    "evaluation_windows",
    "histories_of",
    "last_windows",
    "span_windows",
    "uncut_evaluation_windows",
    "uncut_windows",
]

_DTYPES = {
    "items": np.int32,
    "target": np.int32,
    "user": np.int32,
    "timestamp": np.int64,
    "times": np.int64,
    "targets": np.int32,
    "past": np.int32,
    "past_start": np.int64,
    "past_stop": np.int64,
}
_PAST = ("past", "past_start", "past_stop")
_OPTIONAL = ("times", "targets", *_PAST)
_AXES = dict.fromkeys(_DTYPES, "n") | {"items": "nL", "times": "nL", "past": "p"}


@dataclass(frozen=True, eq=False)
class Windows:
    """Row i of every array is the same window.

    items: int32 [n, L], oldest first, then PAD.  target: int32 [n], the item after the context.
    user: int32 [n], catalogue rows.  timestamp: int64 [n], epoch seconds UTC of the target.
    times: int64 [n, L], epoch seconds UTC of the items, 0 at PAD; None unless they were cut with `windows.times`.
    targets: int32 [n], how many of the last items of context and target are targets of this window; None where whoever
    trains says it for all. past: int32 [p], item rows that all windows share, user by user in time order; the whole
    history before window i is past[past_start[i]:past_stop[i]], int64 [n] both. An empty span says nothing: the context
    is then the history, as it is of every window without past.
    """

    items: NDArray[np.int32]
    target: NDArray[np.int32]
    user: NDArray[np.int32]
    timestamp: NDArray[np.int64]
    times: NDArray[np.int64] | None = None
    targets: NDArray[np.int32] | None = None
    past: NDArray[np.int32] | None = None
    past_start: NDArray[np.int64] | None = None
    past_stop: NDArray[np.int64] | None = None

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
        return Windows(**{name: array if name == "past" else array[rows] for name, array in self._arrays.items()})

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
        past = self.histories and without_above(self.histories, row)
        lost = self._targets_above(row)
        return replace(
            self._with_past(past), target=np.where(self.target > row, PAD, self.target), targets=lost, **contexts
        )

    def _targets_above(self, row: int) -> NDArray[np.int32] | None:
        """`targets` without those in the context that are passed over."""
        if self.targets is None:
            return None
        last = self.length[:, None] + 1 - self.targets[:, None]  # the place of the first target
        lost = (self.items > row) & (np.arange(self.items.shape[1]) >= last)
        return np.asarray(self.targets - lost.sum(axis=1), np.int32)

    @property
    def histories(self) -> Past | None:
        """The attached histories; None where there are none."""
        if self.past is None or self.past_start is None or self.past_stop is None:
            return None
        return Past(self.past, self.past_start, self.past_stop)

    def _with_past(self, past: Past | None) -> Windows:
        items, start, stop = past or (None, None, None)
        return replace(self, past=items, past_start=start, past_stop=stop)

    @property
    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {name: array for name in _DTYPES if (array := getattr(self, name)) is not None}

    def compacted(self) -> Windows:
        """The same windows with no more of the histories than they need.

        Returns:
            The windows; without `past` where no history is attached.
        """
        return self._with_past(self.histories and compacted(self.histories))

    def without_past(self) -> Windows:
        """The same windows without histories, which no training reads.

        Returns:
            The windows.
        """
        return self._with_past(None)

    def to_bytes(self) -> bytes:
        """safetensors; equal windows give equal bytes, wherever their histories lie."""
        arrays = {name: np.ascontiguousarray(array) for name, array in self.compacted()._arrays.items()}
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
        windows = Windows(**load_arrays(data, "windows", _DTYPES, _AXES, optional=_OPTIONAL))
        windows._require_whole()
        return windows

    def _require_whole(self) -> None:
        """Raises DamagedArtifact for targets or histories that do not lie inside what is there."""
        past = self.histories
        whole = past is not None or not set(_PAST) & self._arrays.keys()
        if past is not None:
            spans = [np.zeros(1, np.int64), past.start, past.stop, np.full(1, len(past.items))]
            whole = all(bool((earlier <= later).all()) for earlier, later in pairwise(spans))
        if self.targets is not None:
            whole &= bool(((self.targets >= 1) & (self.targets <= self.items.shape[1])).all())
        if not whole:
            raise DamagedArtifact(
                "expected windows whose targets and histories lie inside them, found others; restore the blob"
            )

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
        InputError: for no parts, or parts of different context lengths, or with and without times or targets.
    """
    lengths = {part.items.shape[1] for part in parts}
    if len(lengths) != 1:
        raise InputError(f"expected windows of one length to concatenate, found lengths {sorted(lengths)}")
    if len({part.times is None for part in parts}) != 1:
        raise InputError(
            "expected windows that all hold times, or none, found both; cut them with one configuration"
        )
    alike = [name for name in parts[0]._arrays if name not in ("targets", *_PAST)]
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in alike}
    return Windows(**arrays, targets=_joined_targets(parts))._with_past(_joined_past(parts))


def _joined_targets(parts: Sequence[Windows]) -> NDArray[np.int32] | None:
    """The targets of all parts; an empty part has them or not."""
    present = [part.targets for part in parts if part.targets is not None]
    if any(part.targets is None and len(part) for part in parts) and any(map(len, present)):
        raise InputError(
            "expected windows that all hold the number of their targets, or none, found both; cut them with one "
            "configuration"
        )
    return np.concatenate(present) if present and sum(map(len, present)) == sum(map(len, parts)) else None


def _joined_past(parts: Sequence[Windows]) -> Past | None:
    """The histories of all parts, with empty ones for those that have none; None where no part has any."""
    attached = {id(part.past): part.past for part in parts if part.past is not None}
    if not attached:
        return None
    sizes = np.array([len(items) for items in attached.values()])
    offsets = dict(zip(attached, (np.cumsum(sizes) - sizes).tolist(), strict=True))
    spans = []
    for part in parts:
        past, none = part.histories, np.zeros(len(part), np.int64)
        offset = 0 if past is None else offsets[id(past.items)]
        spans.append((none, none) if past is None else (past.start + offset, past.stop + offset))
    start, stop = (np.concatenate(arrays) for arrays in zip(*spans, strict=True))
    return Past(np.concatenate(list(attached.values())), start, stop)


@dataclass(frozen=True, eq=False)
class UncutWindows:
    """Windows of a log whose contexts are not laid out yet, to count or to sample them: a few numbers for each.

    by_user: the log.  items: int32 [p], the rows that contexts are spans of.  times: int64 [p], of them.  start, stop:
    int64 [n], a context's span is the last `length` rows of it.  row: int64 [n], of the target in by_user. known: bool by
    row of by_user, None for all. targets: int32 [n], as in `Windows`; None where nobody says. past: whether the whole
    span is attached.
    """

    by_user: _ByUser
    items: NDArray[np.int32]
    times: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    row: NDArray[np.int64]
    config: WindowConfig
    targets: NDArray[np.int32] | None = None
    known: NDArray[np.bool_] | None = None
    past: bool = False

    def __len__(self) -> int:
        return len(self.row)

    @property
    def user(self) -> NDArray[np.int32]:
        """int32 [n]: catalogue rows."""
        return self.by_user.user[self.row]

    @property
    def length(self) -> NDArray[np.int64]:
        """int64 [n]: context items."""
        return np.minimum(self.stop - self.start, self.config.length)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_] | slice) -> UncutWindows:
        """The windows of these rows (indices, mask or slice), in that order.

        Args:
            rows: indices, mask or slice.

        Returns:
            The windows.
        """
        targets = None if self.targets is None else self.targets[rows]
        return replace(self, start=self.start[rows], stop=self.stop[rows], row=self.row[rows], targets=targets)

    def cut(self) -> Windows:
        """The windows with their contexts.

        Returns:
            n windows.
        """
        length, by_user = self.config.length, self.by_user
        start = np.maximum(self.start, self.stop - length)
        target = by_user.item[self.row]
        if self.known is not None:
            target = np.where(self.known[self.row], target, np.int32(PAD))
        windows = Windows(
            _contexts(self.items, start, self.stop, length),
            target,
            self.user,
            by_user.time[self.row],
            _contexts(self.times, start, self.stop, length) if self.config.times else None,
            self.targets,
        )
        return windows._with_past(Past(self.items, self.start, self.stop)) if self.past else windows


def cut_windows(interactions: Interactions, config: WindowConfig, *, after: int | None = None) -> Windows:
    """The windows to train on: by user row, then in time order. With config.times they hold the times of their items.

    With config.context "history" every interaction with min_length items before it is a target of one window: the
    targets of a user are counted in blocks of `stride` from the last one back, and a window is a block and up to `length`
    items before its last target. With "slice" a window starts every `stride` items and its target follows its context:
    full windows hold `length` items; where min_length is shorter, the end of a user's history that fills no full window
    gives one more, so that its last item is a target too. "overlap" does the same over the whole log.

    Args:
        interactions: the log, in time order.
        config: length, stride, min_length, context and times.
        after: epoch seconds; only targets later than it. With config.context "slice" the context is later too. With
            "history" edits one after the other have each target once; with "overlap" each window.

    Returns:
        The windows.

    Raises:
        ConfigError: for a length that is not chosen yet.
    """
    return uncut_windows(interactions, config, after=after).cut()


def uncut_windows(interactions: Interactions, config: WindowConfig, *, after: int | None = None) -> UncutWindows:
    """The windows of `cut_windows` without their contexts.

    Args:
        interactions: the log, in time order.
        config: length, stride, min_length, context and times.
        after: epoch seconds, as for `cut_windows`.

    Returns:
        The windows.

    Raises:
        ConfigError: for a length that is not chosen yet.
    """
    _require_length(config)
    if after is not None and config.context == "slice":
        interactions, after = between(interactions, after, None), None
    rows = _by_user(interactions)
    if config.context == "history":
        start, stop, targets = _blocks(rows, config, after)
        return UncutWindows(rows, rows.item, rows.time, start, stop, stop, config, targets)
    start, stop = _window_spans(rows.begin, rows.end, config)
    if after is not None:
        new = rows.time[stop] > after
        start, stop = start[new], stop[new]
    return UncutWindows(rows, rows.item, rows.time, start, stop, stop, config)


def evaluation_windows(
    interactions: Interactions, config: WindowConfig, *, after: int | None = None, last_item: int | None = None
) -> Windows:
    """One window per interaction that has one before it, with its user's whole history attached, by user row, then in
    time order; with config.context "slice" or "overlap" what `cut_windows` gives.

    Args:
        interactions: the log, in time order.
        config: length, context and times.
        after: epoch seconds; only targets later than it.
        last_item: the last item row that a model knows. Later ones are passed over, and contexts reach further back
            instead, as `last_windows` of the known items has them; as a target such an item is PAD, a sure miss.

    Returns:
        The windows.

    Raises:
        ConfigError: for a length that is not chosen yet.
    """
    if config.context != "history":
        windows = cut_windows(interactions, config, after=after)
        return windows if last_item is None else windows.without_items_above(last_item)
    return uncut_evaluation_windows(interactions, config, after=after, last_item=last_item).cut()


def uncut_evaluation_windows(
    interactions: Interactions, config: WindowConfig, *, after: int | None = None, last_item: int | None = None
) -> UncutWindows:
    """The windows of `evaluation_windows` without their contexts.

    Args:
        interactions: the log, in time order.
        config: length, context and times.
        after: epoch seconds; only targets later than it.
        last_item: as for `evaluation_windows`, where config.context is "history"; None otherwise.

    Returns:
        The windows.

    Raises:
        ConfigError: for a length that is not chosen yet.
    """
    if config.context != "history":
        return uncut_windows(interactions, config, after=after)
    _require_length(config)
    rows = _by_user(interactions)
    row = np.flatnonzero(rows.eligible(1, after))
    first = row - rows.earlier_of(row)
    targets = np.ones(len(row), np.int32)
    if last_item is None:
        return UncutWindows(rows, rows.item, rows.time, first, row, row, config, targets, past=True)
    known = rows.item <= last_item
    before = np.append(0, np.cumsum(known))  # known rows before each
    items, times = rows.item[known], rows.time[known]
    return UncutWindows(rows, items, times, before[first], before[row], row, config, targets, known, past=True)


def _require_length(config: WindowConfig) -> None:
    if not config.length:
        raise ConfigError("expected a windows.length to cut windows of, found 0: let setup choose it first")


@dataclass(frozen=True, eq=False)
class _ByUser:
    """Interactions by user, then in the recorded order; users are [begin, end)."""

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    time: NDArray[np.int64]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]

    def eligible(self, least: int, after: int | None) -> NDArray[np.bool_]:
        """bool by row: at least so many items of its user lie before it, and it is later than `after`."""
        rows = np.ones(len(self.user), bool) if after is None else self.time > after
        for nth in range(least):
            rows[self.begin[self.begin + nth < self.end] + nth] = False
        return rows

    def earlier_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64: how many items of its user lie before each of some rows, which ascend."""
        return rows - self.begin[np.searchsorted(self.begin, rows, side="right") - 1]


def _by_user(interactions: Interactions) -> _ByUser:
    order, size = stable_order(interactions.user), np.bincount(interactions.user)
    users = np.flatnonzero(size)
    size = size[users]
    end = np.cumsum(size)
    user = np.repeat(users.astype(np.int32), size)
    return _ByUser(user, interactions.item[order], interactions.timestamp[order], end - size, end)


def _blocks(
    rows: _ByUser, config: WindowConfig, after: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Start, target row and number of targets of the window of every block."""
    eligible = rows.eligible(config.min_length, after)  # the end of each user's rows
    count = np.add.reduceat(eligible, rows.begin, dtype=np.int64) if len(eligible) else rows.begin
    blocks = -(-count // config.stride)
    back = np.repeat(np.cumsum(blocks), blocks) - 1 - np.arange(blocks.sum())  # .., 1, 0 within each user
    stop = np.repeat(rows.end, blocks) - 1 - back * config.stride
    targets = np.minimum(config.stride, np.repeat(count, blocks) - back * config.stride)
    start = np.maximum(np.repeat(rows.begin, blocks), stop - config.length)
    return start, stop, targets.astype(np.int32)


def histories_of(
    windows: Windows,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Every item of every history, window by window, the oldest first.

    Args:
        windows: n of them; the context is the history of one without an attached one.

    Returns:
        The window int64 [h], the item row int32 [h], and how many items of the history come after it, int32 [h].
    """
    n, length = len(windows), windows.length.astype(np.int64)
    past = windows.histories or Past(np.zeros(0, np.int32), np.zeros(n, np.int64), np.zeros(n, np.int64))
    attached = past.stop > past.start
    # Contexts stand behind the attached histories, so that both are spans of one array.
    values = np.concatenate([past.items, windows.items.ravel()])
    context = len(past.items) + np.arange(n) * windows.items.shape[1]
    start = np.where(attached, past.start, context)
    stop = np.where(attached, past.stop, context + length)
    slot = span_rows(start, stop)
    row = np.repeat(np.arange(n), stop - start)
    return row, values[slot], (stop[row] - 1 - slot).astype(np.int32)


Values = Sequence[int] | NDArray[np.integer[Any]]


def last_windows(histories: Sequence[Values], length: int, times: Sequence[Values] | None = None) -> Windows:
    """The last `length` items of each history of item rows, oldest first, as a context without a target.

    The whole history is attached.

    Args:
        histories: item rows of each, oldest first.
        length: context items.
        times: epoch seconds of the items, for a backbone that reads them.

    Returns:
        Windows whose target is PAD.
    """
    size = np.array([len(history) for history in histories], np.int64)
    stop = np.cumsum(size)

    def joined(values: Sequence[Values], kind: type[np.integer[Any]]) -> NDArray[Any]:
        return np.concatenate([np.zeros(0, kind), *(np.asarray(history, kind) for history in values)])

    past = Past(joined(histories, np.int32), stop - size, stop)
    return span_windows(past, length, None if times is None else joined(times, np.int64))


def span_windows(past: Past, length: int, times: NDArray[np.int64] | None = None) -> Windows:
    """The same of histories that are spans of one array.

    Args:
        past: n of them.
        length: context items.
        times: int64 [p], epoch seconds of the items, for a backbone that reads them.

    Returns:
        n windows whose target is PAD.
    """
    start = np.maximum(past.start, past.stop - length)
    none = np.zeros(len(start), np.int32)
    when = None if times is None else _contexts(times, start, past.stop, length)
    contexts = _contexts(past.items, start, past.stop, length)
    return Windows(contexts, none, none, none.astype(np.int64), when)._with_past(past)


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
