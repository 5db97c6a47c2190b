"""`raie sign`: put a signature on a snapshot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from raie.cli.ui.output import Output, accent, json_option, one_line, short, times
from raie.cli.ui.passphrase import ask_for
from raie.cli.ui.workspace_option import in_workspace
from raie.key_files import KEY
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.trust import Signed

__all__ = ["sign"]


@click.command()
@click.argument("ref")
@click.option(
    "--key",
    "file",
    envvar=KEY,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Private key (PEM).  [RAIE_SIGNING_KEY]",
)
@click.option("--reason", metavar="TEXT", default="", help="Why. Recorded in the audit log.")
@json_option
@in_workspace
def sign(workspace: Workspace, ref: str, file: Path | None, reason: str, output: Output) -> None:
    """Sign a snapshot with your private key; the signature is kept in the registry.

    A snapshot's id is the sha256 of everything it consists of, so the signature covers every byte that decides a
    score. The passphrase comes from RAIE_SIGNING_PASSPHRASE, or is asked for.

    \b
    Examples:
      raie sign head --key release.pem
      raie sign edit:3 --reason "passed review"
    """
    from raie import trust

    signed = trust.sign(workspace, ref, file, ask_for, reason=reason)
    made = signed.signature
    value = {
        "snapshot": made.snapshot,
        "key": made.key,
        "trusted_as": signed.trusted_as,
        "signature": made.signature,
        "actor": made.actor,
        "reason": made.reason,
        **times(at=made.at),
    }
    output.show(value, lambda: [_line(signed)])


def _line(signed: Signed) -> str:
    done = f"signed {accent(short(signed.signature.snapshot))} with key {short(signed.signature.key)}"
    if signed.trusted_as is not None:
        return f"{done} ({one_line(signed.trusted_as)})"
    return f"{done}; it counts once somebody trusts the key: raie keys trust FILE.pub --name NAME"
