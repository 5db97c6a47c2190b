"""Key files and their passphrases: read from where the user keeps them, and never shown.

A passphrase comes from RAIE_SIGNING_PASSPHRASE, or is asked for on the terminal.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from raie.cli.ui.output_files import require_free, whole_file
from raie.errors import RaieError, UsageError

if TYPE_CHECKING:
    from raie.registry.promotion.signing import Signer

__all__ = ["KEY", "PASSPHRASE", "new_passphrase", "public_path", "read_signer", "write_pair"]

KEY = "RAIE_SIGNING_KEY"
PASSPHRASE = "RAIE_SIGNING_PASSPHRASE"
_LONGEST = 64 * 1024


def public_path(private: Path) -> Path:
    """Where the public half of a key lies."""
    return private.with_name(f"{private.name}.pub")


def read_signer(path: Path | None) -> Signer:
    """The private key of a file.

    Raises: UsageError where no file is named; RaieError where a passphrase is needed and nobody can be asked;
    InvalidValue for a file that is no such key.
    """
    from raie.registry.promotion import signing

    if path is None:
        raise UsageError(f"expected a private key, found none: give --key FILE, or name the file in {KEY}")
    pem = read_file(path)
    passphrase = _passphrase(path) if signing.is_encrypted(pem) else None
    return signing.read_private(pem, passphrase)


def read_file(path: Path) -> bytes:
    """A key file's bytes; raises RaieError for a file that is far too long to be one."""
    with path.open("rb") as file:
        data = file.read(_LONGEST + 1)
    if len(data) > _LONGEST:
        raise RaieError(f"expected a key file, found more than {_LONGEST} bytes in {path}")
    return data


def _passphrase(path: Path) -> str:
    if found := os.environ.get(PASSPHRASE):
        return found
    if not sys.stdin.isatty():
        raise RaieError(f"expected the passphrase of {path} in {PASSPHRASE}, as this is no terminal to ask on")
    answer: str = click.prompt(f"Passphrase of {path}", hide_input=True, err=True)
    return answer


def new_passphrase() -> str:
    """A passphrase for a new key; raises RaieError where nobody can be asked."""
    if found := os.environ.get(PASSPHRASE):
        return found
    if not sys.stdin.isatty():
        raise RaieError(
            f"expected a passphrase in {PASSPHRASE}, as this is no terminal to ask on; --unencrypted makes a key without"
        )
    answer: str = click.prompt("Passphrase of the new key", hide_input=True, confirmation_prompt=True, err=True)
    return answer


def write_pair(private: Path, secret: bytes, public: bytes) -> None:
    """Write both halves of a new key, the private one for its owner alone; both or none.

    Raises: RaieError where either file is there: a key that was overwritten is lost.
    """
    for path in (private, public_path(private)):
        require_free(path, replace=False, advice="move it away")
    with whole_file(private, replace=False, mode=0o600) as file:
        file.write(secret)
    try:
        with whole_file(public_path(private), replace=False, mode=0o644) as file:
            file.write(public)
    except BaseException:
        private.unlink()
        raise
