"""All users of a log, with no more of the log in memory than a share of its users.

The log is read once, some rows at a time, and dealt out to files by a hash of the user; a user's rows lie in one of them,
in the log's order. Each file is then grouped by user, as a small log would be.
Legend: n rows of a file, u users of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.ipc
from numpy.typing import NDArray

from raie.batch.block import BLOCK_USERS, Block, block_of
from raie.engine.arrays import stable_order
from raie.engine.data.interactions import duplicate_rows
from raie.engine.data.readers.delimited import Delimited
from raie.engine.data.readers.files import RawLog, checked_files, stream_raw
from raie.engine.errors import InputError
from raie.engine.model import ModelView
from raie.logs.log_reading import later_settings, read_later_log
from raie.registry.durable import sync_folder

__all__ = ["UsersOfLog"]

_FILE_BYTES = 1 << 25
"""Bytes of a log for each file that its users are dealt out to; grouping them takes some ten times as much memory."""
_MOST_FILES = 512
_SCHEMA = pa.schema([("user", pa.string()), ("item", pa.int32()), ("time", pa.int64())])
_DEALT = "users"
_OF_A_FILE = 1_000  # steps of progress


@dataclass(frozen=True)
class UsersOfLog:
    """The users of a log.

    Attributes:
        path: The log, a file, a folder of Parquet parts, or a pattern.
        reading: Options that differ from the setup's.
    """

    path: Path
    reading: Mapping[str, Any] = field(default_factory=dict)

    def require(self, view: ModelView) -> None:
        """Refuse a log that is not there.

        Raises:
            InputError: It is not.
        """
        try:
            checked_files(self.path)
        except InputError:
            read_later_log(view, self.path, self.reading)  # which says so as every command does
            raise

    def blocks(self, view: ModelView, folder: Path) -> Iterator[tuple[Block, int, int]]:
        """The histories of all users, in an order that depends on their ids and on the log's size alone.

        Args:
            view: The snapshot.
            folder: Where the dealt-out rows lie until the caller deletes it; what is there already is read again.

        Yields:
            A block, and how much of the log is read, as two numbers.

        Raises:
            InputError: The log cannot be used; the same line as of any other command.
        """
        try:
            files = self._dealt(view, folder)
            duplicates = later_settings(view, self.reading).duplicates
            for number, file in enumerate(files):
                for block, share in _grouped(file, view, duplicates, self.path):
                    yield block, round(_OF_A_FILE * (number + share)), _OF_A_FILE * len(files)
        except InputError:
            # Counted from the beginning of some rows, or of a file of ours: the whole log has the row to name.
            read_later_log(view, self.path, self.reading)
            raise

    def _dealt(self, view: ModelView, folder: Path) -> list[Path]:
        done, count = folder / _DEALT, self._files()
        if not done.is_dir():
            partial = folder / f"{_DEALT}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            self._deal(view, partial, count)
            partial.rename(done)
            sync_folder(folder)
        return [done / f"{number:04}.arrow" for number in range(count)]

    def _files(self) -> int:
        """How many files, by the log's size, so that a log is dealt out the same way every time."""
        if self.path.is_dir():
            parts = [part for part in self.path.rglob("*") if part.is_file()]
        else:
            parts = [file.path for file in checked_files(self.path)]
        size = sum(part.stat().st_size for part in parts)
        return min(_MOST_FILES, size // _FILE_BYTES + 1)

    def _deal(self, view: ModelView, folder: Path, count: int) -> None:
        settings = later_settings(view, self.reading)
        row_of = {item: row for row, item in enumerate(view.catalogue.items, start=1)}
        cut = Delimited(settings.separator, settings.header)
        rated = settings.min_rating is not None
        rows = 0
        with ExitStack() as stack:
            writers = [
                stack.enter_context(pa.ipc.new_file(str(folder / f"{number:04}.arrow"), _SCHEMA))
                for number in range(count)
            ]
            for raw in stream_raw(self.path, settings.columns, with_rating=rated, cut=cut):
                table, file = _rows(raw, row_of, settings.min_rating, count)
                order = np.argsort(file, kind="stable")
                edges = np.searchsorted(file[order], np.arange(count + 1))
                table = table.take(pa.array(order))
                for number in np.flatnonzero(np.diff(edges)):
                    writers[number].write_table(table[edges[number] : edges[number + 1]])
                rows += len(table)
        if not rows:
            raise InputError(f"{self.path}: expected interactions, found none that count")


def _rows(
    raw: RawLog, row_of: dict[str, int], min_rating: float | None, count: int
) -> tuple[pa.Table, NDArray[np.int64]]:
    """Rows with an item's number, which goes on after the last item row for new items, and the file of each."""
    kept = slice(None) if raw.rating is None or min_rating is None else raw.rating >= min_rating
    numbers = np.array([row_of.setdefault(text, len(row_of) + 1) for text in raw.item.texts], np.int32)
    # Not Python's hash, which differs from process to process.
    files = pandas.util.hash_array(np.array(raw.user.texts, object), categorize=False) % np.uint64(count)
    user = raw.user.codes[kept]
    columns = [
        pa.array(raw.user.texts, pa.string()).take(pa.array(user)),
        pa.array(numbers[raw.item.codes[kept]]),
        pa.array(raw.timestamp[kept]),
    ]
    return pa.table(columns, _SCHEMA), files.astype(np.int64)[user]


def _grouped(file: Path, view: ModelView, duplicates: str, log: Path) -> Iterator[tuple[Block, float]]:
    """The users of one file, in the order of their first row in the log, and the share of them so far."""
    with pa.OSFile(str(file)) as stream:
        table = pa.ipc.open_file(stream).read_all()
    if not len(table):
        return
    encoded = table["user"].combine_chunks().dictionary_encode()
    time = np.asarray(table["time"].to_numpy(), np.int64)
    order = stable_order(time)
    user, item = (
        np.asarray(values.to_numpy(zero_copy_only=False), np.int32)[order]
        for values in (encoded.indices, table["item"].combine_chunks())
    )
    time = time[order]
    if duplicates != "keep":
        again = duplicate_rows(user, item, time, len(encoded.dictionary), int(item.max()) + 1)
        if len(again) and duplicates == "error":
            raise InputError(f"{log}: expected each user, item and timestamp once, found {len(again)} duplicates")
        user, item, time = np.delete(user, again), np.delete(item, again), np.delete(time, again)
    known = np.where(item <= len(view.catalogue.items), item, 0)
    order = stable_order(user)
    size = np.bincount(user, minlength=len(encoded.dictionary))
    stop = np.append(0, np.cumsum(size))
    for first in range(0, len(size), BLOCK_USERS):
        last = min(first + BLOCK_USERS, len(size))
        rows = order[stop[first] : stop[last]]
        yield block_of(encoded.dictionary[first:last], known[rows], size[first:last], time[rows]), last / len(size)
