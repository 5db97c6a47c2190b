"""Asking for the passphrase of a signing key, where the environment does not hold it."""

from __future__ import annotations

import sys

import click

from raie.cli.ui.activity import end_activity
from raie.errors import RaieError
from raie.key_files import PASSPHRASE

__all__ = ["ask_again_for", "ask_for"]


def ask_for(what: str) -> str:
    """The passphrase of a key, typed once.

    Args:
        what: Names the passphrase in the question.

    Raises:
        RaieError: Standard input is not a terminal.
    """
    return _prompted(what, "", confirm=False)


def ask_again_for(what: str) -> str:
    """The passphrase of a new key, typed twice.

    Args:
        what: Names the passphrase in the question.

    Raises:
        RaieError: Standard input is not a terminal.
    """
    return _prompted(what, "; --unencrypted makes a key without", confirm=True)


def _prompted(what: str, otherwise: str, *, confirm: bool) -> str:
    if not sys.stdin.isatty():
        raise RaieError(f"{what}: expected it in {PASSPHRASE}, as this is no terminal to ask on{otherwise}")
    end_activity()
    answer: str = click.prompt(what, hide_input=True, confirmation_prompt=confirm, err=True)
    return answer
