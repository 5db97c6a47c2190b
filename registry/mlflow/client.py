"""How MLflow is reached: one explicit client, short waits, no telemetry, and nothing left behind in the process.

MLflow takes its timeouts from environment variables at every call and decides about telemetry when it is first
imported, so everything that touches it runs inside `quiet_mlflow`, which puts the caller's environment back.
"""

from __future__ import annotations

import os
import re
import sqlite3
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from raie.registry.db.shown_url import shown, userinfo_of
from raie.registry.errors import InvalidValue, MlflowUnreachable
from raie.registry.hiding import hiding
from raie.registry.mlflow.payload import legal_model_name, link
from raie.registry.mlflow.sqlite_file import artifact_root, is_made, make_whole, tracking_url

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = [
    "REQUEST_S",
    "answers",
    "artifact_location",
    "checked_uri",
    "is_refusal",
    "is_unreachable",
    "make_file",
    "model_page",
    "no_answer",
    "open_client",
    "page_address",
    "quiet_mlflow",
    "secrets_hidden",
    "sqlite_file",
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
_SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
# What MLflow says of a request that it will never take. Others may pass the next time, such as a lost race.
_REFUSALS = (
    "INVALID_PARAMETER_VALUE",
    "BAD_REQUEST",
    "MALFORMED_REQUEST",
    "INVALID_STATE",
    "RESOURCE_DOES_NOT_EXIST",
    "RESOURCE_LIMIT_EXCEEDED",
)
_REFUSED_STATUS = (400, 411, 413, 414, 415, 422, 431)
# What SQLite says of a migration that begins anew in the middle.
_HALF_MIGRATED = re.compile(r"already exists|duplicate column|no such (table|column|index)")


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

    Raises InvalidValue for anything but http(s)://host and sqlite:///file, and for a URI whose password is not
    encoded: each library would cut it at another place, and show what it took for the host.
    """
    if re.match(r"https?://[^/]", tracking_uri):
        return _checked_server(tracking_uri)
    file = sqlite_file(tracking_uri)
    if file is None:
        raise InvalidValue(
            "Expected an MLflow tracking URI such as sqlite:///mlflow.db or http://127.0.0.1:5000, "
            f"found {shown(tracking_uri)!r}"
        )
    return tracking_url(file)


def _checked_server(uri: str) -> str:
    if re.search(r"[/?#\\\s]", userinfo_of(uri) or ""):
        raise InvalidValue(
            "Expected an MLflow tracking URI without / ? # or a blank before its last @, found one; where it is "
            "part of the password write it percent-encoded (/ as %2F, ? as %3F, # as %23, a blank as %20), "
            "and an @ behind the host as %40"
        )
    try:
        parts = urlsplit(uri)
        good = bool(parts.hostname) and parts.port != 0 and not re.search(r"[\s\x00-\x1f]", uri)
    except ValueError:
        good = False
    if not good:
        raise InvalidValue(
            "Expected an MLflow tracking URI such as http://127.0.0.1:5000, found one without a host or with a port "
            f"that is none: {shown(uri)!r}"
        )
    return uri.rstrip("/")


def sqlite_file(uri: str) -> Path | None:
    """The absolute path of a SQLite URI's file; None for every other URI."""
    try:
        url = make_url(uri)
    except (ArgumentError, ValueError):
        return None
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return None
    return Path(url.database).absolute()


def secrets_hidden(tracking_uri: str) -> Callable[[str], str]:
    """A function that strips a text of what this URI and MLflow's own variables hold as secret."""
    return hiding(tracking_uri, [os.environ.get(name) for name in _SECRETS])


def make_file(tracking_uri: str) -> None:
    """Makes a SQLite URI's file whole where it is not there yet; does nothing for a server's URI.

    Raises MlflowUnreachable where it cannot be made.
    """
    file = sqlite_file(tracking_uri)
    if file is None:
        return
    try:
        with quiet_mlflow():
            make_whole(file)
    except (ImportError, OSError, OperationalError) as error:
        raise MlflowUnreachable(no_answer(tracking_uri, str(error))) from error


def open_client(tracking_uri: str) -> MlflowClient:
    """A client of this tracking URI alone: no active run, no global URI. A missing SQLite file is created.

    Raises MlflowUnreachable where it cannot be opened.
    """
    file = sqlite_file(tracking_uri)
    # Asked first because importing MLflow alone takes longer than learning that its server is down.
    if file is None and not answers(tracking_uri):
        raise MlflowUnreachable(no_answer(tracking_uri, "nothing there"))
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except (ImportError, OSError) as error:
        raise MlflowUnreachable(no_answer(tracking_uri, str(error))) from error
    make_file(tracking_uri)
    try:
        return MlflowClient(tracking_uri, tracking_uri)
    except (MlflowException, OperationalError) as error:
        raise MlflowUnreachable(_cannot_open(tracking_uri, file, str(error))) from error


def _cannot_open(tracking_uri: str, file: Path | None, problem: str) -> str:
    """The message where MLflow cannot be opened; a file that an interrupted upgrade left has its own way out."""
    if file is None or not _HALF_MIGRATED.search(problem):
        return no_answer(tracking_uri, problem)
    return (
        f"Expected a whole MLflow database in {file}, found one whose upgrade was interrupted; move it away "
        f"(mv {file.name} {file.name}.old) and run `raie mlflow sync --again`, which fills a new one"
    )


def no_answer(tracking_uri: str, problem: str) -> str:
    """The message of an MlflowUnreachable."""
    problem = secrets_hidden(tracking_uri)(problem)
    return (
        f"Expected MLflow at {shown(tracking_uri)} to answer, found {problem}; the events wait for the next sync"
    )


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
        # MLflow raises its own error while it handles the one that says why, without naming it as the cause.
        link = link.__cause__ or link.__context__
    return False


def is_refusal(error: Exception) -> bool:
    """Whether MLflow refused the request for what it holds, so that the same request will be refused again."""
    import requests

    if isinstance(error, requests.HTTPError):
        return error.response is not None and error.response.status_code in _REFUSED_STATUS
    return getattr(error, "error_code", None) in _REFUSALS


def artifact_location(tracking_uri: str, experiment: str) -> str | None:
    """Where a new experiment keeps its artifacts; None lets the server decide.

    Beside the SQLite file: MLflow's own choice would be a folder wherever the process happens to run.
    """
    file = sqlite_file(tracking_uri)
    return None if file is None else (artifact_root(file) / experiment).as_uri()


def page_address(tracking_uri: str) -> str:
    """What links to MLflow's pages begin with; empty for a SQLite file, whose pages only link to each other."""
    return "" if tracking_uri.startswith("sqlite") else f"{shown(tracking_uri)}/"


def model_page(tracking_uri: str, model: str) -> str:
    """The page of a registered model within MLflow's pages; the list of models where a SQLite file has no such model."""
    name, file = legal_model_name(model), sqlite_file(tracking_uri)
    if file is not None:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
            try:
                known = connection.execute("SELECT 1 FROM registered_models WHERE name = ?", (name,)).fetchone()
            except sqlite3.OperationalError:
                known = None
        if known is None:
            return link("", "/models")
    return link("", f"/models/{quote(name)}")


def answers(tracking_uri: str) -> bool:
    """Whether MLflow is there now, asked without importing it; a SQLite file counts once it is made."""
    file = sqlite_file(tracking_uri)
    if file is not None:
        return is_made(file)
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
    file = sqlite_file(uri)
    if file is None:
        raise InvalidValue(f"Expected a SQLite file to show, found a server: open {shown(uri)} in a browser")
    options = {
        "--backend-store-uri": uri,
        "--artifacts-destination": artifact_root(file).as_uri(),
        "--host": "127.0.0.1",
        "--port": str(port),
        "--workers": "1",
    }
    argv = [sys.executable, "-m", "mlflow", "server"]
    argv += [argument for option in options.items() for argument in option]
    return argv, {**os.environ, **_SERVER}
