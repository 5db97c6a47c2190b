"""Numbers that are dates in disguise: 20240131, 20240131235959, days since 1970, days of a spreadsheet. n rows.

Legend: n numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["calendar_date", "calendar_seconds", "looks_like_days"]

_EARLIEST, _LATEST = 1900, 2101  # the years between which such a number is a date
_DIGITS = {8: 10**4, 12: 10**8, 14: 10**10}  # YYYYMMDD and with hhmm or hhmmss behind it: digits -> below the year
_DAY_S = 86_400
_DAYS = (7_305, 36_525)  # 1990 to 2070, in days since 1970
_SHEET_DAYS = (32_874, 62_093)  # the same years in a spreadsheet's days, which begin with 1900


def calendar_seconds(numbers: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Dates written as numbers without separators, such as 20240131.

    As epoch seconds, dates of eight digits would lie in 1970; those of twelve and fourteen are no seconds at all.

    Args:
        numbers: int64 [n].

    Returns:
        Epoch seconds UTC int64 [n]; None where one is no date.
    """
    if not len(numbers):
        return None
    low, high = int(numbers.min()), int(numbers.max())
    for digits, year in _DIGITS.items():
        if _EARLIEST * year <= low and high < _LATEST * year:
            return _instants(numbers, digits)
    return None


def calendar_date(text: str) -> int | None:
    """Epoch seconds of one such number as text; None for any other text.

    Args:
        text: as written.

    Returns:
        Epoch seconds.
    """
    if not (text.isascii() and text.isdigit() and len(text) in _DIGITS):
        return None
    seconds = calendar_seconds(np.array([int(text)]))
    return None if seconds is None else int(seconds[0])


def looks_like_days(times: NDArray[np.int64]) -> str | None:
    """What these whole numbers are, if they are days of our time: the words for it; None for others.

    Args:
        times: int64 [n].

    Returns:
        The words.
    """
    low, high = int(times.min()), int(times.max())
    for (first, last), words in ((_SHEET_DAYS, "days of a spreadsheet"), (_DAYS, "days since 1970")):
        if first <= low and high <= last:
            return words
    return None


def _instants(numbers: NDArray[np.int64], digits: int) -> NDArray[np.int64] | None:
    clock = numbers * 10 ** (14 - digits) % 10**6
    date = numbers // 10 ** (digits - 8)
    year, month, day = date // 10_000, date // 100 % 100, date % 100
    hour, minute, second = clock // 10_000, clock // 100 % 100, clock % 100
    if not ((month >= 1) & (month <= 12) & (day >= 1) & (hour < 24) & (minute < 60) & (second < 60)).all():
        return None
    months = (year - 1970) * 12 + month - 1
    first, after = (start.astype("datetime64[M]").astype("datetime64[D]") for start in (months, months + 1))
    if not (day <= (after - first).astype(np.int64)).all():
        return None
    days = first.astype(np.int64) + day - 1
    return np.asarray(days * _DAY_S + hour * 3600 + minute * 60 + second, dtype=np.int64)
