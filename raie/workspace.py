"""The workspace: a folder with a raie.toml that says where the database, the blobs and MLflow's records are.

The environment comes before the file: RAIE_DATABASE_URL, RAIE_STORE, RAIE_MODEL, RAIE_BACKBONE_FILE, and RAIE_ACTOR for
who acts. RAIE_TRUST_WORKSPACE names folders of other users whose raie.toml counts without being named.
Every relative path, from either of them, starts at the folder of raie.toml.
"""

from __future__ import annotations

import getpass
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from raie.errors import UsageError, WorkspaceError
from raie.extras import require
from raie.folder_owner import is_own, require_trusted

if TYPE_CHECKING:
    from raie.registry import Registry

__all__ = [
    "ENVIRONMENT",
    "FILE_NAME",
    "Workspace",
    "actor",
    "backbone_file",
    "draft",
    "find",
    "parse",
    "read",
    "require_code",
    "without_password",
]

FILE_NAME = "raie.toml"
_DATABASE = "sqlite:///.raie/registry.db"
_STORE = ".raie/blobs"
_MODEL = "recsys"
_TRACKING = "sqlite:///.raie/mlflow.db"
ENVIRONMENT = {"database": "RAIE_DATABASE_URL", "store": "RAIE_STORE", "model": "RAIE_MODEL"}
"""Keys of raie.toml -> the variables that come before them."""

_KNOWN = ("database", "engine", "mlflow", "model", "store")


@dataclass(frozen=True)
class Workspace:
    """Where one model's history lives.

    folder: absolute, holds raie.toml.  database: an SQLAlchemy URL, never printed because the environment's may
    carry a password.  store: a folder, file:// or s3:// URL.  engine: the [engine] table, not yet checked.
    backbone_file: the Python file of a backbone of one's own, if there is one.  runs_code: whether Python that
    raie.toml names may run.
    """

    folder: Path
    model: str
    database: str = field(repr=False)
    store: str = field(repr=False)
    tracking_uri: str = field(repr=False)
    engine: Mapping[str, Any] = field(default_factory=dict)
    backbone_file: Path | None = None
    runs_code: bool = True

    @property
    def work(self) -> Path:
        """The folder for what an edit computes before it is committed; it may be deleted when no edit runs."""
        return self.folder / ".raie" / "work"

    def require_drivers(self) -> None:
        """Check that what the database and the store are reached with is installed, before anything is made there.

        Raises: MissingExtra.
        """
        if self.database.startswith(("postgres://", "postgresql")):
            require("postgres")
        if self.store.startswith("s3://"):
            require("s3")

    def registry(self) -> Registry:
        """Open the registry of this workspace.

        Raises: RegistryError when the database or the store cannot be reached, or is of another revision.
        """
        from raie.registry import Registry

        return Registry.open(self.database, self.store)


def find(start: Path | None = None) -> Workspace:
    """The workspace at `start` (a folder or its raie.toml), else the nearest at or above the current folder.

    Raises: WorkspaceError where there is none, where it cannot be read, or where one that nobody named is another
    user's.
    """
    if start is not None:
        file = start if start.is_file() else start / FILE_NAME
        if not file.is_file():
            raise WorkspaceError(
                f"expected a workspace at {start}, found no {FILE_NAME} there: run `raie init` in it"
            )
        return read(file)
    here = Path.cwd()
    for folder in (here, *here.parents):
        file = folder / FILE_NAME
        if file.is_file():
            require_trusted(file, here=folder == here)
            return read(file)
    raise WorkspaceError(
        f"no {FILE_NAME} in {here} or any folder above it: run `raie init` here, or name a folder with --workspace"
    )


def read(file: Path) -> Workspace:
    """Read a raie.toml; raises WorkspaceError as `parse` does."""
    try:
        return parse(file.read_text(encoding="utf-8"), file)
    except UnicodeDecodeError as error:
        raise WorkspaceError(f"{file} is not valid TOML: {error}") from error


