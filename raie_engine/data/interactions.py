"""A log file becomes `Interactions`: one recorded order, external ids mapped to rows, cut by time and digested.

n rows, sorted by (timestamp, row of the file): the recorded order of ties in time. Times are epoch seconds UTC.
Legend: n interactions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raie.engine.arrays import first_appearance, stable_order
from raie.engine.data.catalogue import PAD, Catalogue
from raie.engine.data.readers.columns import Columns
from raie.engine.data.readers.delimited import Delimited
from raie.engine.data.readers.files import RawLog, Reading, read_raw
from raie.engine.data.readers.ids import Codes
from raie.engine.data.readers.timestamps import iso, parse_time
from raie.engine.data.titles import read_titles, titles_beside
from raie.engine.data.watermark import Watermark
from raie.engine.errors import InputError

__all__ = [
    "Interactions",
    "between",
    "cut_time",
    "duplicate_rows",
    "end_time",
    "late_rows",
    "read_log",
    "watermark",
]

_CHUNK_ROWS = 1 << 22  # whatever takes several numbers per row takes them of so many at a time


@dataclass(frozen=True, eq=False)
class Interactions:
    """A log in its recorded order.

    user: int32 [n], 0-based rows.  item: int32 [n], 1-based rows.  timestamp: int64 [n], ascending.
    catalogue: what the rows mean; it may hold more ids than this log.  reading: what a file was read as.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    timestamp: NDArray[np.int64]
    catalogue: Catalogue
    reading: Reading | None = None

    def __len__(self) -> int:
        return len(self.timestamp)

    def of(self, rows: NDArray[np.bool_]) -> Interactions:
        """Some of the rows, with the same catalogue.

        Args:
            rows: mask [n].

        Returns:
            The rows in the same order.
        """
        return Interactions(self.user[rows], self.item[rows], self.timestamp[rows], self.catalogue)

    @cached_property
    def digest(self) -> str:
        """sha256 over external ids and timestamps in recorded order.

        The same interactions have the same digest whatever the file's format and the catalogue's rows are: ids are
        hashed as a list in order of first appearance in this log, then as positions in that list.
        """
        digest = hashlib.sha256(b"raie interactions 1\n")
        users, items = self.catalogue.users, self.catalogue.items
        for rows, texts, first in ((self.user, users, 0), (self.item, items, 1)):
            appearance = first_appearance(rows - first, len(texts))
            position = np.zeros(len(texts), dtype="<i4")
            position[appearance] = np.arange(len(appearance))
            digest.update(json.dumps([texts[row] for row in appearance], separators=(",", ":")).encode())
            for start in range(0, len(rows), _CHUNK_ROWS):
                digest.update(position[rows[start : start + _CHUNK_ROWS] - first].data)
        digest.update(np.ascontiguousarray(self.timestamp, dtype="<i8").data)
        return digest.hexdigest()


def read_log(
    path: str | Path,
    columns: Columns = Columns(),  # noqa: B008 (frozen)
    *,
    min_rating: float | None = None,
    duplicates: str = "error",
    titles: str | Path | None = None,
    catalogue: Catalogue | None = None,
    separator: str | None = None,
    header: bool = True,
    without_users: Collection[str] = (),
) -> Interactions:
    """Read a log of any known kind, as docs/configuration.md lists them.

    Args:
        path: the file.
        columns: names of the columns by role.
        min_rating: keep rows rated at least this.
        duplicates: what to do with rows of one user, item and second: "error", "drop" (the first stays) or "keep".
        titles: a file with the titles of the items; without one they are read from the log's own column of titles, if
            one is named.
        catalogue: an older one whose ids keep their rows and titles.
        separator: of a file of text, None to look for it.
        header: whether a file of text has one; without, columns are named by their numbers.
        without_users: external ids of users whose rows are left out, as if the log had never held them.

    Returns:
        The interactions in time order; rows of one time keep the file's order.

    Raises:
        InputError: for anything in the file that cannot be used, with the row and the way out.
    """
    if duplicates not in ("error", "drop", "keep"):
        raise InputError(f"--duplicates: expected error, drop or keep, found {duplicates!r}")
    raw = read_raw(path, columns, with_rating=min_rating is not None, cut=Delimited(separator, header))
    kept = None if min_rating is None else _rated(raw, min_rating, path)
    if without_users:
        kept = _of_others(raw, kept, without_users)
    order = _time_order(raw.timestamp, kept)
    timestamp, user, item = raw.timestamp, raw.user.codes, raw.item.codes
    if order is not None:
        timestamp, user, item = timestamp[order], user[order], item[order]
    if duplicates != "keep":
        again = duplicate_rows(user, item, timestamp, len(raw.user.texts), len(raw.item.texts))
        if duplicates == "error" and len(again):
            raise _duplicate_error(path, raw, again if order is None else order[again], len(again))
        if len(again):
            user, item = np.delete(user, again), np.delete(item, again)
            timestamp = np.delete(timestamp, again)
    known = catalogue or Catalogue()
    user, users = _to_rows(user, raw.user, known.users)
    item, items = _to_rows(item, raw.item, known.items)
    grown = Catalogue(users, items, known.titles)
    reading = raw.reading
    beside = titles_beside(Path(path), reading.columns) if titles is None and columns.title is None else None
    if beside is not None:
        reading = replace(reading, titles=beside, notes=(*reading.notes, f"titles are read from {beside.name}"))
    if titles is not None or columns.title is not None or beside is not None:
        item_titles = read_titles(titles or beside or path, reading.columns)
        grown = grown.with_titles(item_titles, since=len(known.items))
    return Interactions(user, item + np.int32(PAD + 1), timestamp, grown, reading)


