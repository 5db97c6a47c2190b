"""`raie attest`: write a signed attestation of a snapshot, and verify one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from raie.cli.errors import INTEGRITY
from raie.cli.ui.output import Output, accent, faint, json_option, one_line, say, short
from raie.cli.ui.passphrase import ask_for
from raie.cli.ui.workspace_option import in_workspace
from raie.errors import RaieError
from raie.key_files import KEY
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.proofs.attestation import Verified

__all__ = ["verify", "write"]

_LONGEST = 64 * 1024 * 1024


@click.command()
@click.argument("ref", default="head")
@click.option(
    "--key",
    "key",
    envvar=KEY,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Private key (PEM).  [RAIE_SIGNING_KEY]",
)
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
def write(workspace: Workspace, ref: str, key: Path | None, file: Path | None, force: bool) -> None:
    """Write a signed attestation of a snapshot. REF is the head by default.

    It is an in-toto statement in a DSSE envelope. It names each blob by its sha256, the edit with its data and its
    metrics, and the audit events of the snapshot: evaluations, approvals, promotions. Nothing is recorded. The passphrase
    comes from RAIE_SIGNING_PASSPHRASE, or is asked for.

    \b
    Examples:
      raie attest write --key release.pem -o release.json
      raie attest write production --key release.pem > production.json
    """
    from raie.output_files import require_free, whole_file

    if file is not None:
        require_free(file, replace=force)
    from raie.proofs.attestation import attestation

    data = attestation(workspace, ref, key, ask_for)
    if file is None:
        sys.stdout.buffer.write(data)
        return
    with whole_file(file, replace=force) as stream:
        stream.write(data)
    say(f"{file}  {len(data):,} bytes")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@in_workspace
def verify(workspace: Workspace, file: Path, output: Output) -> None:
    """Check an attestation: a trusted key signed it, and the store has every blob that it names.

    Each blob is read and its sha256 compared. The exit code is 5 if no trusted key signed it, or if a blob is missing,
    damaged or not the one that the registry records. Figures and events in it are those of the time when it was written.

    \b
    Examples:
      raie attest verify release.json
      raie attest verify release.json --json
    """
    from raie.proofs.attestation import verify_attestation

    with file.open("rb") as stream:
        data = stream.read(_LONGEST + 1)
    if len(data) > _LONGEST:
        raise RaieError(f"expected an attestation, found more than {_LONGEST} bytes in {file}")
    verified = verify_attestation(workspace, data)
    value = {
        "ok": not verified.problems,
        "model": verified.model,
        "snapshot": verified.snapshot,
        "edit": verified.edit,
        "signed_by": list(verified.signed_by),
        "blobs": verified.blobs,
        "problems": list(verified.problems),
    }
    output.show(value, lambda: _lines(verified))
    if verified.problems:
        raise click.exceptions.Exit(INTEGRITY)


def _lines(verified: Verified) -> list[str]:
    signers = one_line(", ".join(verified.signed_by))
    lines = [
        f"{faint('snapshot ')}  {accent(short(verified.snapshot))}  edit {verified.edit} of {one_line(verified.model)}",
        f"{faint('signed by')}  {signers}",
        f"{faint('blobs    ')}  {verified.blobs}",
    ]
    if not verified.problems:
        return [*lines, accent("the attestation holds", "green")]
    return [*lines, *(f"{accent('wrong', 'red')}  {one_line(problem)}" for problem in verified.problems)]
