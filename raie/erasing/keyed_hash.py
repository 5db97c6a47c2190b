"""The keyed hash of an erased user: what the history keeps in place of the id.

With the key one can show that an id was erased; without it an id cannot be guessed from the hash.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from raie.errors import UsageError
from raie.key_files import read_file

__all__ = ["KEY", "key_id", "keyed_hash", "read_key"]

KEY = "RAIE_ERASE_KEY"
"""The variable that names the key's file."""

_SHORTEST = 16
_DOMAIN, _KEY_DOMAIN = b"raie erased user 1\n", b"raie erase key 1\n"


def read_key(path: Path | None) -> bytes:
    """The key of a file.

    Args:
        path: Any file of 16 bytes or more.

    Raises:
        UsageError: No file is named, or it is too short to be a key.
    """
    if path is None:
        raise UsageError(
            f"expected a key for the hash of the user's id, found none: make one, as `head -c 32 /dev/urandom > "
            f"erase.key`, and name it with --key or in {KEY}"
        )
    key = read_file(path)
    if len(key) < _SHORTEST:
        raise UsageError(
            f"expected a key of {_SHORTEST} bytes or more in {path}, found {len(key)}: make a longer one"
        )
    return key


def keyed_hash(key: bytes, model: str, user: str) -> str:
    """What stands for a user's id in the history.

    Args:
        key: As `read_key` gives it.
        model: The model's name.
        user: The id.

    Returns:
        HMAC-SHA256 in hexadecimal digits, with its name before it.
    """
    text = _DOMAIN + model.encode() + b"\n" + user.encode()
    return f"hmac-sha256:{hmac.new(key, text, hashlib.sha256).hexdigest()}"


def key_id(key: bytes) -> str:
    """Which key a hash was made with; it does not tell the key.

    Args:
        key: As `read_key` gives it.
    """
    return hmac.new(key, _KEY_DOMAIN, hashlib.sha256).hexdigest()[:16]
