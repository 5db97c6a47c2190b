"""`raie snapshot`: a snapshot with its history in one file, from one registry to another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.output import Output, accent, faint, json_option, one_line, short, size
from raie.cli.ui.progress import patient_bars
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.registry.transfer.moving import Exported, Imported

__all__ = ["export", "import_snapshot"]

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("ref")
@click.argument("file", metavar="FILE", type=_FILE)
@json_option
@in_workspace
def export(workspace: Workspace, ref: str, file: Path, output: Output) -> None:
    """Write a snapshot with its history, evaluations and signatures into a new file.

    The file holds the snapshot's ancestors with their edits and blobs, so that it can be rolled back where it arrives. It
    holds no alias, no policy, no approval, no key and no audit event. Edits keep their reports and the paths of their
    logs. The file is whole or absent.

    \b
    Examples:
      raie snapshot export production recsys.tar
      raie snapshot export edit:3 recsys.tar --json
    """
    with patient_bars() as progress:
        made = workspace.export_snapshot(file, ref=ref, progress=progress)
    value = {"file": str(file), "bytes": file.stat().st_size} | vars(made)
    output.show(value, lambda: _export_lines(file, made))


def _export_lines(file: Path, made: Exported) -> list[str]:
    snapshot = f"{accent(short(made.snapshot))} of {one_line(made.model)}"
    lines = [
        f"{one_line(str(file))}  {size(file.stat().st_size)}",
        f"{faint('snapshot')}  {snapshot}, with {made.snapshots - 1} before it",
        f"{faint('history ')}  {made.edits} edits, {made.evaluations} evaluations, {made.signatures} signatures, "
        f"{made.blobs} blobs",
    ]
    if made.evaluations_left_out:
        lines.append(
            f"{made.evaluations_left_out} evaluations against snapshots that are not in the file are left out"
        )
    return lines


@click.command(name="import")
@click.argument("file", metavar="FILE", type=_FILE)
@click.option("--reason", metavar="TEXT", default="", help="Why. Recorded in the audit log.")
@click.option(
    "--signed-by",
    metavar="KEY",
    help="Refuse (exit code 5) unless this key signed: a trusted key's name, or a .pub file.",
)
@json_option
@in_workspace
def import_snapshot(workspace: Workspace, file: Path, reason: str, signed_by: str | None, output: Output) -> None:
    """Check a file of `raie snapshot export` and add what is not here yet.

    Everything is checked first: every blob by its sha256, every id, every reference, every signature. Then all of it is
    there, or nothing. The same file again changes nothing (exit code 0). No alias moves: promote what arrived. The head
    follows the file's history. A model with edits of its own since is refused (exit code 4). The audit records who
    imported the file, and its digest. Who imports counts as an author: a policy of two persons asks for another one.

    \b
    Examples:
      raie snapshot import recsys.tar --reason "release 12"
      raie snapshot import recsys.tar --signed-by release.pem.pub
    """
    with patient_bars() as progress:
        done = workspace.import_snapshot(file, reason=reason, signed_by=signed_by, progress=progress)
    output.show(_json(done), lambda: _import_lines(done))


def _json(done: Imported) -> dict[str, Any]:
    values = vars(done) | {"keys": list(done.keys), "signers": list(done.signers)}
    return values | {"changed": done.changed}


def _import_lines(done: Imported) -> list[str]:
    what = f"{accent(short(done.snapshot))} of {one_line(done.model)}"
    signed = ", ".join(map(one_line, done.signers)) or "none"
    untrusted = len(done.keys) - len(done.signers)
    more = f"; {untrusted} by keys that are not trusted here" if untrusted > 0 else ""
    lines = [f"{what} is here already: nothing was changed"]
    if done.changed:
        lines = [
            f"{what} is here",
            f"{faint('new   ')}  {done.snapshots} snapshots, {done.edits} edits, {done.evaluations} evaluations, "
            f"{done.signatures} signatures, {done.blobs_put} blobs",
            f"{faint('head  ')}  {'stays' if done.head is None else short(done.head)}; no alias moved",
        ]
    return [*lines, f"{faint('file  ')}  sha256 {done.sha256}", f"{faint('signed')}  trusted here: {signed}{more}"]
