"""What the address of a store may be: a folder, `file:///folder` or `s3://NAME/prefix`, and never one with a key in it.

An address stands in raie.toml, in logs and in errors. So one that may hold credentials is refused, and no error
repeats more of an address than is certainly no secret.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from raie.registry.deadline import timeout_of
from raie.registry.errors import InvalidValue

__all__ = ["S3Address", "parse_store"]

_EXPECTED = "Expected a store as a folder, file:///folder or s3://NAME/prefix"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//?)?")
# Without a slash only these: a folder may have a colon in its name.
_URL_LIKE = {"s3", "s3a", "s3n", "file", "gs", "gcs", "http", "https"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SECRET = re.compile(r"//[^/]*:.*@")


@dataclass(frozen=True)
class S3Address:
    """The bucket's name, the prefix without slashes around it, and how long a request may last, None for as usual."""

    name: str
    prefix: str
    timeout_s: float | None


def parse_store(text: str) -> Path | S3Address:
    """The folder or the place in S3 that the address of a store names.

    Args: text: a folder's path, `file:///folder`, or `s3://NAME/prefix?timeout=SECONDS`.
    Raises: InvalidValue for anything else, such as `s3:/x`, and for credentials, which it does not repeat.
    """
    if _SECRET.search(text):
        raise _with_credentials()
    match = _SCHEME.match(text)
    scheme, slashes = (match[1], match[2]) if match else ("", None)
    if match is None or (slashes is None and scheme.lower() not in _URL_LIKE):
        return _folder(text)
    rest = text[match.end() :]
    if (scheme, slashes) == ("file", "//"):
        return _file(rest)
    if (scheme, slashes) == ("s3", "//"):
        return _s3(rest)
    advice = f"; for a folder of that name write ./{scheme}:" if scheme.lower() in _URL_LIKE else ""
    raise InvalidValue(f"{_EXPECTED}, found {scheme}:{slashes or ''}{advice}")


def _with_credentials() -> InvalidValue:
    return InvalidValue(
        "Expected a store's URL without credentials, found some, which are not repeated here; leave them out of the "
        "URL and give them to boto3: AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )


def _folder(path: str) -> Path:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        path = ""
    if not path or "\0" in path:
        raise InvalidValue(f"{_EXPECTED}, found an empty or unprintable text")
    return Path(path)


def _file(rest: str) -> Path:
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost"):
        # It would be dropped, and file://data/blobs be /blobs.
        raise InvalidValue(
            f"{_EXPECTED}, found file:// and the name of a host; write three slashes before the path"
        )
    return _folder(unquote(slash + path, errors="surrogateescape"))


def _s3(rest: str) -> S3Address:
    location, _, query = rest.partition("?")
    name, _, prefix = location.partition("/")
    if ":" in name or "@" in name:
        raise _with_credentials()
    if not _NAME.fullmatch(name):
        raise InvalidValue(
            "Expected s3://NAME/prefix with the name of a bucket, letters, digits and any of . _ -, found another text"
        )
    options = dict(parse_qsl(query, keep_blank_values=True))
    seconds = timeout_of(options.pop("timeout")) if "timeout" in options else None
    if options or (query and seconds is None):
        raise InvalidValue(
            "Expected s3://NAME/prefix?timeout=SECONDS and no other option, found others, which are not repeated here; "
            "credentials, region and endpoint come from boto3: AWS_PROFILE, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL"
        )
    # A server that keeps objects as files would take them for folders above.
    if not prefix.isprintable() or not {".", ".."}.isdisjoint(prefix.split("/")):
        raise InvalidValue(f"Expected a printable prefix without . and .. as a part, found {ascii(prefix)[:80]}")
    return S3Address(name, prefix.strip("/"), seconds)
