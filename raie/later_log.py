"""A model's later logs: read as at its set-up unless told otherwise, never from the future, with a word on how."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raie.engine.data.interactions import Interactions, between, read_log
from raie.engine.data.readers.timestamps import iso
from raie.engine.errors import InputError
from raie.engine.model import ModelView

__all__ = ["read_new", "require_past", "told"]

_DAY_S = 86_400


def told(interactions: Interactions) -> tuple[str, ...]:
    """What a person should know of how a log was read; nothing, where all is as was asked for."""
    return interactions.reading.lines if interactions.reading else ()


def read_new(view: ModelView, log: Path, changes: Mapping[str, Any] | None = None) -> Interactions:
    """The log as the model reads its logs: known ids keep their rows.

    changes: what is to be read otherwise, as for `LogSettings.changed`.

    Raises: InputError for a log that cannot be used.
    """
    try:
        return read_log(log, catalogue=view.catalogue, **vars(view.settings.log.changed(**(changes or {}))))
    except InputError as error:
        raise InputError(
            f"{error} (a model's later logs are read with the options of its set-up, unless told otherwise)"
        ) from error


def require_past(interactions: Interactions, until: int | None, log: Path) -> None:
    """Raises: InputError for rows after tomorrow: behind their watermark every other row would come too late."""
    tomorrow, last = int(time.time()) + _DAY_S, int(between(interactions, None, until).timestamp.max(initial=0))
    if last > tomorrow:
        count = len(between(interactions, tomorrow, until))
        raise InputError(
            f"{log}: expected rows of the past, found {count:,} after tomorrow, the last of {iso(last)}: leave them out, "
            "or name an --until before them"
        )
