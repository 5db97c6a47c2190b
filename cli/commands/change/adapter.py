"""`raie adapter`: the adapters of regions as folders that PEFT, transformers and vLLM read, and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.confirm import ask, yes_option
from raie.cli.ui.output import Output, accent, faint, json_option, one_line, short
from raie.cli.ui.records import snapshot_json
from raie.cli.ui.workspace_option import in_workspace
from raie.output_files import require_no_folder
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.edits.adapter_import import PlannedImport
    from raie.edits.edit_result import EditResult
    from raie.snapshots.adapter_export import ExportedAdapter, ExportedBase

__all__ = ["export", "import_adapter"]

_FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("ref")
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("--region", type=click.IntRange(min=0), metavar="R", help="The region whose adapter is exported.")
@click.option("--all", "every", is_flag=True, help="Export every region that has an adapter, into DIR/region-R.")
@click.option("--base", metavar="DIR", type=_FOLDER, help="Also export the base model, into this folder.")
@click.option(
    "--base-model", metavar="NAME", help="The base model's name in the card.  [the model's name and a digest]"
)
@json_option
@in_workspace
def export(
    workspace: Workspace,
    ref: str,
    folder: Path,
    region: int | None,
    every: bool,
    base: Path | None,
    base_model: str | None,
    output: Output,
) -> None:
    """Export a region's adapter in the format of PEFT, with a model card.

    DIR is made, whole or not at all. `peft.PeftModel.from_pretrained` puts the adapter on the base model, which --base
    exports. The update of the items is LoRA on the embedding. README.md names the base model with its digest, and says
    what the format cannot carry. With --all, DIR/region-R is the layout that Ray Serve reads.

    \b
    Examples:
      raie adapter export production out/region-3 --region 3 --base out/base
      raie adapter export head adapters --all
    """
    from raie.snapshots import adapter_export

    if every == (region is not None):
        raise click.UsageError("give either --region R or --all")
    if base is not None:
        # Known now, not when the adapters are written.
        require_no_folder(base)
    if region is None:
        folders = adapter_export.export_all(workspace, folder, ref=ref, base_model=base_model)
    else:
        folders = [adapter_export.export_adapter(workspace, folder, region=region, ref=ref, base_model=base_model)]
    made = None if base is None else adapter_export.export_base(workspace, base, ref=ref)
    value = {
        "adapters": [_folder_json(exported) for exported in folders],
        "base": None if made is None else _base_json(made),
    }
    output.show(value, lambda: _export_lines(folders, made))


def _folder_json(made: ExportedAdapter) -> dict[str, Any]:
    facts = made.facts
    return {
        "folder": str(made.folder),
        "digest": made.digest,
        "snapshot": facts.snapshot,
        "region": facts.region,
        "version": facts.version,
        "base_model": facts.base,
        "base_digest": facts.base_digest,
        "backbone": facts.backbone,
        "files": dict(facts.files),
    }


def _base_json(made: ExportedBase) -> dict[str, Any]:
    return {
        "folder": str(made.folder),
        "name": made.name,
        "digest": made.digest,
        "layout": made.layout,
        "items": made.items,
    }


def _export_lines(folders: Sequence[ExportedAdapter], base: ExportedBase | None) -> list[str]:
    lines = [
        f"region {made.facts.region} v{made.facts.version}  {accent(short(made.digest))}  {one_line(str(made.folder))}"
        for made in folders
    ]
    lines.append(
        f"{faint('base model')}  {one_line(folders[0].facts.base)}  {short(folders[0].facts.base_digest)}"
    )
    if base is not None:
        lines.append(f"{faint('exported  ')}  {one_line(str(base.folder))}, {base.items:,} items")
    return lines


@click.command(name="import")
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option(
    "--region", type=click.IntRange(min=0), metavar="R", help="The region.  [the one it was exported from]"
)
@click.option("--reason", metavar="TEXT", default="", help="Why. Recorded in the history.")
@click.option("--dry-run", is_flag=True, help="Only show what the import would do.")
@yes_option
@json_option
@in_workspace
def import_adapter(
    workspace: Workspace,
    folder: Path,
    region: int | None,
    reason: str,
    dry_run: bool,
    yes: bool,
    output: Output,
) -> None:
    """Import an adapter of PEFT as an edit of one region.

    DIR is a folder of `raie adapter export`, or what PEFT saved of it with raie_adapter.json beside. Shapes, types,
    finite numbers and the backbone's digest are checked first. Then the plan is shown, and the edit is committed: `raie
    rollback` undoes it. Where the region lies, what it replays and its mixture of scores stay. If the region has this
    adapter already, nothing changes.

    \b
    Examples:
      raie adapter import out/region-3 --reason "trained on the cluster"
      raie adapter import out/region-3 --region 5 --dry-run
    """
    from raie.edits import adapter_import

    planned = adapter_import.plan_import(workspace, folder, region=region)
    if planned.idle or dry_run:
        output.show(_plan_json(planned) | {"committed": None}, lambda: _plan_lines(planned))
        return
    if not yes:
        for line in _plan_lines(planned):
            click.echo(line, err=True)
        ask("Commit this edit?", yes=yes)
    result = adapter_import.apply_import(workspace, planned, reason=reason)
    assert result is not None, "an import that is not idle commits"
    value = _plan_json(planned) | {"committed": snapshot_json(result.snapshot)}
    output.show(value, lambda: _result_lines(planned, result))


def _plan_json(planned: PlannedImport) -> dict[str, Any]:
    facts, adapter = planned.facts, planned.adapter
    return {
        "base": planned.base.id,
        "region": planned.region,
        "version": planned.version,
        "idle": planned.idle,
        "from": {
            "model": facts.model,
            "snapshot": facts.snapshot,
            "region": facts.region,
            "version": facts.version,
            "digest": planned.digest,
            "trained_on": planned.trained_on,
        },
        "rank": adapter.rank,
        "items": len(adapter.item_ids),
        "layers_changed": planned.layers[0],
        "layers": planned.layers[1],
    }


def _plan_lines(planned: PlannedImport) -> list[str]:
    facts, adapter = planned.facts, planned.adapter
    if planned.idle:
        return [f"region {planned.region} of {short(planned.base.id)} has this adapter already: nothing to import"]
    source = f"{one_line(facts.model)} {short(facts.snapshot)}, region {facts.region} v{facts.version}"
    since = ", trained on since" if planned.trained_on else ""
    return [
        f"import into region {planned.region} of {accent(short(planned.base.id))}, now v{planned.version}",
        f"{faint('from  ')}  {source}{since}",
        f"{faint('brings')}  rank {adapter.rank}; {planned.layers[0]} of {planned.layers[1]} layers differ; "
        f"{len(adapter.item_ids):,} items updated",
        f"{faint('stays ')}  the region's place, its replay and its mixture of scores; every other region",
    ]


def _result_lines(planned: PlannedImport, result: EditResult) -> list[str]:
    made = f"edit {result.number} committed {accent(short(result.id))} on {short(result.edit.base)}"
    return [made, *_plan_lines(planned)[1:]]
