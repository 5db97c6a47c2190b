"""The whole history of a model as a page in a file, for people who have no registry at hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from raie.edits.edit_records import edit_reference
from raie.output_files import require_free, whole_file
from raie.pages.history_data import PublishedPages
from raie.pages.history_page import history_page
from raie.registry.db.engine import reading
from raie.registry.db.queries import resolve_id
from raie.registry.db.shown_url import shown
from raie.registry.mlflow.client import page_address
from raie.registry.mlflow.payload import legal_model_name
from raie.registry.mlflow.published_versions import published_versions
from raie.registry.whole_history import whole_history

if TYPE_CHECKING:
    from raie.registry import Registry
    from raie.workspace import Workspace

__all__ = ["WrittenHistory", "write_history"]


@dataclass(frozen=True)
class WrittenHistory:
    """A page that was written.

    Attributes:
        file: Where it is.
        snapshots: How many it shows; edits: those that made none included.
        size: Bytes.
    """

    file: Path
    snapshots: int
    edits: int
    size: int


def write_history(
    workspace: Workspace, file: Path, *, ref: str | None = None, replace: bool = False
) -> WrittenHistory:
    """Write the page of the whole history: snapshots, regions, rollbacks and promotions on one time line.

    Args:
        workspace: Whose model it is.
        file: The file to make; it is whole or absent.
        ref: The snapshot whose details the page shows first; None for the whole history.
        replace: Whether a file that is there may be written over.

    Returns:
        What was written.

    Raises:
        RaieError: The file is there and may not be written over, or is a link or a device.
        NotFound: There is no such snapshot, or no model yet.
    """
    require_free(file, replace=replace)
    registry = workspace.registry()
    with reading(registry.engine) as connection:
        opened = None if ref is None else resolve_id(connection, workspace.model, edit_reference(ref))
        history = whole_history(connection, workspace.model)
    data = history_page(history, _pages(workspace, registry), opened).encode()
    with whole_file(file, replace=replace) as stream:
        stream.write(data)
    return WrittenHistory(file, len(history.snapshots), len(history.edits), len(data))


def _pages(workspace: Workspace, registry: Registry) -> PublishedPages | None:
    """Where a server shows the snapshots; a file of MLflow's records has no address."""
    uri = workspace.tracking_uri.rstrip("/")
    address = page_address(uri)
    if not address:
        return None
    with reading(registry.engine) as connection:
        versions = published_versions(connection, workspace.model, shown(uri))
    return PublishedPages(address, legal_model_name(workspace.model), versions) if versions else None
