"""How MLflow is reached: one explicit client, short waits, no telemetry, and nothing left behind in the process.

MLflow takes its timeouts from environment variables at every call and decides about telemetry when it is first
imported, so everything that touches it runs inside `quiet_mlflow`, which puts the caller's environment back.
"""

from __future__ import annotations

import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from registry.errors import InvalidValue, MlflowUnreachable
from registry.sqlite_url import quoted_path, sqlite_url

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = [
    "REQUEST_S",
    "answers",
    "artifact_location",
    "checked_uri",
    "is_unreachable",
    "no_answer",
    "open_client",
    "page_address",
    "quiet_mlflow",
    "shown",
    "ui_command",
]

REQUEST_S = 5
_ENVIRONMENT = {
    # With MLflow's own values one call to a server that is down blocks for over four minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(REQUEST_S),
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": str(REQUEST_S),
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
_SERVER = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
_OVERLOADED = {429, 502, 503, 504}


@contextmanager
def quiet_mlflow() -> Iterator[None]:
    """Short timeouts, no retries, no telemetry and no chatter while inside; the environment is put back after."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def checked_uri(tracking_uri: str) -> str:
    """The tracking URI, a SQLite file with its absolute path.

    Raises InvalidValue for anything but http(s):// and sqlite:///file.
    """
    if re.match(r"https?://[^/]", tracking_uri):
        return tracking_uri.rstrip("/")
    file = _sqlite_file(tracking_uri)
    if file is None:
        raise InvalidValue(
            "Expected an MLflow tracking URI such as sqlite:///mlflow.db or http://127.0.0.1:5000, "
            f"found {shown(tracking_uri)!r}"
        )
    # For "sqlite:" MLflow makes the folder itself, of the escaped path: another one, beside the right one.
    return sqlite_url(file) if quoted_path(str(file)) == str(file) else sqlite_url(file, driver="sqlite+pysqlite")


def _sqlite_file(uri: str) -> Path | None:
    try:
        url = make_url(uri)
    except (ArgumentError, ValueError):
        return None
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return None
    return Path(url.database).absolute()


def shown(uri: str) -> str:
    """The URI without its user and password."""
    return re.sub(r"(?<=://)[^/@\s]+@", "", uri)


def open_client(tracking_uri: str) -> MlflowClient:
    """A client of this tracking URI alone: no active run, no global URI. A missing SQLite file is created.

    Raises MlflowUnreachable where it cannot be opened.
    """
    file = _sqlite_file(tracking_uri)
    # Asked first because importing MLflow alone takes longer than learning that its server is down.
    if file is None and not answers(tracking_uri):
        raise MlflowUnreachable(no_answer(tracking_uri, "nothing there"))
    try:
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except (ImportError, OSError) as error:
        raise MlflowUnreachable(no_answer(tracking_uri, str(error))) from error
    try:
        return MlflowClient(tracking_uri, tracking_uri)
    except (MlflowException, OperationalError) as error:
        raise MlflowUnreachable(no_answer(tracking_uri, str(error))) from error


def no_answer(tracking_uri: str, found: str) -> str:
    """The message of an MlflowUnreachable."""
    return f"Expected MLflow at {shown(tracking_uri)} to answer, found {found}; the events wait for the next sync"


def is_unreachable(error: Exception) -> bool:
    """Whether the error means that MLflow did not answer, rather than that it refused this one request."""
    import requests

    seen: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in seen:
        seen.append(link)
        if isinstance(link, requests.HTTPError):
            return link.response is not None and link.response.status_code in _OVERLOADED
        if isinstance(link, requests.exceptions.RetryError):
            # A 500 is about this request: the events of other models may still go through.
            return "500" not in str(link)
        if isinstance(link, requests.ConnectionError | requests.Timeout | OperationalError):
            return True
        # MLflow raises its own error while it handles the one that tells why, without naming it as the cause.
        link = link.__cause__ or link.__context__
    return False


def artifact_location(tracking_uri: str, experiment: str) -> str | None:
    """Where a new experiment keeps its artifacts; None lets the server decide.

    Beside the SQLite file: MLflow's own choice would be a folder wherever the process happens to run.
    """
    file = _sqlite_file(tracking_uri)
    return None if file is None else (_artifact_root(file) / experiment).as_uri()


def _artifact_root(file: Path) -> Path:
    return file.parent / f"{file.stem}-artifacts"


def page_address(tracking_uri: str) -> str:
    """What links to MLflow's pages begin with; empty for a SQLite file, whose pages only link to each other."""
    return "" if tracking_uri.startswith("sqlite") else f"{shown(tracking_uri)}/"


def answers(tracking_uri: str) -> bool:
    """Whether MLflow is there now, asked without importing it; a SQLite file counts once it exists."""
    file = _sqlite_file(tracking_uri)
    if file is not None:
        return file.exists()
    try:
        with urllib.request.urlopen(f"{shown(tracking_uri)}/health", timeout=REQUEST_S):
            return True
    except urllib.error.HTTPError as error:
        return error.code not in _OVERLOADED
    except (OSError, ValueError):
        return False


def ui_command(tracking_uri: str, port: int) -> tuple[list[str], dict[str, str]]:
    """The command and environment that show a SQLite file's records in a browser, for os.execve.

    One worker and no job execution: two processes instead of fifteen.
    Raises InvalidValue for a server's URI: its pages are already there.
    """
    uri = checked_uri(tracking_uri)
    file = _sqlite_file(uri)
    if file is None:
        raise InvalidValue(f"Expected a SQLite file to show, found a server: open {shown(uri)} in a browser")
    options = {
        "--backend-store-uri": uri,
        "--artifacts-destination": _artifact_root(file).as_uri(),
        "--host": "127.0.0.1",
        "--port": str(port),
        "--workers": "1",
    }
    argv = [sys.executable, "-m", "mlflow", "server"]
    argv += [word for option in options.items() for word in option]
    return argv, {**os.environ, **_SERVER}
