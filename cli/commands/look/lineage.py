"""`raie lineage`: what a snapshot is made of, and which edit and data each part came from; the history as a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.limits import limit_option, older_follow
from raie.cli.ui.log_options import given_options
from raie.cli.ui.output import Output, accent, faint, json_option, one_line, short, size, times, when
from raie.cli.ui.records import degrees, expiry_lines, names, snapshot_json
from raie.cli.ui.tree import branches
from raie.cli.ui.workspace_option import in_workspace
from raie.errors import UsageError
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.history import Lineage, Link, RegionLineage

__all__ = ["lineage"]

_PAGE = "history.html"


@click.command()
@click.argument("ref", default="head")
@click.option("--region", type=click.IntRange(min=0), metavar="R", help="Only this region.")
@limit_option
@click.option("--html", is_flag=True, help="Write the whole history as an interactive page instead.")
@click.option(
    "--output",
    "-o",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    default=_PAGE,
    help=f"The page's file, with --html.  [default: {_PAGE}]",
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@json_option
@in_workspace
def lineage(
    workspace: Workspace,
    ref: str,
    region: int | None,
    limit: int,
    html: bool,
    file: Path,
    force: bool,
    output: Output,
) -> None:
    """Show what a snapshot consists of, and where each part came from. REF is the head by default.

    Below each region are the edits that led to its version, newest first, at most --limit. Each has the data that it
    learned from.

    --html writes the whole history as one page that a browser opens from the file: snapshots on a time axis, a lane for
    each alias and region, rollbacks and promotions, to click, search and zoom. It loads nothing from elsewhere. With REF
    it opens at that snapshot.

    \b
    Examples:
      raie lineage
      raie lineage production
      raie lineage edit:3 --region 2
      raie lineage --html -o history.html
    """
    _check(html)
    if html:
        return _write(workspace, ref if given_options(["ref"]) else None, file, force, output)
    from raie import history

    shown = history.lineage(workspace, ref, region=region, limit=limit)
    return output.show(_json(shown), lambda: _lines(shown))


def _check(html: bool) -> None:
    """Refuses options that the other form of the command has."""
    strange = given_options(["region", "limit"] if html else ["file", "force"])
    if strange and html:
        raise UsageError(f"--html shows the whole history: leave out {strange[0]}")
    if strange:
        raise UsageError(f"expected --html with {strange[0].replace('file', 'output')}, found none: add it")


def _write(workspace: Workspace, ref: str | None, file: Path, force: bool, output: Output) -> None:
    from raie.snapshots.history_export import write_history

    written = write_history(workspace, file, ref=ref, replace=force)
    value = {"file": str(file), "snapshots": written.snapshots, "edits": written.edits, "bytes": written.size}
    output.show(value, lambda: [f"{file}  {written.snapshots:,} snapshots, {size(written.size)}"])


def _json(lineage: Lineage) -> dict[str, Any]:
    content, edit = lineage.snapshot.content, lineage.edit
    return snapshot_json(lineage.snapshot) | {
        "kind": edit.kind,
        "actor": edit.actor,
        "reason": edit.reason,
        "is_head": lineage.is_head,
        "aliases": list(lineage.aliases),
        "backbone": dict(content.backbone),
        "space": content.space,
        "shared": {part: list(chunks) for part, chunks in content.shared.items()},
        "regions": [_region_json(region) for region in lineage.regions],
    }


def _region_json(region: RegionLineage) -> dict[str, Any]:
    return {
        "region": region.region,
        "version": region.links[0].version.version,
        "from": [_link_json(link) for link in region.links],
        "more": region.more,
    }


def _link_json(link: Link) -> dict[str, Any]:
    version, edit = link.version, link.edit
    return {
        "version": version.version,
        "edit": edit.number,
        "action": version.change.action,
        "windows": version.change.windows,
        "centre_shift": version.change.centre_shift,
        "snapshot": version.snapshot,
        "data_digest": edit.data_digest,
        "actor": edit.actor,
        "reason": edit.reason,
        **times(created_at=version.created_at),
    }


def _lines(lineage: Lineage) -> list[str]:
    snapshot, edit = lineage.snapshot, lineage.edit
    pointed = names(lineage.aliases, is_head=lineage.is_head)
    about = [f"edit {edit.number}", edit.kind, when(snapshot.created_at), one_line(edit.actor), pointed]
    content = snapshot.content
    shared = [f"{part} {len(chunks)}×" if len(chunks) > 1 else part for part, chunks in content.shared.items()]
    items: list[tuple[str, list[str]]] = [
        (f"backbone  {_roles(content.backbone)}", []),
        (f"space     {faint(short(content.space))}", []),
    ]
    if shared:
        items.append((f"shared    {', '.join(shared)}", []))
    for region in lineage.regions:
        version = accent(f"v{region.links[0].version.version}")
        items.append((f"region {region.region}  {version}", _links(region)))
    if snapshot.parent is not None:
        items.append((f"parent    {accent(short(snapshot.parent))}", []))
    title = "  ".join([accent(short(snapshot.id)), *filter(None, about)])
    return [title, *expiry_lines(snapshot), *branches(items)]


def _roles(entry: Mapping[str, str]) -> str:
    return "  ".join(f"{role} {faint(short(digest))}" for role, digest in entry.items())


def _links(region: RegionLineage) -> list[str]:
    rows = [_link_texts(link) for link in region.links]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return branches([(line, []) for line in (*lines, *older_follow("versions", more=region.more))])


def _link_texts(link: Link) -> list[str]:
    version, edit = link.version, link.edit
    change = version.change
    return [
        f"v{version.version}",
        f"edit {edit.number}",
        change.action,
        f"{change.windows} windows",
        f"moved {degrees(change.centre_shift)}" if change.centre_shift else "",
        f"data {short(edit.data_digest)}",
        when(version.created_at),
        one_line(edit.actor),
    ]
