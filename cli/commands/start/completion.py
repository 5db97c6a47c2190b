"""`raie completion`: the script that makes a shell complete."""

from __future__ import annotations

import click

from raie.cli.completion import SHELLS, script

__all__ = ["completion"]


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that makes a shell complete commands, options and values.

    Values are aliases, snapshots, edits, regions, tags, keys of raie.toml and strategies, as the workspace has them. A
    completion that fails prints nothing.

    \b
    Examples:
      eval "$(raie completion bash)"        # in ~/.bashrc
      eval "$(raie completion zsh)"         # in ~/.zshrc, after compinit
      raie completion fish | source         # in ~/.config/fish/config.fish
    """
    click.echo(script(context.find_root().command, shell), nl=False)
