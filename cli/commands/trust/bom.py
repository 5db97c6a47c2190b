"""`raie bom`: the bill of materials of a snapshot."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from raie.cli.ui.output import say
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

__all__ = ["bom"]


@click.command()
@click.argument("ref", default="head")
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write.  [standard output]",
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@in_workspace
def bom(workspace: Workspace, ref: str, file: Path | None, force: bool) -> None:
    """Write the bill of materials of a snapshot, CycloneDX 1.6 JSON. REF is the head by default.

    It has the model with its model card and its parent, each blob with its sha256, each log that the model learned from
    with its digest, and the installed libraries. It is checked against the strict schema before it is written. The same
    snapshot and the same libraries give the same bytes.

    \b
    Examples:
      raie bom -o bom.json
      raie bom production > bom.json
    """
    from raie.output_files import require_free, whole_file

    if file is not None:
        require_free(file, replace=force)
    from raie.proofs.bill_of_materials import bill_of_materials

    data = bill_of_materials(workspace, ref)
    if file is None:
        sys.stdout.buffer.write(data)
        return
    with whole_file(file, replace=force) as stream:
        stream.write(data)
    say(f"{file}  {len(data):,} bytes")
