"""How a URL is shown: never with what it carries as a secret.

A URL hides secrets in its userinfo and in its query. What a query may show is a list of harmless names and not one of
secret names: a mistyped `?passwrod=` is a password too.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

__all__ = [
    "HIDDEN",
    "SHORTEST",
    "is_secret_key",
    "secrets_in",
    "shown",
    "shown_in",
    "userinfo_of",
    "without_secrets",
]

HIDDEN = "***"

_HARMLESS = re.compile(
    "application_name|channel_binding|charset|client_encoding|connect_timeout|dbname|driver|gssencmode|host|hostaddr|"
    "keepalives|keepalives_count|keepalives_idle|keepalives_interval|load_balance_hosts|mode|passfile|port|"
    "prepare_threshold|region|require_auth|requirepeer|service|sslcert|sslcrl|sslkey|sslmode|sslnegotiation|"
    "sslrootcert|sslsni|target_session_attrs|tcp_user_timeout|timeout|user|username"
)
_SECRET = re.compile("pass|pwd|secret|token|key|sig|auth|cred")
"""In a name that is not harmless; one list for URLs and for texts that repeat them."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")
SHORTEST = 3
"""A shorter secret is no secret, and to hide each of its letters would garble a message."""


def shown(url: str) -> str:
    """The URL as it may be printed, logged and stored: user names stay, passwords and unknown parameters are `***`.

    Args:
        url: any text; a path is shown as it is, for it has no place for a secret.
    Returns: the URL with `***` for the password and for each value of the query that is not known to be harmless; of an
        http(s) URL the user is `***` too, for a token stands in its place.
    Never raises.
    """
    scheme, separator, rest = _split(url)
    userinfo, rest = _userinfo(rest)
    address, query = _query(rest) if separator else (rest, "")
    parts = [_shown_part(part) for part in re.split("([&;#])", query)]
    return f"{scheme}{separator}{_shown_user(scheme, userinfo)}{address}" + (f"?{''.join(parts)}" if query else "")


def _split(url: str) -> tuple[str, str, str]:
    """Scheme, `://` and the rest; of a text without a scheme all of it is the rest where a password may stand in it."""
    scheme, separator, rest = str(url).partition("://")
    return (scheme, separator, rest) if separator else ("", "", str(url))


def _shown_user(scheme: str, userinfo: str) -> str:
    if not userinfo:
        return ""
    user, has_password, _ = userinfo.partition(":")
    if _is_token(scheme):
        return f"{HIDDEN}@"
    return f"{user}:{HIDDEN}@" if has_password else f"{user}@"


def _is_token(scheme: str) -> bool:
    """Whether a user without a password is a secret: a token of an HTTP server is, a database's user is none."""
    return scheme.lower() in ("", "http", "https")


def shown_in(text: str) -> str:
    """The text with every URL in it as `shown` shows it: for messages of libraries, which repeat what they were given."""
    return _URL.sub(lambda match: shown(match[0]), text)


def without_secrets(url: str) -> str:
    """The same URL as it may be written to a file that is read again: passwords and secret parameters left out.

    Never raises. Parameters that only may be secret stay: without them it is another connection.
    """
    scheme, separator, rest = str(url).partition("://")
    if not separator:
        return str(url)
    userinfo, rest = _userinfo(rest)
    user = f"{userinfo.partition(':')[0]}@" if userinfo else ""
    address, query = _query(rest)
    kept = [part for part in query.split("&") if part and not _is_secret(part)]
    return f"{scheme}://{user}{address}" + (f"?{'&'.join(kept)}" if kept else "")


def secrets_in(url: str) -> tuple[str, ...]:
    """Every text in a URL that `shown` hides, as it is spelt there and as it is meant, the longest first."""
    scheme, separator, rest = _split(url)
    userinfo, rest = _userinfo(rest)
    user, has_password, password = userinfo.partition(":")
    secrets = [password if has_password else user] if has_password or _is_token(scheme) else []
    for part in re.split("[&;#]", _query(rest)[1] if separator else ""):
        name, _, value = part.partition("=")
        if value and not _HARMLESS.fullmatch(_plain(name)):
            secrets.append(value)
    spelt = {text for secret in secrets for text in (secret, unquote_plus(secret)) if len(text) >= SHORTEST}
    return tuple(sorted(spelt, key=lambda text: (-len(text), text)))


def userinfo_of(url: str) -> str | None:
    """What stands before the host: all up to the last @, since a password that is not encoded may hold any character.

    None where there is none; a URL without a host (a file's) has none.
    """
    return _userinfo(_split(url)[2])[0] or None


def is_secret_key(name: str) -> bool:
    """Whether a parameter of this name, `password` or `sslpassword` for example, holds a secret."""
    plain = _plain(name)
    return _HARMLESS.fullmatch(plain) is None and _SECRET.search(plain) is not None


def _is_secret(part: str) -> bool:
    name, _, value = part.partition("=")
    # Settings within a parameter: options=-c my.token=...
    within = re.findall(r"([\w.-]+)=", unquote_plus(value))
    return any(is_secret_key(key) for key in (name, *within))


def _shown_part(part: str) -> str:
    name, equals, _ = part.partition("=")
    return part if not equals or _HARMLESS.fullmatch(_plain(name)) else f"{name}={HIDDEN}"


def _plain(name: str) -> str:
    return unquote_plus(name).strip().lower().replace("-", "_")


def _userinfo(rest: str) -> tuple[str, str]:
    """The userinfo and what follows it. A password may hold an unescaped / or ?, so the last @ that can end it does."""
    if rest.startswith("/"):
        return "", rest
    before_query = rest.partition("?")[0]
    if "@" in before_query:
        userinfo, _, _ = before_query.rpartition("@")
    elif ":" in before_query and "@" in rest and not _is_host(before_query):
        userinfo, _, _ = rest.rpartition("@")
    else:
        return "", rest
    return userinfo, rest[len(userinfo) + 1 :]


def _is_host(text: str) -> bool:
    """Whether a text before a query is host, port and path, and not the half of a userinfo."""
    return re.fullmatch(r"[^/@]*:[0-9]*(/[^@]*)?", text) is not None


def _query(rest: str) -> tuple[str, str]:
    address, mark, query = rest.partition("?")
    if not mark:
        address, mark, fragment = rest.partition("#")
        query = f"#{fragment}" if mark and "=" in fragment else ""
        address = rest if not query else address
    return address, query
