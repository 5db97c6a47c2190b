"""`raie sign`: put a signature on a snapshot."""

from __future__ import annotations

from pathlib import Path

import click

from raie.actor import actor
from raie.cli.ui.chain_head import publishes_end
from raie.cli.ui.output import Output, accent, json_option, one_line, short, times
from raie.cli.ui.passphrase import ask_for
from raie.cli.ui.workspace_option import in_workspace
from raie.key_files import KEY, read_signer
from raie.workspace import Workspace

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
@publishes_end
def sign(workspace: Workspace, ref: str, file: Path | None, reason: str, output: Output) -> None:
    """Sign a snapshot with your private key; the signature is kept in the registry.

    A snapshot's id is the sha256 of everything it consists of, so the signature covers every byte that decides a
    score. The passphrase comes from RAIE_SIGNING_PASSPHRASE, or is asked for.

    \b
    Examples:
      raie sign head --key release.pem
      raie sign edit:3 --reason "passed review"
    """
    from raie.registry import trust

    signer, registry = read_signer(file, ask_for), workspace.registry()
    made = trust.sign(registry, workspace.model, ref, signer, actor=actor(), reason=reason)
    names = {event.key: event.name for event in trust.keys(registry, workspace.model) if event.trusted}
    name = names.get(made.key)
    value = {"snapshot": made.snapshot, "key": made.key, "trusted_as": name, "signature": made.signature}

    def draw() -> list[str]:
        told = f"signed {accent(short(made.snapshot))} with key {short(made.key)}"
        if name is not None:
            return [f"{told} ({one_line(name)})"]
        return [f"{told}; it counts once somebody trusts the key: raie keys trust FILE.pub --name NAME"]

    output.show(value | {"actor": made.actor, "reason": made.reason, **times(at=made.at)}, draw)
