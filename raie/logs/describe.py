"""Logs before any model: what one holds, and one that is made with a known truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raie.engine.config import WindowConfig, from_mapping
from raie.engine.data.describe import Description, describe
from raie.engine.data.interactions import cut_time, read_log
from raie.engine.data.readers.settings import LogSettings
from raie.engine.data.synthetic import (
    SyntheticConfig,
    SyntheticLog,
    csv_bytes,
    drifting_log,
    one_topic_in_five,
)
from raie.errors import UsageError
from raie.logs.log_reading import When, log_settings, notes_of, when_text
from raie.output_files import require_free, whole_file

if TYPE_CHECKING:
    from raie.engine.data.readers.files import Reading

__all__ = ["LogDescription", "describe_log", "require_csv_name", "synthetic_log", "write_synthetic_log"]


@dataclass(frozen=True)
class LogDescription:
    """What a log holds.

    Attributes:
        description: Its rows, users, items and times, slice by slice, with warnings.
        notes: What a person should know of how the log was read.
    """

    description: Description
    notes: tuple[str, ...]
    reading: Reading | None = None


def describe_log(
    log: str | Path,
    cuts: Sequence[When] = (0.5, 0.8),
    *,
    length: int | None = None,
    reading: LogSettings | Mapping[str, Any] | None = None,
    windows: Mapping[str, Any] | None = None,
) -> LogDescription:
    """What a log holds, what a model learns from it, and what will go wrong.

    Args:
        log: The file, folder or pattern.
        cuts: Where slices end.
        length: Context items per window; None for what the options say, or setup chooses.
        reading: How the log is read, as for `log_settings`.
        windows: Options of `[engine.windows]`.

    Raises:
        InputError: The log cannot be used.
        ConfigError: An option of the windows cannot be used.
    """
    options = {**(windows or {}), **({} if length is None else {"length": length})}
    config: WindowConfig = from_mapping(options, WindowConfig, "windows.")
    interactions = read_log(Path(log), **vars(log_settings(reading)))
    ends = [cut_time(interactions, str(when_text(cut))) for cut in cuts]
    description = describe(interactions, config, ends)
    return LogDescription(description, notes_of(interactions), interactions.reading)


def synthetic_log(*, seed: int = 42, one_in_five: bool = False, users: int | None = None) -> SyntheticLog:
    """A drifting log whose truth is known.

    Args:
        seed: Another seed, another log.
        one_in_five: The first edit finds exactly one topic in five changed.
        users: How many; None for the usual number.
    """
    if one_in_five:
        return drifting_log(one_topic_in_five(seed))
    config = SyntheticConfig(seed=seed) if users is None else SyntheticConfig(seed=seed, users=users)
    return drifting_log(config)


def write_synthetic_log(path: str | Path, log: SyntheticLog, *, replace: bool = False) -> None:
    """Write a log as CSV, whole or not at all.

    Args:
        path: The file, whose name ends in .csv.
        log: What `synthetic_log` returned.
        replace: Write over a file that is there.

    Raises:
        UsageError: A name under which no log would be read.
        RaieError: Something of this name must not be written over.
    """
    require_csv_name(Path(path), replace=replace)
    with whole_file(Path(path), replace=replace) as stream:
        stream.write(csv_bytes(log))


def require_csv_name(path: Path, *, replace: bool) -> None:
    """Refuse a name under which no log would be read, and one that something has which must not be written over."""
    if path.suffix.lower() != ".csv":
        raise UsageError(
            f"expected a name that ends in .csv, found {path}: a log is read by its ending, so name another"
        )
    require_free(path, replace=replace)
