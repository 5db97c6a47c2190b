"""`raie regions list` and `show`: the regions of a snapshot, and every version a region ever had."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from raie.cli.ui.limits import limit_option, newest, older_follow
from raie.cli.ui.output import Output, accent, faint, json_option, short, table, when
from raie.cli.ui.records import degrees, expiry_json, expiry_lines, names, version_json
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.registry import AdapterVersion

__all__ = ["list_regions", "show"]


@click.command("list")
@click.argument("ref", default="head")
@json_option
@in_workspace
def list_regions(workspace: Workspace, ref: str, output: Output) -> None:
    """List the regions of a snapshot with their versions. REF is the head by default.

    REF is head, an alias, edit:N, or the first characters of a snapshot's id. A region's members are the windows that it
    was fitted on. Its weight is its share of all members.

    \b
    Examples:
      raie regions list
      raie regions list production --json
    """
    from raie.registry import lineage

    registry, model = workspace.registry(), workspace.model
    snapshot = lineage.find(registry, model, ref)
    held = lineage.versions_in(registry, snapshot)
    versions = [held[region] for region in sorted(held)]
    members = sum(version.change.count for version in versions)
    value = {
        "model": model,
        "snapshot": snapshot.id,
        "expired": expiry_json(snapshot),
        "regions": [version_json(v) | {"weight": _weight(v, members)} for v in versions],
    }
    told = [f"{len(versions)} regions of {short(snapshot.id)}", *expiry_lines(snapshot)]
    output.show(value, lambda: [*_list(versions, members), "", *told])


def _weight(version: AdapterVersion, members: int) -> float:
    return version.change.count / members if members else 0.0


def _list(versions: Sequence[AdapterVersion], members: int) -> list[str]:
    headers = ["region", "version", "edit", "action", "adapter", "members", "weight", "radius", "concentration"]
    rows = [
        [
            version.region,
            accent(f"v{version.version}"),
            version.edit,
            version.change.action,
            "yes" if "lora" in version.entry else "no",
            version.change.count,
            f"{_weight(version, members):.1%}",
            degrees(version.change.radius),
            f"{version.change.concentration:.1f}",
        ]
        for version in versions
    ]
    return table(headers, rows, right=[0, 2, 5, 6, 7, 8])


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
    from raie.registry import NotFound, lineage

    registry, model = workspace.registry(), workspace.model
    versions, more = newest(lineage.newest_versions(registry, model, region, limit + 1), limit)
    if not versions:
        raise NotFound(
            f"Expected a region of model {model!r}, found none numbered {region}; see `raie regions list`"
        )
    pointed = _pointed(workspace, versions)
    value = {
        "model": model,
        "region": region,
        "versions": [version_json(v) | {"held_by": pointed[v.version]} for v in versions],
        "more": more,
    }
    output.show(value, lambda: [*_versions(versions, pointed), *older_follow("versions", more=more)])


def _pointed(workspace: Workspace, versions: Sequence[AdapterVersion]) -> dict[int, list[str]]:
    """By version: the head, if it holds it, and the aliases whose snapshots do."""
    registry, model = workspace.registry(), workspace.model
    refs = ["head", *(alias.name for alias in registry.aliases(model))]
    contents = {ref: registry.resolve(model, ref).content for ref in refs}
    return {v.version: [ref for ref in refs if contents[ref].regions.get(v.region) == v.entry] for v in versions}


def _versions(versions: Sequence[AdapterVersion], pointed: dict[int, list[str]]) -> list[str]:
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
    rows = [_version_row(version, pointed[version.version]) for version in versions]
    return table([*headers, ""], rows, right=[1, 3, 4, 5, 6])


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
