"""The ends of the audit chain that MLflow shows: each version of a model carries the one of its time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from raie.registry.audit import Checkpoint, parse_checkpoint
from raie.registry.errors import InvalidValue, MlflowUnreachable
from raie.registry.mlflow.client import answers, checked_uri, is_unreachable, no_answer, open_client, quiet_mlflow
from raie.registry.mlflow.payload import legal_model_name

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["published_in_mlflow"]

_KEEPER = "MLflow"


def published_in_mlflow(tracking_uri: str, models: Iterable[str]) -> list[Checkpoint]:
    """Every chain head that MLflow keeps with a version of these models.

    Raises InvalidValue for a URI that is none, MlflowUnreachable.
    """
    uri = checked_uri(tracking_uri)
    if not answers(uri):
        raise MlflowUnreachable(no_answer(uri, "nothing there"))
    with quiet_mlflow():
        client = open_client(uri)
        try:
            return [checkpoint for model in models for checkpoint in _of_model(client, legal_model_name(model))]
        except Exception as error:
            if is_unreachable(error):
                raise MlflowUnreachable(no_answer(uri, "a broken connection")) from error
            raise


def _of_model(client: MlflowClient, name: str) -> Iterator[Checkpoint]:
    token: str | None = None
    while token is None or token:
        page = client.search_model_versions(f"name = '{name}'", page_token=token)
        for version in page:
            end = version.tags.get("raie.audit_head")
            if end:
                yield _checkpoint(end)
        token = page.token or ""


def _checkpoint(end: str) -> Checkpoint:
    """The end that a tag shows; one that somebody changed is one that the chain does not hold."""
    try:
        return parse_checkpoint(end, _KEEPER)
    except InvalidValue:
        # Events published by the first raie carry the hash alone.
        return Checkpoint(None, end, _KEEPER)