def _rated(raw: RawLog, min_rating: float, path: str | Path) -> NDArray[np.int64]:
    """File rows rated at least min_rating."""
    assert raw.rating is not None
    kept = np.flatnonzero(raw.rating >= min_rating)
    if not len(kept):
        raise InputError(
            f"{path}: expected rows rated {min_rating:g} or more, found none among {len(raw.rating)} "
            f"(the highest rating is {raw.rating.max():g}); lower --min-rating"
        )
    return kept


def _of_others(raw: RawLog, kept: NDArray[np.int64] | None, users: Collection[str]) -> NDArray[np.int64]:
    """File rows, of `kept` where that is given, that are of none of the users."""
    codes = [code for code, text in enumerate(raw.user.texts) if text in users]
    rows = np.arange(len(raw.timestamp)) if kept is None else kept
    return rows[~np.isin(raw.user.codes[rows], codes)]


def _time_order(timestamp: NDArray[np.int64], kept: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
    """File rows by (timestamp, file row); None for all of them as they are."""
    times = timestamp if kept is None else timestamp[kept]
    if (times[1:] >= times[:-1]).all():
        return kept
    order = stable_order(times)
    return order if kept is None else kept[order]


def duplicate_rows(
    user: NDArray[np.int32], item: NDArray[np.int32], timestamp: NDArray[np.int64], users: int, items: int
) -> NDArray[np.int64]:
    """Rows that repeat an earlier (user, item, timestamp), in ascending order.

    Args:
        user: int32 [n], below `users`.
        item: int32 [n], below `items`.
        timestamp: int64 [n], ascending.
        users: how many.
        items: how many.

    Returns:
        int64.
    """
    repeated, start = [np.empty(0, dtype=np.int64)], 0
    while start < len(timestamp):
        last = timestamp[min(start + _CHUNK_ROWS, len(timestamp)) - 1]
        rows = slice(start, int(np.searchsorted(timestamp, last, side="right")))  # no second is cut
        repeated.append(start + _repeated(user[rows], item[rows], timestamp[rows], users, items))
        start = rows.stop
    return np.concatenate(repeated)


def _repeated(
    user: NDArray[np.int32], item: NDArray[np.int32], timestamp: NDArray[np.int64], users: int, items: int
) -> NDArray[np.int64]:
    same = timestamp[1:] == timestamp[:-1]
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    pair = user[tied].astype(np.int64) * items + item[tied]  # < users * items
    times = timestamp[tied]
    if not _any_repeated(pair, times, users * items):
        return np.empty(0, dtype=np.int64)
    order = np.lexsort((pair, times))
    repeated = (pair[order[1:]] == pair[order[:-1]]) & (times[order[1:]] == times[order[:-1]])
    return np.sort(tied[order[1:][repeated]])


def _any_repeated(pair: NDArray[np.int64], times: NDArray[np.int64], pairs: int) -> bool:
    """Whether any (pair, time) comes twice; one plain sort, which is many times faster than finding which."""
    if not len(times):
        return False
    moment = np.cumsum(np.append(False, times[1:] != times[:-1]))
    if (int(moment[-1]) + 1) * pairs >= 2**63:
        return True
    key = np.sort(moment * pairs + pair)
    return bool((key[1:] == key[:-1]).any())


def _duplicate_error(path: str | Path, raw: RawLog, rows: NDArray[np.int64], count: int) -> InputError:
    row = int(rows.min())
    user = raw.user.texts[raw.user.codes[row]]
    item = raw.item.texts[raw.item.codes[row]]
    return InputError(
        f"{path}: expected each user, item and timestamp once, found {count} duplicate row{'s' * (count > 1)}, "
        f"the first in row {row + 1} (user {user}, item {item}, {iso(int(raw.timestamp[row]))}); "
        "choose --duplicates drop or --duplicates keep"
    )


def _to_rows(
    codes: NDArray[np.int32], raw: Codes, known: tuple[str, ...]
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Codes of one file as catalogue rows from 0, and the catalogue's ids with the new ones appended."""
    appearance = first_appearance(codes, len(raw.texts))
    texts = [raw.texts[code] for code in appearance.tolist()]
    rows: list[int] | range = range(len(texts))
    if known or len(row_of_id := dict(zip(texts, rows, strict=True))) < len(texts):
        row_of_id = dict(zip(known, range(len(known)), strict=True))
        rows = [row_of_id.setdefault(text, len(row_of_id)) for text in texts]
    row_of = np.zeros(len(raw.texts), dtype=np.int32)
    row_of[appearance] = rows
    as_coded = bool((row_of == np.arange(len(row_of))).all())  # as a sorted log of new ids has it
    return codes if as_coded else row_of[codes], tuple(row_of_id)


def end_time(interactions: Interactions, until: str | None) -> int | None:
    """Up to when a log is used.

    Args:
        interactions: the log, in time order.
        until: as `at` of `cut_time`; None for all of it.

    Returns:
        Epoch seconds; None for all of it.
    """
    return None if until is None else cut_time(interactions, until)


def cut_time(interactions: Interactions, at: str) -> int:
    """A point in time.

    Args:
        interactions: the log, in time order.
        at: a quantile of the timestamps ("0.5"), an ISO date or datetime, or seconds.

    Returns:
        Epoch seconds.

    Raises:
        InputError: for text that is none of them, or a quantile of no rows.
    """
    time = parse_time(at)
    if time is not None:
        return time
    try:
        quantile = float(at)
    except ValueError:
        quantile = -1.0
    if not 0 < quantile < 1:
        raise InputError(
            "expected a quantile between 0 and 1 (0.5), a date (2000-10-27), a datetime or epoch seconds, "
            f"found {at!r}"
        )
    if not len(interactions):
        raise InputError(f"expected interactions to take the quantile {at} of, found none")
    return int(np.quantile(interactions.timestamp, quantile))


def between(interactions: Interactions, after: int | None, until: int | None) -> Interactions:
    """The rows with after < timestamp <= until, with the same catalogue.

    Args:
        interactions: the log, in time order.
        after: epoch seconds; None for the beginning.
        until: epoch seconds; None for the end.

    Returns:
        The rows in the same order.
    """
    times = interactions.timestamp
    start = 0 if after is None else int(np.searchsorted(times, after, side="right"))
    stop = len(times) if until is None else int(np.searchsorted(times, until, side="right"))
    rows = slice(start, max(start, stop))
    return Interactions(interactions.user[rows], interactions.item[rows], times[rows], interactions.catalogue)


def watermark(interactions: Interactions, until: int | None = None) -> Watermark:
    """The watermark after consuming the log up to and including `until`; without it, the whole log.

    It never lies behind the last row: what comes between that and `until` has not been seen, and is for a later edit.

    Args:
        interactions: the log, in time order.
        until: epoch seconds; None for the whole log.

    Returns:
        The watermark.

    Raises:
        InputError: where the log is empty.
    """
    if not len(interactions):
        raise InputError("expected interactions to place a watermark after, found none")
    last = int(interactions.timestamp[-1])
    until = last if until is None else min(until, last)
    return Watermark(until, len(between(interactions, None, until)))


def late_rows(interactions: Interactions, mark: Watermark) -> int:
    """Late-arriving rows: those at or before the watermark that came after it was set; no edit will ever take them.

    Args:
        interactions: the log, in time order.
        mark: the watermark.

    Returns:
        How many; 0 for a log that holds only newer rows.
    """
    return max(0, len(between(interactions, None, mark.timestamp)) - mark.rows)
