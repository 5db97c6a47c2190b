"""One HTTP request that carries an event: bounded in time, never redirected, its answer never read.

Only a status comes back. A redirect is refused, for it could lead to an address that nobody configured.
"""

from __future__ import annotations

import http.client
import re
import ssl
import urllib.request
from collections.abc import Mapping
from urllib.parse import urlsplit

from raie.registry.deadline import Deadline
from raie.registry.errors import EventRefused, InvalidValue, ReceiverUnreachable

__all__ = ["REQUEST_S", "checked_url", "is_confidential", "origin", "post"]

REQUEST_S = 10.0
"""The whole request, its connection included."""

_COME_BACK = frozenset({408, 425, 429})
_PRINTABLE = re.compile(r"[!-~]+")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def checked_url(url: str) -> str:
    """The URL itself, once it is one to which events may be sent; it is not repeated, because it may hold a secret.

    Args:
        url: any text.
    Raises: InvalidValue unless it is an http or https URL with a host and without a user.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or _PRINTABLE.fullmatch(url) is None:
        raise InvalidValue(
            "Expected an http or https URL to send events to, found another text; write https://host/path"
        )
    if parts.username is not None or parts.password is not None:
        raise InvalidValue(
            "Expected a URL without a user and a password, found one with; name a variable of the environment that "
            "holds the token instead"
        )
    return url


def origin(url: str) -> str:
    """Scheme, host and port of a URL: a path may hold a secret, and is never shown."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def is_confidential(url: str) -> bool:
    """Whether nobody on the way can read what is sent there: https, or this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in _LOOPBACK


def post(url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float = REQUEST_S) -> None:
    """Sends one request, and returns where the answer is a status of 2xx.

    Args:
        url: as `checked_url` accepts it.
        body: bytes of the request.
        headers: of the request.
        timeout_s: for the whole request, in seconds.
    Raises: ReceiverUnreachable where there is no answer, or one that says to come back later; EventRefused for every
        other answer.
    """
    request = urllib.request.Request(url, data=body, headers=dict(headers), method="POST")
    try:
        # A timeout of the socket alone is one of each read, and a byte now and then would hold us without end.
        status = Deadline(timeout_s).run(lambda: _status(request, timeout_s))
    except (OSError, http.client.HTTPException) as error:
        raise ReceiverUnreachable(
            f"Expected an answer from {origin(url)}, found {_reason(error, timeout_s)}; the events wait"
        ) from error
    if 200 <= status < 300:
        return
    if status >= 500 or status in _COME_BACK:
        raise ReceiverUnreachable(
            f"Expected status 2xx from {origin(url)}, found {status}: it asks to come back later; the events wait"
        )
    what = (
        "a redirect, which is not followed; configure its target"
        if 300 <= status < 400
        else "it refuses the event"
    )
    raise EventRefused(f"Expected status 2xx from {origin(url)}, found {status}: {what}")


def _status(request: urllib.request.Request, timeout_s: float) -> int:
    opener = urllib.request.OpenerDirector()
    # No handler of redirects, files, FTP or errors: a status is all that can come back.
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
    ):
        opener.add_handler(handler)
    with opener.open(request, timeout=timeout_s) as answer:
        status: int = answer.status
        return status


def _reason(error: Exception, timeout_s: float) -> str:
    """What went wrong in a few words; a library's own text may repeat the URL."""
    cause = getattr(error, "reason", None) or error
    if isinstance(cause, TimeoutError):
        return f"none within {timeout_s:g} s"
    if isinstance(cause, ConnectionRefusedError):
        return "nothing there"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return "a certificate that cannot be verified"
    return f"a broken connection ({type(cause).__name__})"
