"""`raie show`: one snapshot on one screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.descriptions import describe_option, description_json, description_lines, descriptions_if
from raie.cli.ui.differences import diff_json, digests_json, region_lines, state_json
from raie.cli.ui.output import Output, accent, faint, json_option, one_line, short, table, times, when
from raie.cli.ui.records import (
    degrees,
    edit_json,
    expiry_lines,
    names,
    snapshot_json,
    tags_line,
    undid_line,
    undone_line,
)
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.snapshots.region_descriptions import RegionDescription
    from raie.snapshots.snapshot_record import SnapshotRecord

__all__ = ["show"]


@click.command()
@click.argument("ref", default="head")
@describe_option
@json_option
@in_workspace
def show(workspace: Workspace, ref: str, described: bool, output: Output) -> None:
    """Show one snapshot: who made it and why, what it changed, and its regions. REF is the head by default.

    REF is head, an alias, edit:N or N, or the first characters of a snapshot's id. The database alone answers, unless
    --describe also says what each region is about. Times are UTC.

    \b
    Examples:
      raie show
      raie show production
      raie show edit:3 --json
    """
    record = workspace.show(ref)
    about = descriptions_if(workspace, record.snapshot.id, described)
    output.show(_json(record, about), lambda: _lines(record, about))


def _json(record: SnapshotRecord, about: Mapping[int, RegionDescription]) -> dict[str, Any]:
    return snapshot_json(record.snapshot) | {
        "made_by": edit_json(record.edit),
        "is_head": record.is_head,
        "aliases": list(record.aliases),
        "undoes": list(record.undoes),
        "undone_by": record.undone_by,
        "tags": list(record.annotations.tag_names),
        "notes": [
            {"text": note.reason, "actor": note.actor, **times(at=note.at)} for note in record.annotations.notes
        ],
        "regions": [
            {"region": region, **state_json(state), **description_json(about, region)}
            for region, state in record.regions.items()
        ],
        "changes": None if record.changes is None else diff_json(record.changes),
        **digests_json(record.snapshot),
    }


def _lines(record: SnapshotRecord, about: Mapping[int, RegionDescription]) -> list[str]:
    snapshot, changes = record.snapshot, record.changes
    lines = [*expiry_lines(snapshot), *_facts(record), "", *_regions(record), *description_lines(about)]
    if changes is not None and changes.regions:
        lines += ["", f"changes against {short(snapshot.parent)}", *region_lines(changes.regions)[1:]]
    return [*lines, "", *_digests(record)]


def _facts(record: SnapshotRecord) -> list[str]:
    snapshot, edit = record.snapshot, record.edit
    pointed = names(record.aliases, is_head=record.is_head)
    made = [f"edit {edit.number}", edit.kind, undone_line(record.undone_by), undid_line(record.undoes)]
    facts = [
        ("snapshot", f"{accent(short(snapshot.id))}  {pointed}".rstrip()),
        ("made by", "  ".join(filter(None, made))),
        ("who", one_line(edit.actor)),
        ("why", one_line(edit.reason)),
        ("when", f"{when(snapshot.created_at)} UTC"),
        ("parent", "" if snapshot.parent is None else short(snapshot.parent)),
        ("data", "" if edit.data_digest is None else short(edit.data_digest)),
        ("tags", tags_line(record.annotations.tag_names)),
        *(
            ("note", f"{one_line(note.reason)}  {faint(f'{one_line(note.actor)}, {when(note.at)}')}")
            for note in record.annotations.notes
        ),
    ]
    return [f"{faint(name.ljust(8))}  {text}" for name, text in facts if text]


def _regions(record: SnapshotRecord) -> list[str]:
    headers = ["region", "version", "edit", "action", "adapter", "radius", "concentration", "members", "share"]
    rows = [
        [
            region,
            accent(f"v{state.version}"),
            state.edit,
            state.action,
            "yes" if state.adapter else "no",
            degrees(state.radius),
            f"{state.concentration:.1f}",
            f"{state.members:,}",
            f"{state.share:.1%}",
        ]
        for region, state in record.regions.items()
    ]
    return table(headers, rows, right=[0, 2, 5, 6, 7, 8])


def _digests(record: SnapshotRecord) -> list[str]:
    content = record.snapshot.content
    backbone = "  ".join(f"{role} {short(digest)}" for role, digest in content.backbone.items())
    shared = ", ".join(
        f"{part} {len(chunks)}×" if len(chunks) > 1 else part for part, chunks in content.shared.items()
    )
    rows = [("backbone", backbone), ("space", short(content.space)), ("shared", shared)]
    rows.append(("content", short(content.digest)))
    return [f"{faint(name.ljust(8))}  {text}" for name, text in rows if text]
