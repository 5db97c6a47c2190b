"""raie.toml: the file that makes a folder a workspace and says where the database, the blobs and MLflow's records are.

The environment comes before the file: RAIE_DATABASE_URL, RAIE_STORE, RAIE_MODEL, RAIE_EXECUTOR, RAIE_BACKBONE_FILE.
RAIE_EVENTS_NAME_URL comes before the URL of the consumer of events that is called NAME.
RAIE_TRUST_WORKSPACE names folders of other users whose raie.toml counts without being named.
Every relative path, from either of them, starts at the folder of raie.toml.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from raie.actor import actor_setting
from raie.configuration.event_consumers import consumer_settings, event_consumers
from raie.configuration.folder_owner import is_own, require_trusted
from raie.configuration.settings import Origin, Setting, chosen, table_settings
from raie.errors import WorkspaceError
from raie.workspace import FILE_NAME, Workspace

__all__ = [
    "ENVIRONMENT",
    "all_settings",
    "backbone_file",
    "draft",
    "find",
    "find_nearest",
    "locate",
    "model_and_database",
    "parse",
    "read",
]

_DATABASE = "sqlite:///.raie/registry.db"
_STORE = ".raie/blobs"
_MODEL = "recsys"
_TRACKING = "sqlite:///.raie/mlflow.db"
ENVIRONMENT = {"database": "RAIE_DATABASE_URL", "store": "RAIE_STORE", "model": "RAIE_MODEL"}
"""Keys of raie.toml -> the variables that come before them."""

_BACKBONE_FILE = "RAIE_BACKBONE_FILE"
_EXECUTOR = "RAIE_EXECUTOR"
_KNOWN = ("database", "engine", "events", "executor", "mlflow", "model", "store")


def find(start: Path | None = None) -> Workspace:
    """The workspace at `start` (a folder or its raie.toml), else the nearest at or above the current folder.

    Raises: WorkspaceError where there is none, where it cannot be read, or where one that nobody named is another
    user's.
    """
    return read(locate(start))


def locate(start: Path | None = None) -> Path:
    """The raie.toml of a workspace, which is not read.

    Args:
        start: A folder or its raie.toml; None for the nearest at or above the current folder.

    Raises: WorkspaceError as of `find`.
    """
    if start is not None:
        file = start if start.is_file() else start / FILE_NAME
        if not file.is_file():
            raise WorkspaceError(
                f"expected a workspace at {start}, found no {FILE_NAME} there: run `raie init` in it"
            )
        return file
    nearest = _nearest()
    if nearest is None:
        raise WorkspaceError(
            f"no {FILE_NAME} in {Path.cwd()} or any folder above it: run `raie init` here, or name a folder with "
            "--workspace"
        )
    return nearest


def model_and_database(file: Path) -> tuple[str, str]:
    """The model and the URL of the database that a raie.toml and the environment choose; nothing else is looked at.

    Args:
        file: The raie.toml.

    Returns:
        The model's name, and the URL as it is written: an SQLite file may be relative to the folder.

    Raises: OSError, tomllib.TOMLDecodeError.
    """
    table = tomllib.loads(file.read_text(encoding="utf-8"))
    model = chosen("model", table, _MODEL, variable=ENVIRONMENT["model"])
    database = chosen("database", table, _DATABASE, variable=ENVIRONMENT["database"])
    return str(model.value), str(database.value)


def find_nearest() -> Workspace | None:
    """The workspace nearest at or above the current folder; None where there is none.

    Raises: WorkspaceError where it cannot be read, or is another user's.
    """
    file = _nearest()
    return None if file is None else read(file)


def _nearest() -> Path | None:
    """The raie.toml nearest at or above the current folder. Raises: WorkspaceError for another user's."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        file = folder / FILE_NAME
        if file.is_file():
            require_trusted(file, here=folder == here)
            return file
    return None


def read(file: Path) -> Workspace:
    """Read a raie.toml; raises WorkspaceError as `parse` does."""
    try:
        return parse(file.read_text(encoding="utf-8"), file)
    except UnicodeDecodeError as error:
        raise WorkspaceError(f"{file} is not valid TOML: {error}") from error


def parse(text: str, file: Path) -> Workspace:
    """The workspace that a raie.toml describes, with the environment laid over it.

    Args:
        text: The content of the file.
        file: Its path, which need not exist yet; relative paths in `text` start at its folder.

    Raises:
        WorkspaceError: Names the key that is unknown or of the wrong type.
        InvalidValue: The store's URL is none, or holds credentials.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise WorkspaceError(f"{file} is not valid TOML: {error}") from error
    _require_known(values, _KNOWN, "", file)
    tracking = _table(values, "mlflow", file)
    _require_known(tracking, ("tracking_uri",), "mlflow.", file)
    folder, events = _printable(file.resolve().parent), _table(values, "events", file)
    engine = _located(folder, _table(values, "engine", file))
    settings = {
        "model": chosen("model", values, _MODEL, variable=ENVIRONMENT["model"]),
        "database": chosen("database", values, _DATABASE, variable=ENVIRONMENT["database"]),
        "store": chosen("store", values, _STORE, variable=ENVIRONMENT["store"]),
        "executor": chosen("executor", values, "local", variable=_EXECUTOR),
        "mlflow.tracking_uri": chosen("tracking_uri", tracking, _TRACKING, name="mlflow.tracking_uri"),
        **consumer_settings(events),
    }
    return Workspace(
        folder=folder,
        model=_text(settings["model"], file),
        database=_at(folder, _text(settings["database"], file)),
        store=_store_at(folder, _text(settings["store"], file)),
        tracking_uri=_at(folder, _text(settings["mlflow.tracking_uri"], file)),
        engine=engine,
        backbone_file=backbone_file(folder, engine if runs_code(file) else {}),
        runs_code=runs_code(file),
        settings=settings,
        consumers=event_consumers(events, folder, file),
        executor=_text(settings["executor"], file),
    )


def _require_known(table: Mapping[str, Any], known: Sequence[str], prefix: str, file: Path) -> None:
    """Raises WorkspaceError for a key that means nothing; prefix: the table's name with a dot, "" at the top."""
    if unknown := sorted(set(table) - set(known)):
        names = [f"{prefix}{name}" for name in known]
        raise WorkspaceError(
            f"{file}: unknown key {prefix + unknown[0]!r}; known here: {', '.join(names)}",
            unknown[0],
            dict(zip(known, names, strict=True)),
        )


