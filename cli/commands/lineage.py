"""`raie lineage`: what a snapshot is made of, and which edit and which data each part came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from raie.cli.ui.limits import limit_option, newest, older_follow
from raie.cli.ui.output import Output, accent, faint, json_option, one_line, short, times, when
from raie.cli.ui.records import degrees, expiry_lines, names, snapshot_json
from raie.cli.ui.tree import branches
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.registry import AdapterVersion, Edit, Registry, Snapshot

__all__ = ["lineage"]

_Chains: TypeAlias = "Mapping[int, list[AdapterVersion]]"
"""Region -> the versions that led to the one a snapshot holds, newest first."""


@click.command()
@click.argument("ref", default="head")
@click.option("--region", type=click.IntRange(min=0), metavar="R", help="Only this region.")
@limit_option
@json_option
@in_workspace
def lineage(workspace: Workspace, ref: str, region: int | None, limit: int, output: Output) -> None:
    """Show what a snapshot consists of, and where each part came from. REF is the head by default.

    Below each region are the edits that led to its version, newest first, at most --limit. Each has the data that it
    learned from.

    \b
    Examples:
      raie lineage
      raie lineage production
      raie lineage edit:3 --region 2
    """
    from raie.registry import lineage as reads

    registry, model = workspace.registry(), workspace.model
    snapshot = reads.find(registry, model, ref)
    held = reads.versions_in(registry, snapshot)
    if region is not None and region not in held:
        raise click.UsageError(
            f"snapshot {short(snapshot.id)} has no region {region}; see `raie regions list {ref}`"
        )
    edits = _Edits(registry, model)
    wanted = sorted(held) if region is None else [region]
    # One link more than is shown tells whether there is more.
    chains = _chains(registry, edits, [held[number] for number in wanted], limit + 1)
    pointed = [alias.name for alias in registry.aliases(model) if alias.snapshot == snapshot.id]
    head = registry.head(model)
    is_head = head is not None and head.id == snapshot.id
    value = _value(snapshot, chains, edits, pointed, limit=limit, is_head=is_head)
    output.show(value, lambda: _draw(snapshot, chains, edits, names(pointed, is_head=is_head), limit))


class _Edits(dict[int, "Edit"]):
    """The edits of a model by number, each looked up once it is asked for."""

    def __init__(self, registry: Registry, model: str) -> None:
        super().__init__()
        self._registry, self._model = registry, model

    def __missing__(self, number: int) -> Edit:
        self[number] = found = self._registry.edit(self._model, number)
        return found


def _chains(registry: Registry, edits: Mapping[int, Edit], versions: list[AdapterVersion], length: int) -> _Chains:
    """By region: its version, then the one its edit started from, and so on to the region's first, or a length."""
    from raie.registry import lineage as reads

    held: dict[str, Mapping[int, AdapterVersion]] = {}
    chains: dict[int, list[AdapterVersion]] = {version.region: [version] for version in versions}
    for region, chain in chains.items():
        while len(chain) < length and (base := edits[chain[-1].edit].base) is not None:
            if base not in held:
                held[base] = reads.versions_in(registry, reads.find(registry, chain[-1].model, base))
            if region not in held[base]:
                break
            chain.append(held[base][region])
    return chains


def _value(
    snapshot: Snapshot,
    chains: _Chains,
    edits: Mapping[int, Edit],
    aliases: list[str],
    *,
    limit: int,
    is_head: bool,
) -> dict[str, Any]:
    content = snapshot.content
    edit = edits[snapshot.edit]
    return snapshot_json(snapshot) | {
        "kind": edit.kind,
        "actor": edit.actor,
        "reason": edit.reason,
        "is_head": is_head,
        "aliases": aliases,
        "backbone": dict(content.backbone),
        "space": content.space,
        "shared": {part: list(chunks) for part, chunks in content.shared.items()},
        "regions": [
            {
                "region": region,
                "version": chain[0].version,
                "from": [_link_json(link, edits) for link in chain[:limit]],
                "more": len(chain) > limit,
            }
            for region, chain in chains.items()
        ],
    }


def _link_json(version: AdapterVersion, edits: Mapping[int, Edit]) -> dict[str, Any]:
    edit = edits[version.edit]
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


def _draw(snapshot: Snapshot, chains: _Chains, edits: Mapping[int, Edit], pointed: str, limit: int) -> list[str]:
    content = snapshot.content
    edit = edits[snapshot.edit]
    about = [f"edit {edit.number}", edit.kind, when(snapshot.created_at), one_line(edit.actor), pointed]
    shared = [f"{part} {len(chunks)}×" if len(chunks) > 1 else part for part, chunks in content.shared.items()]
    items: list[tuple[str, list[str]]] = [
        (f"backbone  {_roles(content.backbone)}", []),
        (f"space     {faint(short(content.space))}", []),
    ]
    if shared:
        items.append((f"shared    {', '.join(shared)}", []))
    for region, chain in chains.items():
        items.append((f"region {region}  {accent(f'v{chain[0].version}')}", _links(chain, edits, limit)))
    if snapshot.parent is not None:
        items.append((f"parent    {accent(short(snapshot.parent))}", []))
    title = "  ".join([accent(short(snapshot.id)), *filter(None, about)])
    return [title, *expiry_lines(snapshot), *branches(items)]


def _roles(entry: Mapping[str, str]) -> str:
    return "  ".join(f"{role} {faint(short(digest))}" for role, digest in entry.items())


def _links(chain: list[AdapterVersion], edits: Mapping[int, Edit], limit: int) -> list[str]:
    shown, more = newest(chain, limit)
    cells = [_link_cells(version, edits[version.edit]) for version in shown]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    ]
    return branches([(line, []) for line in (*lines, *older_follow("versions", more=more))])


def _link_cells(version: AdapterVersion, edit: Edit) -> list[str]:
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
