"""Every way in which a network fails, as one table: the tests run it and `make faults` prints what came of it.

A scenario is a fault between the registry and one of its servers, a piece of work, and what must come of the work
while the fault lasts. Afterwards the same work, done again, must end as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from raie.registry import BlobCorrupt, BlobMissing, CommitStateUnknown, DatabaseUnreachable, StoreUnreachable
from tests.outages.outage import Work, collect, edit, load
from tests.registry.store.proxy import (
    Answered,
    AnswerLost,
    BlackHole,
    Fault,
    Flipped,
    FlippedRequest,
    Proxy,
    Reset,
    Slow,
    Truncated,
)

__all__ = ["POSTGRES", "S3", "Scenario"]


@dataclass(frozen=True)
class Scenario:
    """fault: makes the fault anew; None where the port refuses. expected: the error's class; None where all is well."""

    name: str
    work: Work
    fault: Callable[[], Fault] | None
    expected: type[Exception] | None

    def __str__(self) -> str:
        return f"{self.name}, {self.work.__name__}"

    def around(self, proxy: Proxy) -> AbstractContextManager[None]:
        """The fault, on this network, while the block runs."""
        return proxy.refusing() if self.fault is None else proxy.failing(self.fault())

    @property
    def timeout(self) -> str:
        """What a URL says where only its timeout ends the fault; all other faults end by themselves."""
        fault = None if self.fault is None else self.fault()
        return "?timeout=1" if isinstance(fault, BlackHole | Slow) else ""


def _http(status: int, code: str = "") -> bytes:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}, says the test</Message></Error>"
    head = f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n{body}".encode()


_GET, _PUT, _LIST, _ANY = rb"GET /\S+/sha256/", rb"PUT /", rb"list-type", rb"(GET|PUT|HEAD) /"
_OBJECT = rb"(state|weights|config|space|items|mark)"
_AWAY = StoreUnreachable

S3 = [
    *(Scenario("refused", work, None, _AWAY) for work in (edit, load)),
    *(Scenario("reset before the answer", work, lambda: Reset(_ANY), _AWAY) for work in (edit, load)),
    Scenario("reset within the body", load, lambda: Reset(_GET, after=20), _AWAY),
    Scenario("reset within the body, once", load, lambda: Reset(_GET, times=1, after=20), None),
    *(Scenario("black hole", work, lambda: BlackHole(_ANY), _AWAY) for work in (edit, load, collect)),
    Scenario("black hole within the body", load, lambda: BlackHole(_GET, after=20), _AWAY),
    Scenario("slow: a byte in 0.1 s", edit, lambda: Slow(_PUT), _AWAY),
    Scenario("slow: a byte in 0.1 s", load, lambda: Slow(_GET), _AWAY),
    Scenario("slow: a byte in 0.1 s", collect, lambda: Slow(_LIST), _AWAY),
    Scenario("503 twice", edit, lambda: Answered(_ANY, times=2, instead=_http(503, "ServiceUnavailable")), None),
    Scenario("503 twice", load, lambda: Answered(_ANY, times=2, instead=_http(503, "SlowDown")), None),
    *(
        Scenario("503 for ever", work, lambda: Answered(_ANY, instead=_http(503, "ServiceUnavailable")), _AWAY)
        for work in (edit, load)
    ),
    Scenario("truncated body", load, lambda: Truncated(_GET, before=_OBJECT), _AWAY),
    Scenario("truncated body, once", load, lambda: Truncated(_GET, times=1, before=_OBJECT), None),
    Scenario("truncated list", collect, lambda: Truncated(_LIST, before=b"<Contents>"), _AWAY),
    Scenario("flipped bit in a blob read", load, lambda: Flipped(_GET, part=_OBJECT), BlobCorrupt),
    Scenario("flipped bit in a blob read, once", load, lambda: Flipped(_GET, times=1, part=_OBJECT), None),
    Scenario("flipped bit in a blob put", edit, lambda: FlippedRequest(_PUT, part=b"^(state|lora)"), _AWAY),
    Scenario(
        "flipped bit in a blob put, once", edit, lambda: FlippedRequest(_PUT, times=1, part=b"^(state|lora)"), None
    ),
    Scenario("flipped bit in a list", collect, lambda: Flipped(_LIST, part=b"<Contents"), _AWAY),
    Scenario(
        "flipped bit in a list's time", collect, lambda: Flipped(_LIST, part=b"<LastModified>....-..-..T"), _AWAY
    ),
    Scenario("answer lost", edit, lambda: AnswerLost(_PUT, lost=b"HTTP/1.1 200"), _AWAY),
    Scenario("answer lost, once", edit, lambda: AnswerLost(_PUT, times=1, lost=b"HTTP/1.1 200"), None),
    Scenario(
        "missing: 404 for what is there",
        load,
        lambda: Answered(_GET, instead=_http(404, "NoSuchKey")),
        BlobMissing,
    ),
    Scenario(
        "missing: 404 for what is there",
        edit,
        lambda: Answered(_GET, instead=_http(404, "NoSuchKey")),
        BlobMissing,
    ),
    *(
        Scenario("access denied", work, lambda: Answered(_ANY, instead=_http(403, "AccessDenied")), _AWAY)
        for work in (edit, load)
    ),
    *(
        Scenario("expired credentials", work, lambda: Answered(_ANY, instead=_http(400, "ExpiredToken")), _AWAY)
        for work in (edit, load)
    ),
]

