"""A snapshot with its history in one file, from one registry to another: staging to production, or over an air gap."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from raie.actor import actor
from raie.callbacks import Progress, ignore_progress
from raie.chain_head import publishes_chain_head
from raie.key_files import read_file
from raie.output_files import whole_file
from raie.registry import Author
from raie.registry.transfer import moving
from raie.registry.transfer.moving import Exported, Imported

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = ["export_snapshot", "import_snapshot"]


def export_snapshot(
    workspace: Workspace, file: Path, *, ref: str = "head", progress: Progress = ignore_progress
) -> Exported:
    """Write a snapshot with its history, evaluations and signatures into a new file.

    Args:
        workspace: Where the model lives.
        file: The file to make; it is whole or absent.
        ref: The snapshot.
        progress: Called as blobs are copied.

    Raises:
        SnapshotExpired: The snapshot's blobs may be gone.
        BlobMissing, BlobCorrupt: A blob is lost.
        RaieError: The file is there already.
    """

    @contextmanager
    def opened() -> Iterator[BinaryIO]:
        with whole_file(Path(file), replace=False) as stream:
            yield stream

    return moving.export_snapshot(workspace.registry(), workspace.model, ref, opened(), progress=progress)


@publishes_chain_head
def import_snapshot(
    workspace: Workspace,
    file: Path,
    *,
    reason: str = "",
    signed_by: str | None = None,
    progress: Progress = ignore_progress,
) -> Imported:
    """Check a file and add what of it is not in this registry yet; the same file again changes nothing.

    Args:
        workspace: Of the registry that receives; its model is the file's.
        file: What `export_snapshot` wrote.
        reason: Why; it stays in the audit log.
        signed_by: A key that must have signed the snapshot: the name of one that is trusted here, or a file with one.
        progress: Called as blobs are read, and as they are put.

    Raises:
        ArchiveDamaged: The file is cut off, was changed, or is none.
        CommitConflict: The model has another history here.
        NotFound: The file is of another model.
        Untrusted: The signature that was asked for is not there.
    """
    return moving.import_snapshot(
        workspace.registry(),
        Path(file),
        author=Author(actor(), reason),
        model=workspace.model,
        signed_by=None if signed_by is None else _key(signed_by),
        progress=progress,
    )


def _key(named: str) -> str:
    """The public key of a file, or the name as it is."""
    path = Path(named)
    if re.fullmatch("[0-9a-f]{64}", named) or not path.is_file():
        return named
    from raie.registry.promotion import signing

    return signing.read_public(read_file(path))
