"""What the rows of one region say: which items its users take now, and which followed which.

A row belongs to the region where its user's history before it lies. Counts of rows add up, and popularity fades: an edit
adds those of its new rows to what is left of the older ones. A region that an edit does not touch keeps its bytes.
Legend: n rows, s items, p pairs of items, v item rows (row 0 is padding).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from raie.engine.arrays import stable_order
from raie.engine.bytes.arrays import pack, unpack
from raie.engine.errors import DamagedArtifact
from raie.engine.mixture.log_counts import PAIR_KINDS

__all__ = [
    "NEAR",
    "RegionCounts",
    "RegionRows",
    "count_regions",
    "pack_regions",
    "region_counts_summed",
    "unpack_regions",
]

NEAR = next(kind for kind in PAIR_KINDS if kind.name == "short")
"""How many items back a pair reaches, and what each step leaves of it."""
SLOWER = 8
"""Half-lives of the trend that make one of a region: it has fewer rows, so what it likes takes longer to see."""
_TYPES = {
    "item": np.int32,
    "popularity": np.float64,
    "first": np.int32,
    "following": np.int32,
    "pairs": np.float64,
}
_AXES = {"item": "s", "popularity": "s", "first": "p", "following": "p", "pairs": "p"}


@dataclass(frozen=True, eq=False)
class RegionRows:
    """Rows of a log, in any order, each with a history. region, item: int32 [n]. before: int32 [n, NEAR.context], the
    items before it, the newest first, 0 for none. age: int64 [n], how many rows of the log are newer.
    """

    region: NDArray[np.int32]
    item: NDArray[np.int32]
    before: NDArray[np.int32]
    age: NDArray[np.int64]

    def of(self, rows: NDArray[np.intp]) -> RegionRows:
        """Some of the rows.

        Args:
            rows: their numbers.

        Returns:
            The rows.
        """
        return RegionRows(self.region[rows], self.item[rows], self.before[rows], self.age[rows])


@dataclass(frozen=True, eq=False)
class RegionCounts:
    """Counts of the rows of one region.

    rows: how many rows the whole log had when they were counted; since then popularity has faded. half_life: of
    popularity, in rows of the log. item: int32 [s], ascending; popularity: float64 [s]. first, following: int32 [p],
    ascending together; pairs: float64 [p], how often the second came after the first.
    """

    rows: int
    half_life: float
    item: NDArray[np.int32]
    popularity: NDArray[np.float64]
    first: NDArray[np.int32]
    following: NDArray[np.int32]
    pairs: NDArray[np.float64]

    @staticmethod
    def empty(total: int, half_life: float) -> RegionCounts:
        """The counts of no row.

        Args:
            total: rows of the log.
            half_life: of the log's trend, in rows.

        Returns:
            The counts.
        """
        items, amounts = np.zeros(0, np.int32), np.zeros(0)
        return RegionCounts(total, SLOWER * half_life, items, amounts, items, items, amounts)

    def to_bytes(self) -> bytes:
        """Equal counts give equal bytes."""
        header = {"kind": "region_counts", "rows": self.rows, "half_life": self.half_life}
        return pack(header, {name: getattr(self, name) for name in _TYPES})

    @staticmethod
    def from_bytes(data: bytes) -> RegionCounts:
        """The inverse of `to_bytes`.

        Args:
            data: the stored bytes.

        Returns:
            The value that was stored.

        Raises:
            DamagedArtifact: for bytes that hold no such value.
        """
        header, arrays = unpack(data, "region_counts", _TYPES, _AXES)
        rows, half_life = header.get("rows"), header.get("half_life")
        sizes = isinstance(rows, int) and rows >= 0 and isinstance(half_life, float) and half_life > 0
        order = np.lexsort((arrays["following"], arrays["first"]))
        sorted_ = bool((np.diff(arrays["item"]) > 0).all()) and bool((order == np.arange(len(order))).all())
        counts = all(bool((np.isfinite(arrays[n]) & (arrays[n] >= 0)).all()) for n in ("popularity", "pairs"))
        items = all(bool((arrays[name] > 0).all()) for name in ("item", "first", "following"))
        if not (sizes and sorted_ and counts and items):
            raise DamagedArtifact("expected counts of a region in ascending order, found others; restore the blob")
        return RegionCounts(int(rows), float(half_life), **arrays)  # type: ignore[arg-type]


def pack_regions(counts: Mapping[int, RegionCounts]) -> bytes:
    """The counts of several regions as one blob.

    Args:
        counts: by region.

    Returns:
        Bytes; equal counts give equal ones.
    """
    parts = {region: np.frombuffer(counts[region].to_bytes(), np.uint8) for region in sorted(counts)}
    sizes = [len(part) for part in parts.values()]
    data = np.concatenate([np.zeros(0, np.uint8), *parts.values()])
    return pack({"kind": "regions_counts", "regions": [*parts], "sizes": sizes}, {"data": data})


def unpack_regions(data: bytes) -> dict[int, RegionCounts]:
    """The inverse of `pack_regions`.

    Args:
        data: the stored bytes.

    Returns:
        By region.

    Raises:
        DamagedArtifact: for bytes that hold no such value.
    """
    header, arrays = unpack(data, "regions_counts", {"data": np.uint8}, {"data": "b"})
    ends = np.cumsum([0, *header["sizes"]]).tolist()
    return {
        int(region): RegionCounts.from_bytes(arrays["data"][start:end].tobytes())
        for region, start, end in zip(header["regions"], ends, ends[1:], strict=False)
    }


def count_regions(rows: RegionRows, half_life: float) -> dict[int, RegionCounts]:
    """The counts of every region that has rows.

    Args:
        rows: n of them.
        half_life: of the log's trend, in rows.

    Returns:
        By region; they stand for themselves, as if the log had no other rows (`region_counts_summed`).
    """
    order = stable_order(rows.region)
    regions, start = np.unique(rows.region[order], return_index=True)
    parts = np.split(order, start[1:]) if len(regions) else []
    return {
        int(region): _counted(rows.of(part), SLOWER * half_life)
        for region, part in zip(regions.tolist(), parts, strict=True)
    }


def _counted(rows: RegionRows, half_life: float) -> RegionCounts:
    item, popularity = _added(rows.item, 0.5 ** (rows.age / half_life))
    steps = [
        (rows.before[:, back][known], rows.item[known], np.full(int(known.sum()), NEAR.fade**back))
        for back in range(NEAR.context)
        for known in (rows.before[:, back] > 0,)
    ]
    first, following, times = (np.concatenate(part) for part in zip(*steps, strict=True))
    return RegionCounts(0, half_life, item, popularity, *_added_pairs(first, following, times))


def region_counts_summed(
    older: RegionCounts | None, newer: RegionCounts | None, total: int, half_life: float
) -> RegionCounts:
    """The counts of a region's older and of its newer rows together.

    Args:
        older: None for none.
        newer: of rows after all of the older ones; None for none.
        total: rows of the log, the newer ones included.
        half_life: of the log's trend, in rows, for a region that has neither.

    Returns:
        The sum; the older ones as they are where nothing is newer.
    """
    if newer is None:
        return older or RegionCounts.empty(total, half_life)
    if older is None:
        return replace(newer, rows=total)
    left = older.popularity * math.pow(0.5, (total - older.rows) / older.half_life)
    item, popularity = _added(np.concatenate([older.item, newer.item]), np.concatenate([left, newer.popularity]))
    pairs = (
        np.concatenate([getattr(older, name), getattr(newer, name)]) for name in ("first", "following", "pairs")
    )
    return RegionCounts(total, older.half_life, item, popularity, *_added_pairs(*pairs))


def _added(
    keys: NDArray[np.integer], amounts: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    distinct, slot = np.unique(keys, return_inverse=True)
    return distinct.astype(np.int32), np.bincount(slot, amounts, minlength=len(distinct)).astype(np.float64)


def _added_pairs(
    first: NDArray[np.integer], following: NDArray[np.integer], times: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """The distinct pairs, ascending, and the sums of their times."""
    width = int(following.max(initial=0)) + 1
    distinct, slot = np.unique(first.astype(np.int64) * width + following, return_inverse=True)
    sums = np.bincount(slot, times, minlength=len(distinct)).astype(np.float64)
    return (distinct // width).astype(np.int32), (distinct % width).astype(np.int32), sums
