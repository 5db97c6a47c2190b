"""Timestamps of any spelling become epoch seconds UTC, or an error that names the row and the likely mistake.

Integers and floats are epoch seconds; ISO dates and datetimes, as text or as a column type, are converted, and one
without a time zone is UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raie_engine.arrow import first_true, rows_true, to_numpy
from raie_engine.errors import InputError

__all__ = ["iso", "parse_time", "seconds"]

# 5138-11-16 in seconds; 1973-03-03 in milliseconds: no log of seconds reaches it, every one of milliseconds does.
_MOST_SECONDS = 100_000_000_000
_MOST_DIGITS = 18  # more do not fit 64 bits
_NUMBER = r"^[+-]?\d+(\.\d*)?([eE][+]?\d+)?$"
_DATE = r"^\d{4}-\d\d-\d\d([ T]\d\d(:\d\d(:\d\d(\.\d+)?)?)?(Z|[+-]\d\d(:?\d\d)?)?)?$"
_ZONE = r"[ T].*(Z|[+-]\d\d(:?\d\d)?)$"


def seconds(column: pa.ChunkedArray, where: str) -> NDArray[np.int64]:
    """A column as int64 [n], epoch seconds UTC, fractions cut off.  where: file and column, for messages.

    Raises: InputError for a missing, non-numeric, negative or implausibly large timestamp, naming its row.
    """
    values = column.combine_chunks()
    missing = first_true(pc.is_null(values))
    if missing is not None:
        raise _bad(where, "none", missing)
    times: NDArray[np.int64] = _epoch_seconds(values, where)
    if times.size and times.min() < 0:
        row = int(np.argmax(times < 0))
        raise _bad(where, str(times[row]), row)
    if times.size and times.max() > _MOST_SECONDS:
        row = int(np.argmax(times > _MOST_SECONDS))
        raise _bad(where, f"{times[row]}, which looks like {_finer_unit(int(times[row]))},", row)
    return times


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
    number, date = pc.match_substring_regex(texts, _NUMBER), pc.match_substring_regex(texts, _DATE)
    bad = first_true(pc.invert(pc.or_(number, date)))
    if bad is not None:
        found = "none" if texts[bad].as_py() == "" else repr(texts[bad].as_py())
        raise _bad(where, found, bad)
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


def _bad(where: str, found: str, index: int) -> InputError:
    return InputError(
        f"{where}: expected epoch seconds UTC (or an ISO date and time), found {found} in row {index + 1}; "
        "convert the column or remove the row"
    )


def parse_time(text: str) -> int | None:
    """An ISO date or datetime (UTC where it names no zone) or whole number as epoch seconds; else None."""
    text = text.strip()
    if text.isdecimal() and len(text) <= _MOST_DIGITS:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def iso(timestamp: int) -> str:
    """Epoch seconds as ISO text in UTC, as 2000-10-27T00:00:00Z."""
    return datetime.fromtimestamp(timestamp, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
