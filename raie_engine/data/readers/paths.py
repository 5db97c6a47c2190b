"""The files that a LOG names: one file, the Parquet parts below a folder, or what matches a pattern such as 2026-*.csv.

Files are sorted by their paths, so that the rows of a log have one order on every machine. What the names of folders say,
as day=2024-01-31, is a column of the Parquet files below them.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from raie.engine.data.readers.sources import kind_of
from raie.engine.errors import InputError

__all__ = ["LogFile", "log_files"]

_WILD = frozenset("*?[")


@dataclass(frozen=True)
class LogFile:
    """One file of a log. partition: what the names of its folders say, name -> value."""

    path: Path
    partition: Mapping[str, str] = field(default_factory=dict)


def log_files(path: Path) -> list[LogFile]:
    """The files of a log, by path; a file that is there under a name with * or ? in it is that file.

    Args:
        path: a file, a folder or a pattern.

    Returns:
        At least one file. What is no folder of Parquet parts and no pattern is returned as it is, there or not.

    Raises:
        InputError: for a pattern that nothing matches, or files of several kinds, and for an address.
    """
    if str(path).startswith("s3:/"):
        raise InputError(
            f"expected a log on this machine, found s3://{str(path)[3:].lstrip('/')}: copy it here, or mount the bucket"
        )
    if path.is_dir():
        return [_part(part, path) for part in _parts_of(path)] or [LogFile(path)]
    if path.exists() or not _WILD & set(str(path)):
        return [LogFile(path)]
    return _matching(path)


def _matching(pattern: Path) -> list[LogFile]:
    fixed = next(number for number, name in enumerate(pattern.parts) if _WILD & set(name))
    root = Path(*pattern.parts[:fixed])
    matching: set[Path] = set()
    for match in map(Path, glob.glob(str(pattern), recursive=True)):
        matching.update(_parts_of(match) if match.is_dir() else [match])
    files = sorted(path for path in matching if _is_data(path, root))
    if not files:
        raise InputError(f"{pattern}: expected files of this pattern, found none; check the path")
    for file in files:
        if kind_of(file) != kind_of(files[0]):
            raise InputError(
                f"{file}: expected a {kind_of(files[0]) or 'file'} like {files[0]}, found {file.suffix!r}; name files of "
                "one kind"
            )
    return [_part(file, root) for file in files]


def _parts_of(folder: Path) -> list[Path]:
    """The Parquet files below a folder, by path."""
    files = (path for path in folder.rglob("*.parquet") if path.is_file())
    return sorted(path for path in files if _is_data(path, folder))


def _is_data(path: Path, root: Path) -> bool:
    """Files and folders whose name begins with a dot or an underscore are not data."""
    return not any(name[0] in "._" for name in path.relative_to(root).parts)


def _part(file: Path, root: Path) -> LogFile:
    """What the folders between the root and a part say."""
    pairs = (folder.partition("=") for folder in file.relative_to(root).parts[:-1] if "=" in folder)
    return LogFile(file, {name: unquote(value) for name, _, value in pairs})
