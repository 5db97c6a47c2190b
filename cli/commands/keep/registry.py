"""`raie registry`: which registry a database is, whether it owns its store, and what to do if it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from raie.cli.ui.confirm import ask, yes_option
from raie.cli.ui.output import Output, accent, faint, json_option, one_line, say, short
from raie.cli.ui.progress import progress_bars
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.registry.ownership.standing import Ownership

__all__ = ["fork", "move", "separate", "show"]

reason_option = click.option("--reason", metavar="TEXT", required=True, help="Why. Recorded in the audit log.")


@click.command()
@json_option
@in_workspace
def show(workspace: Workspace, output: Output) -> None:
    """Show the registry's id, its part of the store, and whether it may write there.

    A registry has a random id and an epoch. Its audit chain records both, and a marker in its part of the store repeats
    them. If the two differ, this database is a copy or the store is another registry's. Then it is read-only.

    \b
    Examples:
      raie registry show
      raie registry show --json
    """
    from raie import upkeep

    ownership = upkeep.ownership(workspace)
    marker, why = ownership.marker, ownership.read_only
    value = {
        "registry": ownership.epoch.registry,
        "epoch": ownership.epoch.number,
        "prefix": ownership.epoch.prefix,
        "marker": marker and {"registry": marker.registry, "epoch": marker.epoch, "released": marker.released},
        "standing": ownership.standing,
        "shares_root_with": list(ownership.others),
        "chain_head_lacking": ownership.behind,
        "writable": why is None,
        "why_not": why,
        "collectable": why is None and ownership.shared is None,
        "why_not_collectable": why or ownership.shared,
    }
    output.show(value, lambda: _lines(workspace, ownership))


def _lines(workspace: Workspace, ownership: Ownership) -> list[str]:
    epoch, marker = ownership.epoch, ownership.marker
    named = "none yet" if marker is None else f"registry {short(marker.registry)}, epoch {marker.epoch}"
    lines = [
        f"{faint('registry')}  {epoch.registry}",
        f"{faint('epoch   ')}  {epoch.number}  {faint(one_line(f'{epoch.actor}: {epoch.reason}'))}",
        f"{faint('store   ')}  {workspace.store}",
        f"{faint('prefix  ')}  {epoch.prefix or 'none: the root of the store'}",
        f"{faint('marker  ')}  {'not a marker' if ownership.standing == 'unreadable' else named}",
    ]
    if ownership.read_only is not None:
        return [*lines, f"{accent('read-only', 'red')}  {one_line(ownership.read_only)}"]
    if ownership.shared is not None:
        return [*lines, f"{accent('shared', 'red')}  {one_line(ownership.shared)}"]
    return [*lines, accent("may write, expire and collect", "green")]


@click.command()
@reason_option
@yes_option
@in_workspace
def fork(workspace: Workspace, reason: str, yes: bool) -> None:
    """Turn this copy of a database into a registry of its own.

    It gets a new id and its own part of the same store. First, every blob that its kept snapshots need is copied there
    and read back. The registry that it was copied from stays as it is. If interrupted, the same command continues.

    \b
    Examples:
      raie registry fork --reason "disaster drill" --yes
    """
    from raie import upkeep

    workspace.registry()  # one that cannot be opened is refused before anybody is asked
    ask("Copy the blobs that this database needs, and make it a registry of its own?", yes=yes)
    with progress_bars() as progress:
        done = upkeep.fork(workspace, reason, progress=progress)
    say(
        f"registry {done.epoch.registry} begins, epoch {done.epoch.number}: {done.copied} blobs in {done.epoch.prefix}"
    )


@click.command()
@reason_option
@yes_option
@in_workspace
def move(workspace: Workspace, reason: str, yes: bool) -> None:
    """Let this database take the store over from another copy of it.

    Use it for a database that was restored or moved, if the other copy is gone or retired. From then on the other copy is
    refused. Checkpoints in the store of events that this database lacks no longer count: `raie verify` shows how many
    there are.

    \b
    Examples:
      raie registry move --reason "restored after the disk failed" --yes
    """
    from raie import upkeep

    workspace.registry()  # one that cannot be opened is refused before anybody is asked
    ask("Take the store over, so that any other copy of this database may no longer write?", yes=yes)
    done = upkeep.move(workspace, reason)
    if done is None:
        say("this database owns its part of the store already")
    else:
        say(f"registry {done.epoch.registry} goes on in this database, epoch {done.epoch.number}")


@click.command()
@reason_option
@yes_option
@in_workspace
def separate(workspace: Workspace, reason: str, yes: bool) -> None:
    """Give this registry a part of the store of its own.

    Use it if several registries share the store's root. The registry's blobs and the checkpoints of its audit chain are
    copied to registries/ID and read back before it switches. The blobs in the root stay, because another registry may
    need them. Once one registry is left there, its `raie gc --orphans` deletes what nobody needs. If interrupted, the
    same command continues.

    \b
    Examples:
      raie registry separate --reason "shares the team's store" --yes
    """
    from raie import upkeep

    workspace.registry()  # one that cannot be opened is refused before anybody is asked
    ask("Copy this registry's blobs to a part of the store of its own, and use that from now on?", yes=yes)
    with progress_bars() as progress:
        done = upkeep.separate(workspace, reason, progress=progress)
    if done is None:
        say("this registry has a part of the store of its own already")
    else:
        say(f"registry {done.epoch.registry} now has {done.epoch.prefix}: {done.copied} blobs copied")
