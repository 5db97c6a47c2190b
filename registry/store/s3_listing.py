"""Lists of objects as S3 and its imitations answer them: whole, or refused; never silently the first page alone.

Version 2 of the list is asked for. A server that knows version 1 alone answers it with that, or refuses it, and is
then asked as version 1 wants. An answer that is no list, such as a web page, is no empty list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

__all__ = ["NotAList", "OlderListOnly", "listed", "relative_key", "require_list"]

Page = Mapping[str, Any]

_SIGNS = {"IsTruncated", "Contents", "KeyCount", "Uploads", "MaxKeys", "MaxUploads"}
"""Any of these is in every list that a server of S3 answers, and none of them in a web page."""


class NotAList(ValueError):
    """An answer that is no list, or a list of which the rest cannot be had."""


class OlderListOnly(Exception):
    """The server refuses version 2 of the list."""


def require_list(page: Page) -> None:
    """Raises NotAList for an answer that holds nothing that a list holds."""
    if _SIGNS.isdisjoint(page):
        raise NotAList("where a list should be, something else: it may be a web page")


def listed(newer: Callable[..., Page], older: Callable[..., Page]) -> Iterator[Mapping[str, Any]]:
    """Every object of a list, page by page.

    newer, older: one request of version 2 and 1 of the list, which takes ContinuationToken and Marker; newer raises
    OlderListOnly. Raises NotAList.
    """
    first: str | None = None
    token: str | None = None
    try:
        page = newer()
    except OlderListOnly:
        yield from _listed_older(older, older())
        return
    while True:
        require_list(page)
        yield from page.get("Contents", ())
        if not page.get("IsTruncated"):
            return
        last, token = token, page.get("NextContinuationToken")
        if not token:
            # Version 1 was answered: it has no token, and goes on after a key.
            yield from _listed_older(older, older(Marker=_end(page)), page)
            return
        first = _going_on(page, first) if token != last else _stuck()
        page = newer(ContinuationToken=token)


def _listed_older(
    older: Callable[..., Page], page: Page, before: Page | None = None
) -> Iterator[Mapping[str, Any]]:
    """The objects of a page of version 1 and of those that follow it."""
    first = None if before is None else _going_on(before, None)
    while True:
        require_list(page)
        first = _going_on(page, first)
        yield from page.get("Contents", ())
        if not page.get("IsTruncated"):
            return
        page = older(Marker=_end(page))


def _going_on(page: Page, before: str | None) -> str | None:
    """The first key of a page; raises NotAList where it is that of the page before: nothing would ever end."""
    first = next((entry["Key"] for entry in page.get("Contents", ())), None)
    return _stuck() if first is not None and first == before else first


def _end(page: Page) -> str:
    """After which key version 1 of the list goes on."""
    keys = [entry["Key"] for entry in page.get("Contents", ())]
    end: str | None = page.get("NextMarker") or (keys[-1] if keys else None)
    return end or str(_stuck())


def _stuck() -> str | None:
    raise NotAList("a list that says it goes on, and answers the same page again")


def relative_key(key: str, prefix: str) -> str | None:
    """A listed key without the prefix; None for one that does not begin with it.

    Some servers answer keys URL-encoded without saying so, or with a slash before them.
    """
    for spelt in (key, unquote(key)):
        for text in (spelt, spelt.removeprefix("/")):
            if text.startswith(prefix):
                return text[len(prefix) :]
    return None