def parse(text: str, file: Path) -> Workspace:
    """The workspace that `text`, the content of `file`, describes, with the environment laid over it.

    Raises: WorkspaceError naming the key that is unknown or of the wrong type, and InvalidValue for a store's URL that
    is none, or holds credentials.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise WorkspaceError(f"{file} is not valid TOML: {error}") from error
    if unknown := sorted(set(values) - set(_KNOWN)):
        raise WorkspaceError(f"{file}: unknown key {unknown[0]!r}; known here: {', '.join(_KNOWN)}")
    tracking = _table(values, "mlflow", file)
    if unknown := sorted(set(tracking) - {"tracking_uri"}):
        raise WorkspaceError(f"{file}: unknown key 'mlflow.{unknown[0]}'; known here: mlflow.tracking_uri")
    folder = _printable(file.resolve().parent)
    engine = _located(folder, _table(values, "engine", file))
    return Workspace(
        folder=folder,
        model=_chosen(values, "model", _MODEL, file),
        database=_at(folder, _chosen(values, "database", _DATABASE, file)),
        store=_store_at(folder, _chosen(values, "store", _STORE, file)),
        tracking_uri=_at(folder, _text(tracking, "tracking_uri", _TRACKING, file)),
        engine=engine,
        backbone_file=backbone_file(folder, engine if runs_code(file) else {}),
        runs_code=runs_code(file),
    )


def runs_code(file: Path) -> bool:
    """Whether Python that a raie.toml names may run: where it is the user's own, or is yet to be written."""
    return not file.exists() or is_own(file)


def require_code(workspace: Workspace) -> None:
    """Raises: WorkspaceError where another user's raie.toml names the Python of a backbone, which never runs."""
    backbone = workspace.engine.get("backbone")
    named = isinstance(backbone, Mapping) and backbone.get("kind") == "file"
    if named and not workspace.runs_code:
        raise WorkspaceError(
            f"expected the Python of a backbone in a workspace of your own, found that {workspace.folder / FILE_NAME} "
            "belongs to another user: read the file that backbone.path names, and copy the workspace to run it"
        )


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
    """The Python file of a backbone of one's own: RAIE_BACKBONE_FILE, or what the [engine] table names."""
    if named := os.environ.get("RAIE_BACKBONE_FILE"):
        return folder / Path(named).expanduser()
    backbone = (engine or {}).get("backbone")
    own = isinstance(backbone, Mapping) and backbone.get("kind") == "file" and backbone.get("path")
    return Path(own) if isinstance(own, str) and own else None


def _located(folder: Path, engine: Mapping[str, Any]) -> Mapping[str, Any]:
    """The [engine] table with backbone.path, a folder or a file, taken relative to the workspace."""
    backbone = engine.get("backbone")
    if not isinstance(backbone, Mapping) or not isinstance(backbone.get("path"), str) or not backbone["path"]:
        return engine
    return {**engine, "backbone": {**backbone, "path": str(folder / Path(backbone["path"]).expanduser())}}


def _chosen(values: Mapping[str, Any], key: str, otherwise: str, file: Path) -> str:
    return os.environ.get(ENVIRONMENT[key]) or _text(values, key, otherwise, file)


def _text(values: Mapping[str, Any], key: str, otherwise: str, file: Path) -> str:
    value = values.get(key, otherwise)
    if not isinstance(value, str) or not value.strip():
        from raie.registry.db.shown_url import shown

        # A list of URLs may hold a password as well as a URL.
        raise WorkspaceError(f"{file}: {key} must be a text that is not empty, found {shown(repr(value))}")
    return value


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


def without_password(database: str) -> str:
    """The database URL as it may be written to a file: the same, with every password left out.

    Raises: UsageError for a text that is not a URL; it is not repeated, because it may hold a password.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    from raie.registry.db.shown_url import without_secrets

    try:
        make_url(database)
    except (ArgumentError, ValueError) as error:
        raise UsageError(
            "expected a database URL such as sqlite:///.raie/registry.db or postgresql://ada@db.example.org/raie, "
            "found a text that is not one"
        ) from error
    return without_secrets(database)


def actor() -> str:
    """Who acts: RAIE_ACTOR, or else the user of the operating system."""
    if named := os.environ.get("RAIE_ACTOR", "").strip():
        return named
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a user id that no passwd entry names.
        return f"uid {os.getuid()}"
