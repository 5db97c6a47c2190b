"""`raie backup` and `raie restore`: the database at one moment in a folder, and back again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from raie.cli.ui.chain_head import publish_end
from raie.cli.ui.confirm import ask, yes_option
from raie.cli.ui.output import Output, accent, faint, json_option, one_line, size, times
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace, actor, find

if TYPE_CHECKING:
    from raie.registry.maintenance.backup import Backup
    from raie.registry.maintenance.restore import Restored

__all__ = ["backup", "restore"]

_FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("--blobs", is_flag=True, help="Copy the blobs too, each one verified.")
@json_option
@in_workspace
def backup(workspace: Workspace, folder: Path, blobs: bool, output: Output) -> None:
    """Copy the database as it is at one moment, with the list of the blobs that it needs, into a new folder.

    May run beside anything; to copy the database's file while somebody writes gives one that is torn. The folder is
    whole or absent, holds no secret, and is the same for SQLite and PostgreSQL. Without --blobs the store is backed up
    by other means, after this. Keep the digest elsewhere: it covers everything in the folder.

    \b
    Examples:
      raie backup /backups/monday
      raie backup /backups/monday --blobs --json
    """
    from raie.migrations.filling import fill
    from raie.registry.maintenance import backup as backups

    made = backups.make(workspace.registry(), folder, fill, with_blobs=blobs)
    output.show({"folder": str(folder)} | _json(made), lambda: _draw(str(folder), made))


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


def _draw(folder: str, made: Backup) -> list[str]:
    where = "in the folder" if made.with_blobs else "in the store, to be backed up after this"
    return [
        f"{faint('backup    ')}  {folder}",
        f"{faint('digest    ')}  {made.digest}",
        f"{faint('chain head')}  {made.chain_head}",
        f"{faint('blobs     ')}  {len(made.blobs)}, {size(made.bytes)}, {where}",
    ]


@click.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("--to", metavar="WORKSPACE", type=_FOLDER, help="Folder of the raie.toml whose database is made.")
@click.option(
    "--replace", is_flag=True, help="Also where an SQLite file holds models; that file is kept beside it."
)
@yes_option
@json_option
@click.pass_obj
def restore(start: Path | None, folder: Path, to: Path | None, replace: bool, yes: bool, output: Output) -> None:
    """Check a backup and bring it back into the database of a workspace that is empty or not there.

    Everything is checked first: the manifest, the file, every reference, every signature, the audit chain against what
    the store keeps of it, and that the store holds every blob; blobs that it lacks are taken from the backup. Then the
    database is made whole or not at all. Says how many later events are lost. With --replace it takes the store over from
    the database that is put aside; beside another database that works on the same store it can only be read, until
    `raie registry fork` or `raie registry move`.

    \b
    Examples:
      raie restore /backups/monday
      raie restore /backups/monday --to shop-again
      raie restore /backups/monday --replace --yes
    """
    from raie.migrations.filling import fill
    from raie.registry import Author
    from raie.registry.maintenance import restore as restoring

    workspace = find(to or start)
    if replace:
        ask("Replace the registry of this workspace by the backup?", yes=yes)
    owned = replace and _owns_store(workspace)
    done = restoring.restore(
        folder, workspace.database, workspace.store, fill, author=Author(actor()), replace=replace
    )
    read_only = _taken_over(workspace, done, owned)
    publish_end(workspace)
    replaced = None if done.replaced is None else str(done.replaced)
    value = _json(done.backup) | {"blobs_put": done.blobs_put, "lost_events": done.lost, "replaced": replaced}
    value |= {"read_only": read_only}

    def draw() -> list[str]:
        lines = [
            *_draw(str(folder), done.backup)[:3],
            f"{faint('restored  ')}  {len(done.backup.blobs)} blobs are there",
        ]
        if done.blobs_put:
            lines[-1] += f", {done.blobs_put} of them taken from the backup"
        if replaced:
            lines.append(f"{faint('kept      ')}  {replaced}")
        if done.lost:
            lines.append(
                f"{accent('lost', 'red')}  {done.lost} later events that the store knows of are not in this backup"
            )
        if read_only:
            lines.append(f"{accent('read-only', 'yellow')}  {one_line(read_only)}")
        return lines

    output.show(value, draw)


def _owns_store(workspace: Workspace) -> bool:
    """Whether the database that is about to be put aside is the one that writes in the store."""
    from raie.registry import RegistryError
    from raie.registry.ownership import standing

    try:
        return standing.look(workspace.registry()).read_only is None
    except RegistryError:
        return False


def _taken_over(workspace: Workspace, done: Restored, owned: bool) -> str | None:
    """Why the restored database may only be read, in one line with the ways out; None where it may write.

    owned: whether it replaced the database that owned the store, and so nobody else can be at work there. Where the store
    names no owner, as one that the backup's blobs made anew, nobody else is either.
    """
    from raie.registry import Author
    from raie.registry.maintenance import takeover
    from raie.registry.ownership import standing

    registry = workspace.registry()
    state = None if owned else standing.look(registry)
    if state is None or state.marker is None:
        takeover.move(registry, author=Author(actor(), f"restored from backup {done.backup.digest[:12]}"))
        state = standing.look(registry)
    return state.read_only
