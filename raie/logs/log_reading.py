"""How a workspace's logs are read: as at the setup unless an option says otherwise, and never from the future."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raie.engine.data.interactions import Interactions, between, read_log
from raie.engine.data.readers.columns import Columns
from raie.engine.data.readers.files import checked_files
from raie.engine.data.readers.settings import LogSettings
from raie.engine.data.readers.timestamps import iso
from raie.engine.errors import InputError
from raie.errors import UsageError

if TYPE_CHECKING:
    from raie.engine.model import ModelView

__all__ = [
    "When",
    "later_settings",
    "log_settings",
    "notes_of",
    "read_later_log",
    "require_log",
    "require_past",
    "when_text",
]

_DAY_S = 86_400

When = str | int | float | date
"""A point in a log's time: a quantile (0.5), a date or datetime, as text or as Python's value, or epoch seconds."""


def when_text(when: When | None) -> str | None:
    """A point in time as the text that the command line takes; a datetime without a zone is UTC."""
    if when is None or isinstance(when, str):
        return when
    return when.isoformat() if isinstance(when, date) else f"{when:g}" if 0 < when < 1 else f"{when:.0f}"


def log_settings(reading: LogSettings | Mapping[str, Any] | None) -> LogSettings:
    """How a first log is read.

    Args:
        reading: Settings, or the options that differ from the defaults: user, item, timestamp, rating, title (names of
            columns), min_rating, duplicates, titles, separator, header.

    Raises:
        UsageError: An option of another name.
    """
    if isinstance(reading, LogSettings):
        return reading
    return LogSettings().changed(**_known_options(reading or {}))


def _known_options(reading: Mapping[str, Any]) -> Mapping[str, Any]:
    known = [field.name for kind in (Columns, LogSettings) for field in dataclasses.fields(kind)]
    known.remove("columns")
    if unknown := sorted(set(reading) - set(known)):
        raise UsageError(
            f"expected options of reading a log, found {unknown[0]!r}: known here are {', '.join(known)}"
        )
    return reading


def notes_of(interactions: Interactions) -> tuple[str, ...]:
    """What a person should know of how a log was read; nothing where all is as was asked for."""
    return interactions.reading.lines if interactions.reading else ()


def require_log(log: Path) -> None:
    """Refuse a log whose files are not there, or of no kind that is read.

    Raises:
        InputError: A file, folder or pattern that names no log.
    """
    checked_files(log)


def read_later_log(
    view: ModelView,
    log: Path,
    changes: Mapping[str, Any] | None = None,
    *,
    without_users: Collection[str] = (),
) -> Interactions:
    """Read a log as the model reads its logs: known ids keep their rows.

    Args:
        view: The snapshot whose settings and catalogue count.
        log: The file, folder or pattern.
        changes: Options that differ from the setup's, as for `log_settings`.
        without_users: External ids of users whose rows are left out.

    Raises:
        InputError: The log cannot be used.
        UsageError: An option of another name.
    """
    settings = later_settings(view, changes)
    try:
        return read_log(log, catalogue=view.catalogue, without_users=without_users, **vars(settings))
    except InputError as error:
        raise InputError(
            f"{error} (a model's later logs are read with the options of its setup, unless an option differs)"
        ) from error


def later_settings(view: ModelView, changes: Mapping[str, Any] | None = None) -> LogSettings:
    """How a model's later logs are read: as at its setup, with these options changed.

    Raises:
        UsageError: An option of another name.
    """
    return view.settings.log.changed(**_known_options(changes or {}))


def require_past(interactions: Interactions, until: int | None, log: Path) -> None:
    """Refuse rows after tomorrow: behind their watermark every later row would arrive too late.

    Raises:
        InputError: The log has such rows.
    """
    tomorrow, last = int(time.time()) + _DAY_S, int(between(interactions, None, until).timestamp.max(initial=0))
    if last > tomorrow:
        count = len(between(interactions, tomorrow, until))
        raise InputError(
            f"{log}: expected rows of the past, found {count:,} after tomorrow, the last of {iso(last)}: leave them out, "
            "or name an --until before them"
        )