def all_settings(workspace: Workspace) -> dict[str, Setting]:
    """Every value of a workspace as it was chosen, and who chose it: the one place that knows.

    Args:
        workspace: As it was read; `from_options` lays the options of a command over the result.

    Returns:
        Dotted name -> setting: the keys of raie.toml, each option of the engine, `backbone_file` and `actor`. A path that
        starts at raie.toml's folder stays relative, but for the backbone's.

    Raises:
        ConfigError: An option of the engine is unknown or of the wrong type.
    """
    from raie.engine.config import from_mapping, to_mapping

    engine = to_mapping(from_mapping(dict(workspace.engine)))
    named = chosen("backbone_file", {}, None, variable=_BACKBONE_FILE)
    if named.origin is Origin.BUILT_IN and workspace.backbone_file is not None:
        named = Setting(str(workspace.backbone_file), Origin.FILE, "engine.backbone.path")
    return {
        **workspace.settings,
        **table_settings(workspace.engine, engine, "engine."),
        "backbone_file": named,
        "actor": actor_setting(),
    }


def runs_code(file: Path) -> bool:
    """Whether Python that a raie.toml names may run: where it is the user's own, or is yet to be written."""
    return not file.exists() or is_own(file)


def _printable(folder: Path) -> Path:
    """The folder, whose name every database and store can hold. Raises: WorkspaceError."""
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        raise WorkspaceError(
            f"expected a workspace in a folder whose name is UTF-8, found {str(folder)!a}: rename it"
        ) from error
    return folder


def backbone_file(folder: Path, engine: Mapping[str, Any] | None = None) -> Path | None:
    """The Python file of a user's backbone: RAIE_BACKBONE_FILE, or what the [engine] table names."""
    if named := os.environ.get(_BACKBONE_FILE):
        return folder / Path(named).expanduser()
    backbone = (engine or {}).get("backbone")
    path = isinstance(backbone, Mapping) and backbone.get("kind") == "file" and backbone.get("path")
    return Path(path) if isinstance(path, str) and path else None


def _located(folder: Path, engine: Mapping[str, Any]) -> Mapping[str, Any]:
    """The [engine] table with backbone.path, a folder or a file, taken relative to the workspace."""
    backbone = engine.get("backbone")
    if not isinstance(backbone, Mapping) or not isinstance(backbone.get("path"), str) or not backbone["path"]:
        return engine
    return {**engine, "backbone": {**backbone, "path": str(folder / Path(backbone["path"]).expanduser())}}


def _text(setting: Setting, file: Path) -> str:
    if not isinstance(setting.value, str) or not setting.value.strip():
        from raie.registry.db.shown_url import shown

        # A list of URLs may hold a password as well as a URL.
        source = setting.name if setting.origin is Origin.ENVIRONMENT else f"{file}: {setting.name}"
        raise WorkspaceError(f"{source} must be a text that is not empty, found {shown(repr(setting.value))}")
    return setting.value


def _table(values: Mapping[str, Any], key: str, file: Path) -> Mapping[str, Any]:
    value = values.get(key, {})
    if not isinstance(value, Mapping):
        raise WorkspaceError(f"{file}: {key} must be a table ([{key}]), found {value!r}")
    return value


def _at(folder: Path, url: str) -> str:
    """An SQLite URL with its file taken relative to the workspace; every other URL as it is."""
    prefix, separator, path = url.partition(":///")
    if not separator or not prefix.startswith("sqlite") or not path or path.startswith((":memory:", "file:")):
        return url
    from raie.registry.db.sqlite_url import quoted_path

    # What raie.toml says is a URL already; the folder is a path.
    return f"{prefix}:///{PurePosixPath(quoted_path(str(folder))) / path}"


def _store_at(folder: Path, store: str) -> str:
    """A store's URL as it is, once it is one and holds no credentials; a folder relative to the workspace."""
    from raie.registry.store.url import parse_store

    # Before anything shows or writes it: what is refused here is repeated nowhere.
    parse_store(store)
    return store if "://" in store else str(folder / Path(store).expanduser())


def draft(database: str | None, store: str | None, model: str | None) -> str:
    """The text of a new raie.toml; where nothing is chosen, everything lies in .raie beside it."""
    lines = [
        "# A raie workspace. Relative paths start at this file's folder. The environment comes first:",
        "# RAIE_DATABASE_URL, RAIE_STORE, RAIE_MODEL; RAIE_ACTOR says who acts.",
        f"model = {_quoted(model or _MODEL)}",
        f"database = {_quoted(database or _DATABASE)}",
        f"store = {_quoted(store or _STORE)}",
        "",
        "[mlflow]",
        f"tracking_uri = {_quoted(_TRACKING)}",
        "",
        "# Options of the engine, for example:",
        "# [engine]",
        "# seed = 42",
        "# [engine.regions]",
        "# regions = 4",
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    # JSON's escapes are TOML's too; only DEL, which JSON leaves as it is, has to be escaped for TOML.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
