"""A log of what was served: time, snapshot, region, and the user only where that was asked for; as Parquet.

Rows are written by a thread of their own. What cannot be written, on a full disk for instance, is counted and left out:
a request never waits for its log and never fails with it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from raie.engine.answers import Answer
from raie.errors import RaieError, UsageError
from raie.output_files import require_free, whole_file

if TYPE_CHECKING:
    from raie.serving.metrics import Metrics

__all__ = ["FIELDS", "FORMAT_KEY", "RequestLog", "read_requests", "rows_of_user"]

_log = logging.getLogger(__name__)

FORMAT_KEY, _FORMAT = b"raie.requests", b"1"
FIELDS = (
    ("time", pa.timestamp("us", "UTC")),
    ("snapshot", pa.string()),
    ("region", pa.int32()),
    ("ignored", pa.int32()),
)
_USER = ("user", pa.string())
_FLUSH_S, _FLUSH_ROWS, _MOST_ROWS = 60.0, 50_000, 500_000

_Row = tuple[float, str, int | None, int, str | None]


class RequestLog:
    """Logs the rows of requests.

    A path that ends in .parquet is one file, whole once the server stops. Any other is a folder of files, each whole and
    readable while the server goes on.

    Args:
        path: The file or the folder.
        users: Whether the user of a row is logged, where the request names one.
        flush_s: Seconds after which rows are written to a folder.

    Raises:
        RaieError: The file is there already.
    """

    metrics: Metrics

    def __init__(self, path: Path, *, users: bool = False, flush_s: float = _FLUSH_S) -> None:
        self._path, self._users, self._flush_s = path, users, flush_s
        self._rows: list[_Row] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopped = False
        self._numbers = count(1)
        self._one_file = path.suffix == ".parquet"
        self._opened: tuple[ExitStack, pq.ParquetWriter] | None = None
        fields = [pa.field(name, kind) for name, kind in (*FIELDS, *((_USER,) if users else ()))]
        self._schema = pa.schema(fields, metadata={FORMAT_KEY: _FORMAT})
        if self._one_file:
            require_free(path, replace=False, advice="name a folder")
        else:
            path.mkdir(parents=True, exist_ok=True)
        self._thread = threading.Thread(target=self._work, name="raie-request-log", daemon=True)

    def start(self) -> None:
        """Begin to write, in a thread of its own."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Write what is there and end, within this many seconds."""
        self._stopped = True
        self._wake.set()
        self._thread.join(timeout_s)

    def offer(self, made: Sequence[Answer], users: Sequence[str | None]) -> None:
        """Log one request; never waits.

        Args:
            made: Its answers.
            users: Of each, who asked, where the request says so.
        """
        now = time.time()
        rows = [
            (now, a.snapshot, a.region, a.ignored, _storable(user)) for a, user in zip(made, users, strict=True)
        ]
        with self._lock:
            room = max(0, _MOST_ROWS - len(self._rows))
            self._rows += rows[:room]
            full = len(self._rows) >= _FLUSH_ROWS
        if room < len(rows):
            self.metrics.log_rows_lost.inc(len(rows) - room)
        if full:
            self._wake.set()

    def _work(self) -> None:
        while not self._stopped:
            self._wake.wait(self._flush_s)
            self._wake.clear()
            self._flush()
        self._flush()
        self._close()

    def _flush(self) -> None:
        with self._lock:
            rows, self._rows = self._rows, []
        if not rows:
            return
        try:
            table = self._table(rows)
            if self._one_file:
                self._writer().write_table(table)
            else:
                self._write_part(table)
        except Exception as error:  # the log is lost, and the requests go on
            self.metrics.log_rows_lost.inc(len(rows))
            _log.warning("log of requests: %d rows lost: %s: %s", len(rows), type(error).__name__, error)

    def _table(self, rows: Sequence[_Row]) -> pa.Table:
        when, *others = zip(*rows, strict=True)
        columns: list[Any] = [[datetime.fromtimestamp(at, UTC) for at in when], *others]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=False)]
        return pa.Table.from_arrays(arrays, schema=self._schema)

    def _write_part(self, table: pa.Table) -> None:
        at = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        name = f"requests-{at}-{os.getpid()}-{next(self._numbers)}.parquet"
        with whole_file(self._path / name, replace=False) as stream:
            pq.write_table(table, stream)

    def _writer(self) -> pq.ParquetWriter:
        """Of the one file, whose bytes take its name when the log is closed."""
        if self._opened is None:
            stack = ExitStack()
            stream = stack.enter_context(whole_file(self._path, replace=False))
            self._opened = stack, pq.ParquetWriter(stream, self._schema)
        return self._opened[1]

    def _close(self) -> None:
        if self._opened is None:
            return
        stack, writer = self._opened
        try:
            with stack:
                writer.close()
        except (OSError, RaieError, pa.ArrowException) as error:
            _log.warning("log of requests: %s is lost: %s: %s", self._path, type(error).__name__, error)


def _storable(user: str | None) -> str | None:
    """A user as UTF-8 can hold it: JSON can name half a character, with which the whole file would be lost."""
    return None if user is None else user.encode("utf-8", "replace").decode("utf-8")


def read_requests(path: Path) -> pa.Table:
    """The rows of a log of requests.

    Args:
        path: The file, or the folder of files.

    Returns:
        Columns time, snapshot, region and ignored, and user where it was logged.

    Raises:
        UsageError: There is no such log.
    """
    wanted = [name for name, _ in FIELDS]
    return pa.concat_tables([_read(file).select(wanted) for file in _files(path)])


def rows_of_user(path: Path, user: str) -> list[tuple[Path, int]]:
    """The files of a log of requests that name a user, each with how many rows do.

    Args:
        path: The file, or the folder of files.
        user: The user's id, as requests name it.

    Raises:
        UsageError: There is no such log.
    """
    name = _USER[0]
    tables = ((file, _read(file)) for file in _files(path))
    counts = [(file, table[name].to_pylist().count(user)) for file, table in tables if name in table.column_names]
    return [(file, count) for file, count in counts if count]


def _files(path: Path) -> list[Path]:
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise UsageError(f"expected a log of requests in {path}, found no .parquet file; `raie serve` writes them")
    return files


def _read(file: Path) -> pa.Table:
    try:
        table = pq.ParquetFile(file).read()
    except (OSError, pa.ArrowException) as error:
        problem = "no such file" if isinstance(error, FileNotFoundError) else "no Parquet file"
        raise UsageError(
            f"expected a log of requests in {file}, found {problem}; `raie serve` writes it"
        ) from error
    if (table.schema.metadata or {}).get(FORMAT_KEY) != _FORMAT:
        raise UsageError(
            f"expected a log of requests as `raie serve --log-requests` writes it in {file}, found another table"
        )
    return table
