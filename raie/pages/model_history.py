"""The page of one model's history, read from its registry: what a file and MLflow's artifact both hold."""

from __future__ import annotations

from raie.pages.history_data import PublishedPages
from raie.pages.history_page import history_page
from raie.registry import Registry
from raie.registry.db.engine import reading
from raie.registry.db.shown_url import shown
from raie.registry.edits.whole_history import WholeHistory, whole_history
from raie.registry.mlflow.client import page_address
from raie.registry.mlflow.payload import legal_model_name
from raie.registry.mlflow.published_versions import published_versions

__all__ = ["model_history_page", "published_pages", "read_history"]


def model_history_page(registry: Registry, model: str, tracking_uri: str) -> str:
    """The page of a model's history.

    Args:
        registry: Of the model.
        model: Its name.
        tracking_uri: MLflow's, to link to its pages.

    Returns:
        One HTML document that loads nothing.

    Raises:
        NotFound: There is no such model.
    """
    return history_page(read_history(registry, model), published_pages(registry, model, tracking_uri))


def read_history(registry: Registry, model: str) -> WholeHistory:
    """All that happened to a model, as of one moment.

    Args:
        registry: Of the model.
        model: Its name.

    Raises:
        NotFound: There is no such model.
    """
    with reading(registry.engine) as connection:
        return whole_history(connection, model)


def published_pages(registry: Registry, model: str, tracking_uri: str) -> PublishedPages | None:
    """Where MLflow shows a model's snapshots.

    Args:
        registry: Of the model.
        model: Its name.
        tracking_uri: MLflow's.

    Returns:
        The pages that were published there; None without any, or where MLflow's records are a file, which has no address.
    """
    uri = tracking_uri.rstrip("/")
    address = page_address(uri)
    if not address:
        return None
    with reading(registry.engine) as connection:
        versions = published_versions(connection, model, shown(uri))
    return PublishedPages(address, legal_model_name(model), versions) if versions else None