_READ, _WRITE = b"FROM snapshots", b"INSERT INTO snapshots"
_BEGIN, _LANDING = b"(?s)INSERT INTO edits.*COMMIT", b"(?s)INSERT INTO snapshots.*COMMIT"
_GONE, _UNKNOWN = DatabaseUnreachable, CommitStateUnknown

POSTGRES = [
    *(Scenario("refused", work, None, _GONE) for work in (edit, load)),
    *(Scenario("black hole for whoever connects", work, BlackHole, _GONE) for work in (edit, load)),
    Scenario("reset within a query", load, lambda: Reset(_READ), _GONE),
    Scenario("reset within the answer", load, lambda: Reset(_READ, after=100), _GONE),
    Scenario("reset within a transaction", edit, lambda: Reset(_WRITE), _GONE),
    Scenario("reset before COMMIT arrives", edit, lambda: Reset(_LANDING), _UNKNOWN),
    Scenario("black hole within a query", load, lambda: BlackHole(_READ), _GONE),
    Scenario("black hole within the answer", load, lambda: BlackHole(_READ, after=100), _GONE),
    Scenario("black hole within a transaction", edit, lambda: BlackHole(_WRITE), _GONE),
    Scenario("black hole at COMMIT", edit, lambda: BlackHole(_LANDING), _UNKNOWN),
    Scenario("slow: a byte in 0.1 s", load, lambda: Slow(_READ), _GONE),
    Scenario("slow: a byte in 0.1 s", edit, lambda: Slow(_WRITE), _GONE),
    Scenario("truncated answer", load, lambda: Truncated(_READ, before=b"regions"), _GONE),
    Scenario("flipped bit in a manifest read", load, lambda: Flipped(_READ, part=b'"regions'), BlobCorrupt),
    Scenario(
        "flipped bit in a manifest written", edit, lambda: FlippedRequest(_WRITE, part=b'"regions'), BlobCorrupt
    ),
    Scenario(
        "answer to COMMIT lost, of the begin", edit, lambda: AnswerLost(_BEGIN, lost=b"COMMIT\x00"), _UNKNOWN
    ),
    Scenario(
        "answer to COMMIT lost, of the edit", edit, lambda: AnswerLost(_LANDING, lost=b"COMMIT\x00"), _UNKNOWN
    ),
]
