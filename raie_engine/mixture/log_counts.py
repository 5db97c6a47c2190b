"""What the rows of a log say without training: which item followed which, and how popular each one was.

Counts of rows add up: an edit adds those of its new rows. Every row counts, whether or not a window ends in it.
Legend: n interactions, v item rows (row 0 is padding), p pairs of items, c ways of counting a pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from raie.engine.arrays import earlier_rows, stable_order
from raie.engine.bytes.arrays import pack, unpack
from raie.engine.data.interactions import Interactions, between
from raie.engine.errors import DamagedArtifact

__all__ = ["PAIR_KINDS", "LogCounts", "PairKind", "count_rows", "summed"]

MOST_FOLLOWING = 400
"""Items that counts keep after each item, the most frequent of the widest kind."""
TREND_SHARE, LEAST_TREND = 0.02, 500
"""The half-life of the trend, in rows: a share of the setup's rows, and at least so many."""
_PAIRS_AT_A_TIME = 1 << 24
"""Pairs that are counted at a time; one takes some fifty bytes."""
_TYPES = {
    "start": np.int64,
    "following": np.int32,
    "pairs": np.float32,
    "popularity": np.float64,
    "trend": np.float64,
}
_AXES = {"start": "s", "following": "p", "pairs": "pc", "popularity": "v", "trend": "v"}


@dataclass(frozen=True)
class PairKind:
    """A way of counting pairs of one user's items.

    reach: how many steps apart two items may be. fade: what each step more leaves of a count. back: what the pair counts
    in the order in which it did not come. context, forget: how many items of a history speak, and what each step back
    leaves of what they say.
    """

    name: str
    reach: int
    fade: float
    back: float
    context: int
    forget: float


PAIR_KINDS = (
    PairKind("last", reach=1, fade=1.0, back=0.2, context=1, forget=1.0),
    PairKind("short", reach=4, fade=0.6, back=0.3, context=4, forget=0.6),
    PairKind("wide", reach=8, fade=0.8, back=0.3, context=20, forget=0.85),
)
"""From what followed at once to what belongs together; the widest comes last."""


@dataclass(frozen=True, eq=False)
class LogCounts:
    """Counts of the rows of a log, or of a part of it.

    rows: how many. half_life: of the trend, in rows. start: int64 [v + 1]; the items that came after x are
    following[start[x]:start[x + 1]], int32 [p]; pairs: float32 [p, c], how often, by PAIR_KINDS. popularity: float64 [v],
    rows of each item. trend: the same, a row fading by half with every half_life rows after it.
    """

    rows: int
    half_life: float
    start: NDArray[np.int64]
    following: NDArray[np.int32]
    pairs: NDArray[np.float32]
    popularity: NDArray[np.float64]
    trend: NDArray[np.float64]

    @staticmethod
    def empty(items: int) -> LogCounts:
        """The counts of no row.

        Args:
            items: the last item row.

        Returns:
            The counts.
        """
        v = items + 1
        none, zeros = np.zeros((0, len(PAIR_KINDS)), np.float32), np.zeros(v)
        return LogCounts(
            0, float(LEAST_TREND), np.zeros(v + 1, np.int64), np.zeros(0, np.int32), none, zeros, zeros
        )

    @property
    def items(self) -> int:
        """The last item row that is counted."""
        return len(self.popularity) - 1

    def to_bytes(self) -> bytes:
        """Equal counts give equal bytes."""
        header = {"kind": "log_counts", "rows": self.rows, "half_life": self.half_life}
        return pack(header, {name: getattr(self, name) for name in _TYPES})

    @staticmethod
    def from_bytes(data: bytes) -> LogCounts:
        """The inverse of `to_bytes`.

        Args:
            data: the stored bytes.

        Returns:
            The value that was stored.

        Raises:
            DamagedArtifact: for bytes that hold no such value.
        """
        header, arrays = unpack(data, "log_counts", _TYPES, _AXES)
        start, following, v = arrays["start"], arrays["following"], len(arrays["popularity"])
        whole = len(start) == v + 1 and start[0] == 0 and start[-1] == len(following)
        inside = bool(((following > 0) & (following < v)).all()) and bool((np.diff(start) >= 0).all())
        counts = all(
            bool((np.isfinite(arrays[name]) & (arrays[name] >= 0)).all())
            for name in ("pairs", "popularity", "trend")
        )
        kinds = arrays["pairs"].shape[1] == len(PAIR_KINDS)
        rows, half_life = header.get("rows"), header.get("half_life")
        sizes = isinstance(rows, int) and rows >= 0 and isinstance(half_life, float) and half_life > 0
        if not (whole and inside and counts and kinds and sizes):
            raise DamagedArtifact(
                f"expected counts of {max(v - 1, 0)} items that refer to one another, found others; restore the blob"
            )
        return LogCounts(int(rows), float(half_life), **arrays)  # type: ignore[arg-type]


