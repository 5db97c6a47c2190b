"""`raie regions list` and `show`: the regions of a snapshot, and every version a region ever had."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from raie.cli.ui.descriptions import describe_option, description_json, description_lines, descriptions_if
from raie.cli.ui.limits import limit_option, older_follow
from raie.cli.ui.output import Output, accent, faint, json_option, short, table, when
from raie.cli.ui.records import degrees, expiry_json, expiry_lines, names, version_json
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.history import Regions, RegionVersions
    from raie.registry import AdapterVersion

__all__ = ["list_regions", "show"]


@click.command("list")
@click.argument("ref", default="head")
@describe_option
@json_option
@in_workspace
def list_regions(workspace: Workspace, ref: str, described: bool, output: Output) -> None:
    """List the regions of a snapshot with their versions. REF is the head by default.

    REF is head, an alias, edit:N, or the first characters of a snapshot's id. A region's members are the windows that it
    was fitted on. Its weight is its share of all members. With --describe each region has the items that it has more
    often than the model, how its size changed, and a typical history.

    \b
    Examples:
      raie regions list
      raie regions list --describe
      raie regions list production --json
    """
    from raie import history

    shown = history.regions(workspace, ref)
    about = descriptions_if(workspace, shown.snapshot.id, described)
    value = {
        "model": shown.snapshot.model,
        "snapshot": shown.snapshot.id,
        "expired": expiry_json(shown.snapshot.expired),
        "regions": [
            version_json(version) | {"weight": shown.weight(version)} | description_json(about, version.region)
            for version in shown.versions
        ],
    }
    output.show(value, lambda: [*_regions(shown), *description_lines(about)])


def _regions(shown: Regions) -> list[str]:
    headers = ["region", "version", "edit", "action", "adapter", "members", "weight", "radius", "concentration"]
    rows = [
        [
            version.region,
            accent(f"v{version.version}"),
            version.edit,
            version.change.action,
            "yes" if "lora" in version.entry else "no",
            version.change.count,
            f"{shown.weight(version):.1%}",
            degrees(version.change.radius),
            f"{version.change.concentration:.1f}",
        ]
        for version in shown.versions
    ]
    total = f"{len(rows)} regions of {short(shown.snapshot.id)}"
    return [*table(headers, rows, right=[0, 2, 5, 6, 7, 8]), "", total, *expiry_lines(shown.snapshot)]


@click.command()
@click.argument("region", type=click.IntRange(min=0))
@limit_option
@json_option
@in_workspace
def show(workspace: Workspace, region: int, limit: int, output: Output) -> None:
    """Show the versions of one region, and the edits that made them, newest first.

    Any version can be served again with `raie promote --region REGION --version N`, while a kept snapshot holds its
    bytes.

    \b
    Examples:
      raie regions show 2
      raie regions show 2 --json
    """
    from raie import history

    shown = history.region_versions(workspace, region, limit=limit)
    value = {
        "model": shown.model,
        "region": shown.region,
        "versions": [version_json(v) | {"held_by": list(shown.held_by[v.version])} for v in shown.versions],
        "more": shown.more,
    }
    output.show(value, lambda: _versions(shown))


def _versions(shown: RegionVersions) -> list[str]:
    headers = [
        "version",
        "edit",
        "action",
        "windows",
        "centre moved",
        "radius",
        "members",
        "when (UTC)",
        "snapshot",
    ]
    rows = [_version_row(version, shown.held_by[version.version]) for version in shown.versions]
    return [
        *table([*headers, ""], rows, right=[1, 3, 4, 5, 6]),
        *older_follow("versions", more=shown.more),
    ]


def _version_row(version: AdapterVersion, pointed: Sequence[str]) -> list[object]:
    change = version.change
    return [
        accent(f"v{version.version}"),
        version.edit,
        change.action,
        change.windows,
        degrees(change.centre_shift),
        degrees(change.radius),
        change.count,
        when(version.created_at),
        faint(short(version.snapshot)),
        names([ref for ref in pointed if ref != "head"], is_head="head" in pointed),
    ]
