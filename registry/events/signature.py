"""Signatures of webhooks: HMAC-SHA256 over the time and the body, so that neither can be changed or replayed later.

The header is `Raie-Signature: t=SECONDS,v1=HEX`. HEX is the HMAC-SHA256, in hexadecimal, of the text SECONDS, a full
stop and the body, byte for byte as it was sent.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from raie.registry.errors import Untrusted

__all__ = ["HEADER", "TOLERANCE_S", "sign", "verify"]

HEADER = "Raie-Signature"
TOLERANCE_S = 300
"""A signature that is older may be a replay."""

_FORM = re.compile(r"t=(\d{1,12}),v1=([0-9a-f]{64})")


def sign(secret: str, body: bytes, at: int) -> str:
    """The value of the header.

    Args:
        secret: what the sender and the receiver share.
        body: of the request.
        at: epoch seconds UTC.
    """
    return f"t={at},v1={_digest(secret, body, at)}"


def verify(secret: str, body: bytes, header: str, *, now: float, tolerance_s: float = TOLERANCE_S) -> None:
    """Checks a webhook's signature, for receivers in Python.

    Args:
        secret: what the sender and the receiver share.
        body: of the request, byte for byte.
        header: the value of `Raie-Signature`.
        now: epoch seconds UTC.
        tolerance_s: how far the time of the signature may be from now.
    Raises: Untrusted for a header of another form, another secret or body, or a time too far away.
    """
    match = _FORM.fullmatch(header)
    if match is None:
        raise Untrusted(f"Expected {HEADER} as t=SECONDS,v1=HEX, found another form; refuse the request")
    at = int(match[1])
    if not hmac.compare_digest(_digest(secret, body, at), match[2]):
        raise Untrusted(
            f"Expected a {HEADER} made with the shared secret over this body, found another; refuse the request"
        )
    if abs(now - at) > tolerance_s:
        raise Untrusted(
            f"Expected a {HEADER} at most {tolerance_s:g} s old, found one {abs(now - at):.0f} s away; refuse the request"
        )


def _digest(secret: str, body: bytes, at: int) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
