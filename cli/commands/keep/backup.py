"""`raie backup` and `raie restore`: the database at one moment in a folder, and back again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from raie.cli.ui.confirm import ask, yes_option
from raie.cli.ui.output import Output, accent, faint, json_option, one_line, size, times
from raie.cli.ui.progress import patient_bars
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace
from raie.workspace_file import find

if TYPE_CHECKING:
    from raie.registry.maintenance.backup import Backup
    from raie.upkeep import Restoration

__all__ = ["backup", "restore"]

_FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("--blobs", is_flag=True, help="Copy the blobs too. Each one is verified.")
@json_option
@in_workspace
def backup(workspace: Workspace, folder: Path, blobs: bool, output: Output) -> None:
    """Copy the database at one moment, with the list of the blobs that it needs, into a new folder.

    It may run at any time, beside any other command. A plain copy of the database's file is torn if somebody writes
    meanwhile. The folder is whole or absent, holds no secret, and has one format for SQLite and PostgreSQL. Without
    --blobs, back the store up by other means, after this. Keep the digest elsewhere: it covers the whole folder.

    \b
    Examples:
      raie backup /backups/monday
      raie backup /backups/monday --blobs --json
    """
    from raie import upkeep

    with patient_bars() as progress:
        made = upkeep.backup(workspace, folder, blobs=blobs, progress=progress)
    output.show({"folder": str(folder)} | _json(made), lambda: _backup_lines(str(folder), made))


def _json(made: Backup) -> dict[str, object]:
    return {
        "digest": made.digest,
        "registry": made.registry,
        "revision": made.revision,
        "chain_head": made.chain_head,
        **times(made_at=made.made_at),
        "blobs": len(made.blobs),
        "bytes": made.bytes,
        "with_blobs": made.with_blobs,
    }


def _backup_lines(folder: str, made: Backup) -> list[str]:
    where = "in the folder" if made.with_blobs else "in the store, to be backed up after this"
    return [
        f"{faint('backup    ')}  {folder}",
        f"{faint('digest    ')}  {made.digest}",
        f"{faint('chain head')}  {made.chain_head}",
        f"{faint('blobs     ')}  {len(made.blobs)}, {size(made.bytes)}, {where}",
    ]


@click.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("--to", metavar="DIR", type=_FOLDER, help="Workspace to restore into.  [that of --workspace]")
@click.option(
    "--replace",
    is_flag=True,
    help="Also replace an SQLite file that holds models. The old file is kept beside it.",
)
@yes_option
@json_option
@click.pass_obj
def restore(start: Path | None, folder: Path, to: Path | None, replace: bool, yes: bool, output: Output) -> None:
    """Check a backup and restore it into the database of a workspace that is empty or does not exist.

    Everything is checked first: the manifest, the file, every reference, every signature, the audit chain against its
    checkpoints in the store, and that the store holds every blob. Blobs that the store lacks are taken from the backup.
    Then the database is written whole or not at all. The number of later events that are lost is shown. With --replace
    the restored database takes the store over from the one it replaces. If another database works on the same store,
    the restored one is read-only until `raie registry fork` or `raie registry move`.

    \b
    Examples:
      raie restore /backups/monday
      raie restore /backups/monday --to shop-again
      raie restore /backups/monday --replace --yes
    """
    from raie import upkeep

    workspace = find(to or start)
    if replace:
        ask("Replace the registry of this workspace by the backup?", yes=yes)
    with patient_bars() as progress:
        done = upkeep.restore(workspace, folder, replace=replace, progress=progress)
    restored = done.restored
    value = _json(restored.backup) | {
        "blobs_put": restored.blobs_put,
        "lost_events": restored.lost,
        "replaced": None if restored.replaced is None else str(restored.replaced),
        "read_only": done.read_only,
    }
    output.show(value, lambda: _restore_lines(str(folder), done))


def _restore_lines(folder: str, done: Restoration) -> list[str]:
    restored = done.restored
    blobs = f"{len(restored.backup.blobs)} blobs are there"
    if restored.blobs_put:
        blobs += f", {restored.blobs_put} of them taken from the backup"
    lines = [*_backup_lines(folder, restored.backup)[:3], f"{faint('restored  ')}  {blobs}"]
    if restored.replaced is not None:
        lines.append(f"{faint('kept      ')}  {restored.replaced}")
    if restored.lost:
        lines.append(
            f"{accent('lost', 'red')}  {restored.lost} later events that the store knows of are not in this backup"
        )
    if done.read_only:
        lines.append(f"{accent('read-only', 'yellow')}  {one_line(done.read_only)}")
    return lines
