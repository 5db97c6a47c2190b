"""The URL of an SQLite file, whatever its path is made of: a % or a ? in it would otherwise mean another file."""

from __future__ import annotations

from pathlib import Path

__all__ = ["quoted_path", "sqlite_url"]


def sqlite_url(file: Path, *, driver: str = "sqlite") -> str:
    """The SQLAlchemy URL of an SQLite file; driver: what it begins with."""
    return f"{driver}:///{quoted_path(str(file))}"


def quoted_path(path: str) -> str:
    """A path as it stands in a URL: only what has a meaning there is escaped, so that it can still be read."""
    return path.replace("%", "%25").replace("?", "%3F")
