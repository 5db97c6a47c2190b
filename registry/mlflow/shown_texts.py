"""Every text that MLflow shows, with where it stands: what a search for a word goes through.

Of a SQLite file it is every text column of every table, and every artifact beside it. A server is asked for its runs,
registered models and versions; their artifacts are written from the same events.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import MetaData, String, create_engine, select
from sqlalchemy.exc import SQLAlchemyError

from raie.registry.db.sqlite_url import sqlite_url
from raie.registry.errors import MlflowUnreachable
from raie.registry.mlflow.client import checked_uri, no_answer, open_client, quiet_mlflow, sqlite_file
from raie.registry.mlflow.sqlite_file import artifact_root, is_made

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["shown_texts"]


def shown_texts(tracking_uri: str) -> Iterator[tuple[str, str]]:
    """Every text of an MLflow; nothing of a SQLite file that was never made.

    Args:
        tracking_uri: MLflow's.

    Yields:
        Where a text stands, and the text.

    Raises:
        InvalidValue: for a URI that is none.
        MlflowUnreachable: where there is no answer.
    """
    uri = checked_uri(tracking_uri)
    file = sqlite_file(uri)
    if file is not None:
        if is_made(file):
            yield from _of_tables(uri, file)
        yield from _of_artifacts(artifact_root(file))
        return
    with quiet_mlflow():
        yield from _of_server(uri)


def _of_tables(uri: str, file: Path) -> Iterator[tuple[str, str]]:
    engine, tables = create_engine(sqlite_url(file)), MetaData()
    try:
        tables.reflect(engine)
        with engine.connect() as connection:
            for table in tables.sorted_tables:
                texts = [column for column in table.columns if isinstance(column.type, String)]
                for row in connection.execute(select(*texts)) if texts else ():
                    for column, text in zip(texts, row, strict=True):
                        yield f"{table.name}.{column.name}", str(text or "")
    except SQLAlchemyError as error:
        raise MlflowUnreachable(no_answer(uri, str(error))) from error
    finally:
        engine.dispose()


def _of_artifacts(root: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(root.rglob("*")) if root.is_dir() else ():
        if path.is_file():
            yield f"artifact {path.relative_to(root)}", path.read_bytes().decode(errors="replace")


def _of_server(uri: str) -> Iterator[tuple[str, str]]:
    from mlflow.exceptions import MlflowException

    client = open_client(uri)
    try:
        for experiment in _pages(client.search_experiments):
            for run in _pages(client.search_runs, [experiment.experiment_id]):
                for kind in ("tags", "params"):
                    for name, text in getattr(run.data, kind).items():
                        yield f"run {run.info.run_id} {kind} {name}", str(text)
        for model in _pages(client.search_registered_models):
            yield f"registered model {model.name}", str(model.description or "")
            yield from _of_versions(client, model.name)
    except MlflowException as error:
        raise MlflowUnreachable(no_answer(uri, str(error))) from error


def _of_versions(client: MlflowClient, name: str) -> Iterator[tuple[str, str]]:
    quoted = name.replace("'", "\\'")
    for version in _pages(client.search_model_versions, f"name='{quoted}'"):
        yield f"version {version.version} of {name}", str(version.description or "")
        for tag, text in version.tags.items():
            yield f"version {version.version} of {name} tag {tag}", str(text)


def _pages(search: Any, *arguments: Any) -> Iterator[Any]:
    """Every result of a search that gives a page at a time."""
    token = None
    while True:
        page = search(*arguments, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
