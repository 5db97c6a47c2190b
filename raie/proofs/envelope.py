"""A signed body as a DSSE envelope in JSON, which any tool that reads DSSE can verify.

Source: DSSE (Dead Simple Signing Envelope), protocol version 1. What is signed is its pre-authentication encoding.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raie.registry import InvalidValue
from raie.registry.canonical import parse_json

if TYPE_CHECKING:
    from raie.registry.promotion.signing import Signer

__all__ = ["Envelope", "read_envelope", "seal"]

_URL_SAFE = str.maketrans("-_", "+/")


@dataclass(frozen=True)
class Envelope:
    """A body and who may have signed it; nothing is verified yet.

    Attributes:
        kind: The media type of the payload.
        signatures: The bytes of each. The key ids beside them are hints that nobody has to believe, so they are not kept.
    """

    kind: str
    payload: bytes
    signatures: tuple[bytes, ...]

    def signed_by(self, names: Mapping[str, str]) -> tuple[str, ...]:
        """Which of some keys signed it.

        Args:
            names: Key, 64 hexadecimal characters -> its name.

        Returns:
            The names, sorted.
        """
        from raie.registry.promotion.signing import is_signed

        made = {
            key: any(is_signed(key, self.kind, self.payload, signature) for signature in self.signatures)
            for key in names
        }
        return tuple(sorted(names[key] for key in names if made[key]))


def seal(kind: str, payload: bytes, signer: Signer) -> bytes:
    """A signed envelope; the key's id in it is the key itself.

    Args:
        kind: The media type of the payload.
        payload: What is signed.
        signer: Signs it.

    Returns:
        JSON that ends with a new line; the same bytes each time.
    """
    signature = {"keyid": signer.key, "sig": b64encode(signer.sign_body(kind, payload)).decode()}
    value = {"payloadType": kind, "payload": b64encode(payload).decode(), "signatures": [signature]}
    return json.dumps(value, indent=2).encode() + b"\n"


def read_envelope(data: bytes) -> Envelope:
    """The envelope of a JSON text.

    Args:
        data: The text.

    Returns:
        The envelope. Its signatures are not verified.

    Raises:
        InvalidValue: It is no DSSE envelope.
    """
    try:
        value = parse_json(data)
        kind = value["payloadType"]
        if not isinstance(kind, str):
            raise TypeError
        kind.encode()
        signatures = tuple(_bytes(signature["sig"]) for signature in value["signatures"])
        return Envelope(kind, _bytes(value["payload"]), signatures)
    except (InvalidValue, KeyError, TypeError, ValueError):
        raise InvalidValue(
            "Expected a DSSE envelope in JSON, with payloadType, payload and signatures, found another text; "
            "`raie attest write` makes one"
        ) from None


def _bytes(text: Any) -> bytes:
    if not isinstance(text, str):
        raise TypeError
    try:
        return b64decode(text.translate(_URL_SAFE), validate=True)
    except binascii.Error as error:
        raise ValueError from error