def count_rows(
    interactions: Interactions,
    after: int | None,
    items: int,
    half_life: float | None = None,
    *,
    with_pairs: bool = True,
) -> LogCounts:
    """The counts that the rows later than `after` add.

    A pair belongs to the row of its later item, so that parts of one log never count a pair twice; its earlier item may
    be any row of the user.

    Args:
        interactions: the log in time order, with what came before where it is known.
        after: epoch seconds; None for all rows.
        items: the last item row that is counted.
        half_life: of the trend, in rows; None for the first counts, which choose it.
        with_pairs: whether pairs are counted, which takes most of the time.

    Returns:
        The counts.
    """
    new = between(interactions, after, None)
    half_life = half_life or float(max(LEAST_TREND, round(TREND_SHARE * len(new))))
    age = np.arange(len(new))[::-1]
    popularity = np.bincount(new.item, minlength=items + 1)[: items + 1].astype(np.float64)
    trend = np.bincount(new.item, 0.5 ** (age / half_life), minlength=items + 1)[: items + 1]
    start, following, pairs = (
        _counted_pairs(interactions, after, items + 1) if with_pairs else _grouped(*_added((), ()), items + 1)
    )
    return LogCounts(len(new), half_life, start, following, pairs, popularity, trend.astype(np.float64))


