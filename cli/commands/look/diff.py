"""`raie diff`: what differs between two snapshots, and whose recommendations changed most."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.differences import diff_json, digest_lines, edit_lines, region_lines, untouched_line
from raie.cli.ui.limits import limit_option
from raie.cli.ui.log_options import given_options, later_log_options
from raie.cli.ui.output import Output, accent, faint, json_option, one_line, table
from raie.cli.ui.progress import patient_bars
from raie.cli.ui.records import expiry_lines, step
from raie.cli.ui.workspace_option import in_workspace
from raie.errors import UsageError
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.snapshots.changed_users import ChangedUser, ChangedUsers
    from raie.snapshots.recommend import ScoredItem
    from raie.snapshots.snapshot_diff import SnapshotDiff

__all__ = ["diff", "edit_diff"]

_OF_USERS = ("top", "user_column", "item_column", "time_column", "duplicates", "separator", "header")


@click.command()
@click.argument("older")
@click.argument("newer", required=False)
@click.option(
    "--users",
    "log",
    type=click.Path(readable=False, path_type=str),
    metavar="LOG",
    help="Also the users of this log whose 10 best items changed most.",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    metavar="N",
    default=5,
    show_default=True,
    help="Users to show, with --users.",
)
@limit_option
@later_log_options
@json_option
@in_workspace
def diff(
    workspace: Workspace,
    older: str,
    newer: str | None,
    log: str | None,
    top: int,
    limit: int,
    reading: Mapping[str, Any],
    output: Output,
) -> None:
    """Compare two snapshots, or an edit with its base.

    One argument compares an edit (3 or edit:3) with its base, or a snapshot with its parent. Two arguments are
    snapshots: head, an alias, edit:N or N, or the first characters of an id. It shows the edits between them and what
    they took back, regions added, changed and removed, and the digests that differ. The database alone answers.

    With --users both snapshots answer every user of LOG, which needs the engine.

    \b
    Examples:
      raie diff 3
      raie diff production head
      raie diff production head --users log.csv --top 3
    """
    if log is None and (typed := given_options(_OF_USERS)):
        raise UsageError(
            f"expected --users LOG with {typed[0]}, found none: name the log, or leave {typed[0]} out"
        )
    result = workspace.diff(older, newer)
    users = None if log is None else _changed_users(workspace, result, log, top, reading)
    value = diff_json(result) | ({} if users is None else {"users": _users_json(users)})
    output.show(value, lambda: _lines(result, users, limit))


# The word that this command had before there was `raie diff`; scripts go on to use it.
edit_diff = copy.copy(diff)
edit_diff.help = """Compare two snapshots, or an edit with its base, as `raie diff` does.

\b
Examples:
  raie edit diff 3
  raie edit diff production head
"""


def _changed_users(
    workspace: Workspace, diff: SnapshotDiff, log: str, top: int, reading: Mapping[str, Any]
) -> ChangedUsers:
    from raie.snapshots.changed_users import changed_users

    with patient_bars() as progress:
        return changed_users(workspace, diff.older, diff.newer, log, top=top, reading=reading, progress=progress)


def _users_json(users: ChangedUsers) -> dict[str, Any]:
    return {
        "compared": users.users,
        "changed": users.changed,
        "by_region": [{"region": region, "changed": count} for region, count in users.by_region.items()],
        "examples": [asdict(user) for user in users.examples],
    }


def _lines(diff: SnapshotDiff, users: ChangedUsers | None, limit: int) -> list[str]:
    lines = [*expiry_lines(diff.older, diff.newer), step(diff.older.id, diff.newer.id)]
    lines += edit_lines(diff.edits, limit)
    if diff.same_content:
        return [*lines, "the same content", *([] if users is None else _user_lines(users))]
    lines += [*region_lines(diff.regions), "", untouched_line(diff)]
    return [*lines, *([] if users is None else _user_lines(users)), *digest_lines(diff)]


def _user_lines(users: ChangedUsers) -> list[str]:
    lines = ["", f"{users.changed:,} of {users.users:,} users get another top 10{_regions(users)}"]
    for user in users.examples:
        lines += ["", _user_line(user), *_lists(user)]
    return lines


def _regions(users: ChangedUsers) -> str:
    shown = [f"{'cold' if region is None else region} {count:,}" for region, count in users.by_region.items()]
    return f"; by region: {', '.join(shown)}" if shown else ""


def _user_line(user: ChangedUser) -> str:
    older, newer = ("none" if region is None else str(region) for region in (user.older_region, user.newer_region))
    region = older if older == newer else f"{older} → {newer}"
    return f"{accent(one_line(user.user))}  region {region}, {user.replaced} of {len(user.newer)} items are new"


def _lists(user: ChangedUser) -> list[str]:
    kept = {item.item for item in user.older} & {item.item for item in user.newer}
    length = max(len(user.older), len(user.newer))
    rows = [
        [rank + 1, *(_item(side[rank] if rank < len(side) else None, kept) for side in (user.older, user.newer))]
        for rank in range(length)
    ]
    return table(["", "older", "newer"], rows, right=[0])


def _item(item: ScoredItem | None, kept: set[str]) -> str:
    """An item by its title where it has one; what both lists hold is faint."""
    if item is None:
        return ""
    text = one_line(f"{item.item}  {item.title}" if item.title else item.item)
    return faint(text) if item.item in kept else text
