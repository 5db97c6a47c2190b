"""What of a URL may be shown: everything but what it carries as a secret.

The secrets of a URL are known from the URL itself, however they are spelt there. A text that may repeat them (an
error of a library, a row that an older release wrote) is stripped of each of them, as it stands and percent-encoded.
Nothing here raises: a text that is no URL at all is one that may hold a password too.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote, unquote_plus

__all__ = ["hiding", "shown", "userinfo_of"]

_HIDDEN = "***"
_SHORTEST = 3
"""Shorter pieces of a password are in every text: taking them out would hide the text and tell the piece."""

_SECRET_NAME = r"[\w.\-]*(?:pass|pwd|secret|token|key|sig|auth|cred)[\w.\-]*"
_QUERY = re.compile(rf"([?&;]{_SECRET_NAME}=)([^&;#\s\"'<>]*)", re.IGNORECASE)
# Not behind a third slash, where a file's path begins.
_USERINFO = re.compile(r"(?<=://)[^/\s\"<>][^\s\"<>]*(?=@)")
_ENDS = re.compile(r"[/@?#:&;=\\\s]+")


def shown(url: str) -> str:
    """The URL without its secrets; never raises.

    Args:
        url: any text. Of an http(s) URL the user goes too: a token stands in its place.

    Returns: the URL without password and without the values of secret parameters.
    """
    scheme, separator, rest = _split(url)
    userinfo = userinfo_of(url)
    if userinfo is not None:
        rest = rest[len(userinfo) + 1 :]
        user = userinfo.partition(":")[0]
        if separator and not scheme.lower().startswith("http"):
            rest = f"{user}@{rest}"
    return _QUERY.sub(rf"\1{_HIDDEN}", f"{scheme}{separator}{rest}")


def userinfo_of(url: str) -> str | None:
    """What stands before the host: all up to the last @, since a password that is not encoded may hold any character.

    None where there is none; a URL without a host (a file's) has none.
    """
    rest = _split(url)[2]
    userinfo, at, _ = rest.rpartition("@")
    return userinfo if at and not rest.startswith("/") else None


def hiding(url: str, secrets: Iterable[str | None] = ()) -> Callable[[str], str]:
    """A function that strips a text of every secret; it never raises.

    Args:
        url: whose secrets are stripped, in every spelling, and piece by piece where a library may have cut them.
        secrets: more of them, such as a token from the environment; None and "" are passed over.

    Returns: text -> the same with *** for each secret, and for the user of any URL and the secret parameters in it.
    """
    known = {word for secret in (*_secrets(url), *secrets) if secret for word in _spellings(secret)}
    known |= set(_basic(userinfo_of(url)))
    words = sorted((word for word in known if len(word) >= _SHORTEST), key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, words))) if words else None

    def hide(text: str) -> str:
        known_gone = pattern.sub(_HIDDEN, text) if pattern else text
        return _QUERY.sub(rf"\1{_HIDDEN}", _USERINFO.sub(_HIDDEN, known_gone))

    return hide


def _split(url: str) -> tuple[str, str, str]:
    scheme, separator, rest = url.partition("://")
    return (scheme, separator, rest) if separator else ("", "", url)


def _secrets(url: str) -> Iterator[str]:
    userinfo = userinfo_of(url)
    if userinfo is not None:
        user, has_password, password = userinfo.partition(":")
        # A token stands alone in an http(s) URL; a database's user is none.
        if has_password or _split(url)[0].lower() in ("", "http", "https"):
            yield password if has_password else user
    yield from (value for _, value in _QUERY.findall(url))


def _spellings(secret: str) -> Iterator[str]:
    """The secret as it stands, decoded, encoded in each usual way, and the pieces that a parser cuts it into."""
    plain = {secret, unquote(secret, errors="replace"), unquote_plus(secret, errors="replace")}
    for word in plain | {piece for whole in plain for piece in _ENDS.split(whole)}:
        encoded = {quote(word, safe="", errors="replace"), quote(word, errors="replace")}
        encoded |= {quote_plus(word, errors="replace")}
        yield from (word, " ".join(word.split()), html.escape(word), json.dumps(word)[1:-1], repr(word)[1:-1])
        yield from encoded
        yield from (re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), text) for text in encoded)


def _basic(userinfo: str | None) -> Iterator[str]:
    """The userinfo as an Authorization header carries it."""
    for text in () if userinfo is None else (userinfo, unquote(userinfo, errors="replace")):
        yield base64.b64encode(text.encode(errors="replace")).decode()