def _counted_pairs(
    interactions: Interactions, after: int | None, v: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """As `_grouped`, for some first items at a time, so that a long log's pairs are never in memory all at once."""
    rows = _rows_by_user(interactions, after, v)
    start, following, pairs = [np.zeros(1, np.int64)], [], []
    for first, last in _item_ranges(rows, v):
        begin, *kept = _grouped(*_pairs(rows, first, last, v), v)
        start.append(start[-1][-1] + begin[first + 1 : last + 1])
        following.append(kept[0])
        pairs.append(kept[1])
    return np.concatenate(start), np.concatenate(following), np.concatenate(pairs)


class _Rows(NamedTuple):
    """Rows by user, in time order. item: int32 [n].  back: uint8 [n], items of its user before it, up to the longest
    reach. pairs: bool [n], whether pairs belong to it. counted: bool [n], whether its item is.
    """

    item: NDArray[np.int32]
    back: NDArray[np.uint8]
    pairs: NDArray[np.bool_]
    counted: NDArray[np.bool_]


def _rows_by_user(interactions: Interactions, after: int | None, v: int) -> _Rows:
    order = stable_order(interactions.user)
    user, item = interactions.user[order], interactions.item[order]
    new = np.ones(len(item), bool) if after is None else interactions.timestamp[order] > after
    back = earlier_rows(user, PAIR_KINDS[-1].reach)
    counted = item < v
    return _Rows(item, back, new & counted, counted)


def _item_ranges(rows: _Rows, v: int) -> list[tuple[int, int]]:
    """Ranges of first items, each with about as many pairs as are counted at a time, or of one item."""
    near = np.zeros(len(rows.item), bool)  # a pair belongs to them or to one of the rows that follow
    reach = PAIR_KINDS[-1].reach
    for step in range(min(reach, len(near) - 1) + 1):
        near[: len(near) - step] |= rows.pairs[step:]
    weight = np.cumsum(2 * reach * np.bincount(rows.item[near & rows.counted], minlength=v))
    ends = np.unique(np.searchsorted(weight, np.arange(_PAIRS_AT_A_TIME, weight[-1], _PAIRS_AT_A_TIME)) + 1)
    edges = [0, *ends[ends < v].tolist(), v]
    return list(pairwise(edges))


def _pairs(rows: _Rows, least: int, below: int, v: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The distinct pairs as `first x v + second` of first items from `least` on and below `below`, ascending int64 [p],
    and how often they came, float64 [p, c].
    """
    item = rows.item
    mine = (item >= least) & (item < below)
    keys, counted = [], []
    for step in range(1, PAIR_KINDS[-1].reach + 1):
        paired = rows.pairs[step:] & (rows.back[step:] >= step) & rows.counted[:-step]
        forward = [kind.fade ** (step - 1) if step <= kind.reach else 0.0 for kind in PAIR_KINDS]
        backward = [weight * kind.back for weight, kind in zip(forward, PAIR_KINDS, strict=True)]
        for firsts, to_first, to_second, weights in (
            (mine[:-step], 0, step, forward),
            (mine[step:], step, 0, backward),
        ):
            row = np.flatnonzero(paired & firsts)
            if not len(row):
                continue
            pair = item[row + to_first].astype(np.int64) * v + item[row + to_second]
            distinct, times = np.unique(pair, return_counts=True)
            keys.append(distinct)
            counted.append(times[:, None] * np.array(weights))
    return _added(keys, counted)


def _added(
    keys: Sequence[NDArray[np.int64]], counts: Sequence[NDArray[np.floating]]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The distinct keys, ascending, and the sums of their counts."""
    if not keys:
        return np.zeros(0, np.int64), np.zeros((0, len(PAIR_KINDS)))
    distinct, slot = np.unique(np.concatenate(keys), return_inverse=True)
    stacked = np.concatenate(counts)
    sums = [np.bincount(slot, stacked[:, kind], minlength=len(distinct)) for kind in range(stacked.shape[1])]
    return distinct, np.stack(sums, axis=1)


def _grouped(
    keys: NDArray[np.int64], counts: NDArray[np.float64], v: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """The pairs by first item, of each the most frequent MOST_FOLLOWING: start, following and pairs."""
    first = keys // v
    order = np.lexsort((keys, -counts[:, -1], first))
    rank = np.arange(len(order)) - np.searchsorted(first, first)  # within its first item: first is sorted
    kept = np.sort(order[rank < MOST_FOLLOWING])
    start = np.searchsorted(first[kept], np.arange(v + 1)).astype(np.int64)
    return start, (keys[kept] % v).astype(np.int32), counts[kept].astype(np.float32)


def summed(parts: Sequence[LogCounts]) -> LogCounts:
    """The counts of all parts of a log together, as after the last one.

    Args:
        parts: of each part, one or more, oldest first; a later one may know more items.

    Returns:
        The counts.
    """
    if len(parts) == 1:
        return parts[0]
    items, half_life = max(part.items for part in parts), parts[0].half_life
    v = items + 1
    later_rows = np.cumsum([0] + [part.rows for part in parts[:0:-1]])[::-1]
    popularity, trend = np.zeros(v), np.zeros(v)
    for part, later in zip(parts, later_rows, strict=True):
        popularity[: part.items + 1] += part.popularity
        trend[: part.items + 1] += part.trend * 0.5 ** (later / half_life)
    firsts = [np.repeat(np.arange(part.items + 1), np.diff(part.start)) for part in parts]
    keys = [first * v + part.following for first, part in zip(firsts, parts, strict=True)]
    distinct, counts = _added(keys, [part.pairs for part in parts])
    start, following, pairs = _grouped(distinct, counts, v)
    rows = sum(part.rows for part in parts)
    return LogCounts(rows, half_life, start, following, pairs, popularity, trend)
