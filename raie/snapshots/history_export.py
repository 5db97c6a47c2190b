"""The whole history of a model as a page in a file, for people who have no registry at hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from raie.edits.edit_records import edit_reference
from raie.output_files import require_free, whole_file
from raie.pages.history_page import history_page
from raie.pages.model_history import published_pages, read_history
from raie.registry import lineage

if TYPE_CHECKING:
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
    registry, model = workspace.registry(), workspace.model
    opened = None if ref is None else lineage.find(registry, model, edit_reference(ref)).id
    history = read_history(registry, model)
    pages = published_pages(registry, model, workspace.tracking_uri)
    data = history_page(history, pages, opened).encode()
    with whole_file(file, replace=replace) as stream:
        stream.write(data)
    return WrittenHistory(file, len(history.snapshots), len(history.edits), len(data))
