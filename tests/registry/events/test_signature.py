"""A webhook's signature: made as documented, and refused where anything about it is another."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from raie.registry import Untrusted
from raie.registry.events.signature import sign, verify

SECRET, BODY, AT = "shared", b'{"id":"1"}', 1_800_000_000


def test_the_header_is_the_hmac_of_the_time_a_full_stop_and_the_body() -> None:
    digest = hmac.new(b"shared", b'1800000000.{"id":"1"}', hashlib.sha256).hexdigest()
    assert sign(SECRET, BODY, AT) == f"t=1800000000,v1={digest}"
    verify(SECRET, BODY, sign(SECRET, BODY, AT), now=AT + 299)


@pytest.mark.parametrize(
    ("secret", "body", "header", "now"),
    [
        ("other", BODY, sign(SECRET, BODY, AT), AT),
        (SECRET, BODY + b" ", sign(SECRET, BODY, AT), AT),
        (SECRET, BODY, sign(SECRET, BODY, AT).replace(str(AT), str(AT + 1)), AT),
        (SECRET, BODY, sign(SECRET, BODY, AT), AT + 301),
        (SECRET, BODY, sign(SECRET, BODY, AT), AT - 301),
        (SECRET, BODY, "", AT),
        (SECRET, BODY, sign(SECRET, BODY, AT).upper(), AT),
        (SECRET, BODY, sign(SECRET, BODY, AT) + ",v1=0", AT),
    ],
)
def test_another_secret_body_time_or_form_is_refused(secret: str, body: bytes, header: str, now: float) -> None:
    with pytest.raises(Untrusted, match="refuse the request"):
        verify(secret, body, header, now=now)
