"""Asking before something is changed that cannot simply be changed back."""

from __future__ import annotations

import sys

import click

from raie.cli.errors import Refused
from raie.cli.ui.activity import end_activity

__all__ = ["ask", "yes_option"]

yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def ask(question: str, *, yes: bool) -> None:
    """Ask on the terminal.

    Args:
        question: One sentence with a question mark.
        yes: The answer, given before: nothing is asked.

    Raises:
        Refused: The answer is no, or standard input is not a terminal.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused(f"{question} Nobody can be asked, as this is not a terminal: nothing was changed; add --yes")
    end_activity()
    if not click.confirm(question, err=True):
        raise Refused("nothing was changed")
