"""The names that a shell completes: aliases, snapshots, edits, regions and tags, read without a side effect.

A workspace's SQLite file is read with nothing but Python's own library, because importing the registry takes longer than
a completion may. Any other database is asked through the registry.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import quote

from raie.registry.db.name_queries import NAME_QUERIES, named_rows
from raie.workspace_file import find, locate, model_and_database

__all__ = ["Kind", "Value", "config_keys", "values"]

_SHOWN = 40
_BUSY_S = 0.2


class Kind(StrEnum):
    """What a parameter of a command names."""

    REF = "ref"
    ALIAS = "alias"
    EDIT = "edit"
    REGION = "region"
    TAG = "tag"
    MODEL = "model"


@dataclass(frozen=True)
class Value:
    """Something that may be typed, and what helps to choose it."""

    text: str
    help: str = ""


def values(kind: Kind, start: str, folder: Path | None = None, model: str | None = None) -> list[Value]:
    """What a parameter may be, as the workspace's database has it.

    Args:
        kind: What the parameter names.
        start: What is typed of it so far.
        folder: Of raie.toml; None for the nearest at or above the current folder.
        model: The model's name; None for the workspace's own.

    Returns:
        The values that begin so: 40 or fewer of each sort, the newest first where they have an age.

    Raises:
        RaieError, RegistryError, OSError, sqlite3.Error: There is no workspace, or its database cannot be read.
    """
    made = _MAKERS[kind](_Names(folder, model), start)
    return [value for value in made if value.text.startswith(start)]


class _Names:
    """The rows of a workspace's database that have names."""

    def __init__(self, folder: Path | None, model: str | None) -> None:
        self._folder = folder
        self._model = model

    def rows(self, what: str, start: str = "") -> Sequence[Sequence[Any]]:
        file = locate(self._folder)
        model, database = model_and_database(file)
        bound = {"model": self._model or model, "limit": _SHOWN, "start": f"{start}%"}
        path = _sqlite_path(file, database)
        if path is None:
            return named_rows(find(self._folder).registry().engine, what, bound)
        # Opened as it is: a file that is not there is not made.
        address = f"file:{quote(str(path))}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_S)) as connection:
            return connection.execute(NAME_QUERIES[what], bound).fetchall()


def _sqlite_path(file: Path, database: str) -> Path | None:
    """The file of a plain SQLite URL; None for any other, which SQLAlchemy reads."""
    prefix, _, path = database.partition(":///")
    plain = prefix == "sqlite" and path and not path.startswith((":", "file:")) and not set(path) & set("%?")
    return file.parent.resolve() / path if plain else None


def _aliases(names: _Names, start: str) -> list[Value]:
    return [Value(name, f"at {snapshot[:12]}") for name, snapshot in names.rows("aliases")]


def _edits(names: _Names, start: str) -> list[Value]:
    return [Value(str(number), _about(kind, at, reason)) for number, kind, at, reason in names.rows("edits")]


def _regions(names: _Names, start: str) -> list[Value]:
    return [Value(str(region), f"version {version}") for region, version in names.rows("regions")]


def _models(names: _Names, start: str) -> list[Value]:
    return [Value(name) for (name,) in names.rows("models")]


def _tags(names: _Names, start: str) -> list[Value]:
    return [Value(tag) for (tag,) in names.rows("tags")]


def _refs(names: _Names, start: str) -> list[Value]:
    """Names first, then edits, then the first characters of ids."""
    if start.startswith("edit:"):
        return [Value(f"edit:{value.text}", value.help) for value in _edits(names, start)]
    made = [Value("head", "the newest snapshot"), *_aliases(names, start)]
    made += [Value(f"edit:{value.text}", value.help) for value in _edits(names, start)]
    # An id is typed by its beginning, so that none is listed where nothing is typed yet.
    if start and set(start) <= set("0123456789abcdef"):
        rows = names.rows("snapshots", start)
        made += [Value(id_[: max(12, len(start))], _about(f"edit {edit}", at, why)) for id_, edit, at, why in rows]
    return made


def _about(what: str, at: float, reason: str | None) -> str:
    """What was made, when (UTC) and why, on one line."""
    when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
    return " ".join(f"{what} {when} {reason or ''}".split())


_MAKERS = {
    Kind.REF: _refs,
    Kind.ALIAS: _aliases,
    Kind.EDIT: _edits,
    Kind.REGION: _regions,
    Kind.TAG: _tags,
    Kind.MODEL: _models,
}


def config_keys(start: str) -> list[Value]:
    """The keys that `raie config show` takes: those of raie.toml, and the tables of the engine's options.

    Args:
        start: What is typed so far.
    """
    from raie.engine.config import EngineConfig, to_mapping

    names = ["actor", "backbone_file", "database", "mlflow.tracking_uri", "model", "store", "engine"]
    for table, value in to_mapping(EngineConfig()).items():
        names.append(f"engine.{table}")
        names += [f"engine.{table}.{option}" for option in value] if isinstance(value, Mapping) else []
    return [Value(name) for name in names if name.startswith(start)]
