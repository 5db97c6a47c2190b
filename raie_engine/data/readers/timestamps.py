"""Timestamps of any spelling become epoch seconds UTC, or an error that names the row and the likely mistake.

Integers and floats are epoch seconds, unless all are dates such as 20240131; ISO dates and datetimes, as text or as a
column type, are converted, and one without a time zone is UTC.
Legend: n rows of the log.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raie.engine.data.arrow import first_true, rows_true, to_numpy, whole
from raie.engine.data.readers.calendar import calendar_date, calendar_seconds, looks_like_days
from raie.engine.errors import InputError

__all__ = ["EARLIEST_PLAUSIBLE", "epoch_seconds", "iso", "parse_time", "read_times"]

EARLIEST_PLAUSIBLE = 631_152_000
"""1990-01-01; earlier than any log of clicks or ratings, later than any row number up to six hundred million."""

# 5138-11-16 in seconds; 1973-03-03 in milliseconds: no log of seconds reaches it, every one of milliseconds does.
_MOST_SECONDS = 100_000_000_000
_MOST_DIGITS = 18  # more do not fit 64 bits
_NUMBER = r"^[+-]?\d+(\.\d*)?([eE][+]?\d+)?$"
_DATE = r"^\d{4}-\d\d-\d\d([ T]\d\d(:\d\d(:\d\d(\.\d+)?)?)?(Z|[+-]\d\d(:?\d\d)?)?)?$"
_NAMED_ZONE = r"(\d) ?(UTC|GMT|utc|z)$"
_ZONE = r"[ T].*(Z|[+-]\d\d(:?\d\d)?)$"


def read_times(
    column: pa.ChunkedArray, where: str, *, milliseconds: bool = False
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """A column of times as epoch seconds UTC, fractions cut off.

    Args:
        column: of any type.
        where: file and column, for messages.
        milliseconds: whether this kind of log has those.

    Returns:
        int64 [n], and notes for a person.

    Raises:
        InputError: for a missing, non-numeric, negative or implausibly large timestamp, naming its row.
    """
    times, dated = epoch_seconds(column, where)
    name, notes = where.rpartition(": ")[2].strip(), []
    if milliseconds and times.size and times.min() > _MOST_SECONDS:
        times = times // 1000
        notes.append(f"{name} is read as milliseconds")
    dates = None if dated else calendar_seconds(times)
    if dates is not None:
        notes.append(f"{name} is read as dates, not as seconds since 1970: {times[0]} is {iso(int(dates[0]))}")
        times = dates
    _require_plausible(times, where)
    if times.size and times.max() < EARLIEST_PLAUSIBLE and not dated:
        notes.append(_early(name, times))
    return times, tuple(notes)


def epoch_seconds(column: pa.ChunkedArray, where: str) -> tuple[NDArray[np.int64], bool]:
    """Each time as the number it holds, or as epoch seconds UTC where it is a date; each value by itself.

    Args:
        column: of any type.
        where: file and column, for messages.

    Returns:
        int64 [n], fractions cut off, and whether the column's type is one of dates.

    Raises:
        InputError: for a missing or non-numeric timestamp, naming its row.
    """
    values = whole(column)
    missing = first_true(pc.is_null(values))
    if missing is not None:
        raise _bad(where, "none", missing)
    return _epoch_seconds(values, where), _is_dated(values.type)


def _is_dated(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _require_plausible(times: NDArray[np.int64], where: str) -> None:
    if times.size and times.min() < 0:
        row = int(np.argmax(times < 0))
        raise _bad(where, str(times[row]), row)
    if times.size and times.max() > _MOST_SECONDS:
        row = int(np.argmax(times > _MOST_SECONDS))
        raise _bad(where, f"{times[row]}, which looks like {_finer_unit(int(times[row]))},", row)


def _early(name: str, times: NDArray[np.int64]) -> str:
    """The note for times that all lie before any log's: in silence, a date given with --until would take every row."""
    days = looks_like_days(times)
    meaning = f"they look like {days}, which" if days else "days and row numbers"
    return (
        f"{name} is read as epoch seconds, of {iso(int(times.min()))} to {iso(int(times.max()))}: {meaning} have to be "
        "converted first"
    )


def _epoch_seconds(values: Any, where: str) -> NDArray[np.int64]:
    kind = values.type
    if pa.types.is_integer(kind):
        return to_numpy(values.cast(pa.int64()))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _instants(values)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        numbers = to_numpy(values.cast(pa.float64()))
        if not np.isfinite(numbers).all():
            row = int(np.argmin(np.isfinite(numbers)))
            raise _bad(where, str(numbers[row]), row)
        return _whole(numbers)
    return _from_text(pc.utf8_trim_whitespace(values.cast(pa.string())), where)


def _whole(numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Fractions cut off; what is beyond any time stays so and fits an integer."""
    return np.asarray(np.floor(np.clip(numbers, -1e18, 1e18)), dtype=np.int64)


def _from_text(texts: Any, where: str) -> NDArray[np.int64]:
    texts = pc.replace_substring_regex(texts, _NAMED_ZONE, r"\1Z")
    number, date = pc.match_substring_regex(texts, _NUMBER), pc.match_substring_regex(texts, _DATE)
    bad = first_true(pc.invert(pc.or_(number, date)))
    if bad is not None:
        shown = "none" if texts[bad].as_py() == "" else repr(texts[bad].as_py())
        raise _bad(where, shown, bad)
    zoned = pc.and_(date, pc.match_substring_regex(texts, _ZONE))
    plain = pc.and_(date, pc.invert(zoned))
    times = np.zeros(len(texts), dtype=np.int64)
    times[rows_true(number)] = _whole(to_numpy(texts.filter(number).cast(pa.float64())))
    for mask, kind in ((zoned, pa.timestamp("us", "UTC")), (plain, pa.timestamp("us"))):
        times[rows_true(mask)] = _instants(texts.filter(mask).cast(kind))
    return times


def _instants(values: Any) -> NDArray[np.int64]:
    zone = values.type.tz if pa.types.is_timestamp(values.type) else None
    return to_numpy(values.cast(pa.timestamp("s", zone), safe=False).cast(pa.int64()))


def _finer_unit(value: int) -> str:
    return "milliseconds" if value < 10**14 else "microseconds" if value < 10**17 else "nanoseconds"


def _bad(where: str, shown: str, index: int) -> InputError:
    return InputError(
        f"{where}: expected epoch seconds UTC (or an ISO date and time), found {shown} in row {index + 1}; "
        "convert the column or remove the row"
    )


def parse_time(text: str) -> int | None:
    """An ISO date or datetime (UTC where it names no zone), 20240131, or a whole number as epoch seconds.

    Args:
        text: as written.

    Returns:
        Epoch seconds; None for any other text.
    """
    text = text.strip()
    date = calendar_date(text)
    if date is not None:
        return date
    if text.isdecimal() and len(text) <= _MOST_DIGITS:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def iso(timestamp: int) -> str:
    """Epoch seconds as ISO text in UTC, as 2000-10-27T00:00:00Z.

    Args:
        timestamp: epoch seconds.

    Returns:
        Text, as 2000-10-27T00:00:00Z.
    """
    return datetime.fromtimestamp(timestamp, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
