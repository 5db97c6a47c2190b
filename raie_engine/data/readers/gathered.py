"""The rows of a log gathered batch by batch: 16 bytes per row, and each distinct id once, never a text per row.

A column of ids becomes codes, times become seconds. Whatever depends on all rows, as whether numbers are dates, is left
to whoever reads the whole; what is out of the ordinary in a batch is refused, for the reader of whole files to name.
Legend: n rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raie.engine.data.arrow import from_numpy, to_numpy
from raie.engine.data.readers.ids import encoded_ids
from raie.engine.data.readers.timestamps import epoch_seconds

__all__ = ["NotPlain", "gathered"]

_MERGED_ROWS = 4_000_000  # rows whose dictionaries are merged at a time; each merge reads all ids again
_ENCODED_ROWS = 1_000_000  # rows of text that wait for their codes

_DATED = pa.timestamp("s")


class NotPlain(Exception):
    """Batches that differ in type, or values that are missing: only a reader of the whole can say what is wrong."""


def gathered(tables: Iterable[pa.Table], ratings: Callable[[pa.ChunkedArray], NDArray[np.float64]]) -> pa.Table:
    """One table of all rows.

    Args:
        tables: columns user, item and time, and rating where it is wanted; of any type.
        ratings: how a column of ratings becomes numbers.

    Returns:
        user and item dictionary-encoded, time int64 epoch seconds or timestamp[s], rating float64; one chunk each.

    Raises:
        NotPlain: for batches that do not make one column, and missing values.
        InputError: for a value of the wrong type; the row that it names counts from the beginning of its batch.
    """
    users, items, times, rated = _Ids(), _Ids(), _Times(), []
    for table in tables:
        if not table.num_rows:
            continue
        users.add(table["user"])
        items.add(table["item"])
        times.add(table["time"])
        if "rating" in table.column_names:
            rated.append(ratings(table["rating"]))
    columns = {"user": users.column(), "item": items.column(), "time": times.column()}
    return pa.table(columns | ({"rating": from_numpy(_joined(rated), pa.float64())} if rated else {}))


class _Ids:
    """A column of ids: codes, and the distinct ids in order of first appearance."""

    def __init__(self) -> None:
        self._distinct: Any = None
        self._codes: list[NDArray[np.int32]] = []
        self._raw: list[Any] = []
        self._raw_rows = 0
        self._encoded: list[Any] = []

    def add(self, column: pa.ChunkedArray) -> None:
        if column.null_count or (self._raw and self._raw[0].type != column.type):
            raise NotPlain
        self._raw += column.chunks
        self._raw_rows += len(column)
        if self._raw_rows >= _ENCODED_ROWS:
            self._encode()

    def _encode(self) -> None:
        raw, self._raw, self._raw_rows = pa.chunked_array(self._raw), [], 0
        chunks = encoded_ids(raw).chunks
        before = self._encoded[0].dictionary if self._encoded else self._distinct
        if before is not None and before.type != chunks[0].dictionary.type:
            raise NotPlain
        if not pa.types.is_dictionary(raw.type):  # its chunks were encoded together
            codes = _joined([to_numpy(chunk.indices) for chunk in chunks])
            chunks = [_coded(codes, chunks[0].dictionary)]
        self._encoded += chunks
        if sum(map(len, self._encoded)) >= _MERGED_ROWS:
            self._merge()

    def _merge(self) -> None:
        known = [] if self._distinct is None else [_coded(np.empty(0, np.int32), self._distinct)]
        merged = pa.chunked_array([*known, *self._encoded])
        if merged.num_chunks > 1:
            merged = merged.unify_dictionaries()
        # Codes given before stay what they are: ids that are known come first.
        self._codes += [to_numpy(chunk.indices) for chunk in merged.chunks]
        self._distinct, self._encoded = merged.chunk(0).dictionary, []

    def column(self) -> Any:
        if self._raw:
            self._encode()
        if self._encoded:
            self._merge()
        if self._distinct is None:
            return pa.nulls(0, pa.dictionary(pa.int32(), pa.string()))
        codes, self._codes = _joined(self._codes), []
        return _coded(codes, self._distinct)


def _coded(codes: NDArray[np.int32], distinct: Any) -> Any:
    return pa.DictionaryArray.from_arrays(from_numpy(codes, pa.int32()), distinct, safe=False)


class _Times:
    """A column of times, all of them dated or none."""

    def __init__(self) -> None:
        self._seconds: list[NDArray[np.int64]] = []
        self._dated: bool | None = None

    def add(self, column: pa.ChunkedArray) -> None:
        if column.null_count:
            raise NotPlain
        seconds, dated = epoch_seconds(column, "time")
        if self._dated not in (None, dated):
            raise NotPlain
        self._dated = dated
        self._seconds.append(seconds)

    def column(self) -> Any:
        if not self._seconds:
            return pa.nulls(0, pa.int64())
        seconds, self._seconds = _joined(self._seconds), []
        return from_numpy(seconds, _DATED if self._dated else pa.int64())


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """One array; that of a single part is not copied."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
