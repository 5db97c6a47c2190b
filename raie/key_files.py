"""Key files and their passphrases: read from where the user keeps them, and never shown.

A passphrase comes from RAIE_SIGNING_PASSPHRASE, or from the caller, who may ask somebody for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from raie.errors import RaieError, UsageError
from raie.output_files import require_free, whole_file

if TYPE_CHECKING:
    from raie.registry.promotion.signing import Signer

__all__ = ["KEY", "PASSPHRASE", "Ask", "new_passphrase", "public_path", "read_file", "read_signer", "write_pair"]

Ask = Callable[[str], str]
"""Called with what is asked for, where the environment holds no passphrase; may raise RaieError."""

KEY = "RAIE_SIGNING_KEY"
PASSPHRASE = "RAIE_SIGNING_PASSPHRASE"
_LONGEST = 64 * 1024


def public_path(private: Path) -> Path:
    """Where the public half of a key lies."""
    return private.with_name(f"{private.name}.pub")


def read_signer(path: Path | None, ask: Ask) -> Signer:
    """The private key of a file.

    Args:
        path: A PEM file.
        ask: Gives the passphrase of an encrypted key where RAIE_SIGNING_PASSPHRASE does not.

    Raises:
        UsageError: No file is named.
        InvalidValue: The file holds no such key, or the passphrase is another one.
    """
    from raie.registry.promotion import signing

    if path is None:
        raise UsageError(f"expected a private key, found none: give --key FILE, or name the file in {KEY}")
    pem = read_file(path)
    passphrase = os.environ.get(PASSPHRASE) or ask(f"Passphrase of {path}") if signing.is_encrypted(pem) else None
    return signing.read_private(pem, passphrase)


def read_file(path: Path) -> bytes:
    """A key file's bytes; raises RaieError for a file that is far too long to be one."""
    with path.open("rb") as file:
        data = file.read(_LONGEST + 1)
    if len(data) > _LONGEST:
        raise RaieError(f"expected a key file, found more than {_LONGEST} bytes in {path}")
    return data


def new_passphrase(ask: Ask) -> str:
    """A passphrase for a new key: that of RAIE_SIGNING_PASSPHRASE, else what `ask` gives."""
    return os.environ.get(PASSPHRASE) or ask("Passphrase of the new key")


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
