"""A text without the secrets of a URL: an error of a library, or a row that an older release wrote, may repeat them.

They are known from the URL itself, and taken out in every spelling and in the pieces that a parser cuts them into.
Nothing here raises.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from raie.registry.db.shown_url import HIDDEN, SHORTEST, is_secret_key, secrets_in, userinfo_of

__all__ = ["hiding"]

_QUERY = re.compile(r"([?&;])([\w.\-]+)=([^&;#\s\"'<>]*)")
# Not behind a third slash, where a file's path begins.
_USERINFO = re.compile(r"(?<=://)[^/\s\"<>][^\s\"<>]*(?=@)")
_ENDS = re.compile(r"[/@?#:&;=\\\s]+")


def hiding(url: str, secrets: Iterable[str | None] = ()) -> Callable[[str], str]:
    """A function that strips a text of every secret; it never raises.

    Args:
        url: whose secrets are stripped, in every spelling, and piece by piece where a library may have cut them.
        secrets: more of them, such as a token from the environment; None and "" are passed over.

    Returns: text -> the same with *** for each secret, and for the user of any URL and the secret parameters in it.
    """
    known = {spelling for secret in (*secrets_in(url), *secrets) if secret for spelling in _spellings(secret)}
    known |= set(_basic(userinfo_of(url)))
    words = sorted((spelling for spelling in known if len(spelling) >= SHORTEST), key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, words))) if words else None

    def hide(text: str) -> str:
        known_gone = pattern.sub(HIDDEN, text) if pattern else text
        return _QUERY.sub(_parameter, _USERINFO.sub(HIDDEN, known_gone))

    return hide


def _parameter(match: re.Match[str]) -> str:
    """A parameter of any URL: its value stays only where the name is not that of a secret."""
    return f"{match[1]}{match[2]}={HIDDEN}" if is_secret_key(match[2]) else match[0]


def _spellings(secret: str) -> Iterator[str]:
    """The secret as it stands, decoded, encoded in each usual way, and the pieces that a parser cuts it into."""
    plain = {secret, unquote(secret, errors="replace"), unquote_plus(secret, errors="replace")}
    for piece_of in plain | {piece for whole in plain for piece in _ENDS.split(whole)}:
        encoded = {quote(piece_of, safe="", errors="replace"), quote(piece_of, errors="replace")}
        encoded |= {quote_plus(piece_of, errors="replace")}
        yield from (
            piece_of,
            " ".join(piece_of.split()),
            html.escape(piece_of),
            json.dumps(piece_of)[1:-1],
            repr(piece_of)[1:-1],
        )
        yield from encoded
        yield from (re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), text) for text in encoded)


def _basic(userinfo: str | None) -> Iterator[str]:
    """The userinfo as an Authorization header carries it."""
    for text in () if userinfo is None else (userinfo, unquote(userinfo, errors="replace")):
        yield base64.b64encode(text.encode(errors="replace")).decode()
