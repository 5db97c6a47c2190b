"""`raie keys`: make signing keys, and say whose signatures count."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raie.cli.ui.output import Output, accent, faint, json_option, one_line, short, table, times, when
from raie.cli.ui.passphrase import ask_again_for
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.registry.promotion.keys import KeyEvent

__all__ = ["generate", "list_keys", "revoke", "trust"]

_reason_option = click.option("--reason", metavar="TEXT", default="", help="Why. Recorded in the audit log.")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--unencrypted", is_flag=True, help="Write the key without a passphrase, if something else protects it."
)
@json_option
def generate(file: Path, unencrypted: bool, output: Output) -> None:
    """Generate an ed25519 key pair: FILE is private, FILE.pub is public.

    The passphrase comes from RAIE_SIGNING_PASSPHRASE, or is asked for. The key is not trusted until `raie keys trust`.

    \b
    Examples:
      raie keys generate release.pem
      raie keys generate ci.pem --unencrypted
    """
    from raie import trust

    pair = trust.generate_key(file, ask_again_for, encrypted=not unencrypted)
    value = {"key": pair.key, "private": str(pair.private), "public": str(pair.public)}
    output.show(value, lambda: [f"key {accent(short(pair.key))}  private {pair.private}, public {pair.public}"])


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", metavar="NAME", required=True, help="Name of the key in this registry.")
@_reason_option
@json_option
@in_workspace
def trust(workspace: Workspace, file: Path, name: str, reason: str, output: Output) -> None:
    """Trust a public key: its signatures count for this model from now on.

    \b
    Examples:
      raie keys trust release.pem.pub --name release --reason "CI's key"
    """
    from raie.trust import trust_key

    _show(trust_key(workspace, file, name, reason=reason), output)


@click.command()
@click.argument("key")
@_reason_option
@json_option
@in_workspace
def revoke(workspace: Workspace, key: str, reason: str, output: Output) -> None:
    """End the trust in a key, given by its name or its first characters.

    None of its signatures counts any more, whenever it was made. An alias that requires one cannot be loaded until
    what it serves is signed with another key.

    \b
    Examples:
      raie keys revoke release --reason "the laptop was lost"
    """
    from raie import trust

    _show(trust.revoke_key(workspace, key, reason=reason), output)


def _show(event: KeyEvent, output: Output) -> None:
    output.show(_json(event), lambda: [f"{one_line(event.name)} {faint(short(event.key))} {_state(event)}"])


def _state(event: KeyEvent) -> str:
    return accent("trusted", "green") if event.trusted else accent("revoked", "red")


@click.command("list")
@json_option
@in_workspace
def list_keys(workspace: Workspace, output: Output) -> None:
    """List the keys that are or were trusted, with who said so and when.

    \b
    Examples:
      raie keys list
      raie keys list --json
    """
    from raie import trust

    keys = trust.keys(workspace)
    value = {"model": workspace.model, "keys": [_json(event) for event in keys]}
    output.show(value, lambda: _lines(keys))


def _lines(keys: Sequence[KeyEvent]) -> list[str]:
    if not keys:
        return ["no key is trusted; `raie keys trust FILE.pub --name NAME` begins"]
    rows = [
        [
            one_line(event.name),
            short(event.key),
            _state(event),
            when(event.at),
            one_line(event.actor),
            one_line(event.reason),
        ]
        for event in keys
    ]
    return table(["name", "key", "", "since (UTC)", "who", "why"], rows)


def _json(event: KeyEvent) -> dict[str, Any]:
    return {
        "name": event.name,
        "key": event.key,
        "trusted": event.trusted,
        "actor": event.actor,
        "reason": event.reason,
        **times(at=event.at),
    }
