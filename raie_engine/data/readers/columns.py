"""Which column of a log is which: by name, by a name written a little otherwise, or by a layout that is well known.

A layout is known as a whole: all of its columns must be there, so that one name alone never decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raie.engine.errors import InputError

__all__ = ["Columns", "Matched", "match", "missing_column"]


@dataclass(frozen=True)
class Columns:
    """Which column of the file is which; ratings are read only for a rating threshold, titles are optional."""

    user: str = "user_id"
    item: str = "item_id"
    timestamp: str = "timestamp"
    rating: str | None = None
    title: str | None = None


@dataclass(frozen=True)
class _Layout:
    """The columns of a data set that many people have; milliseconds: of its times."""

    name: str
    columns: Mapping[str, str]
    milliseconds: bool = False


def _layout(name: str, user: str, item: str, time: str, rating: str = "rating", **more: Any) -> _Layout:
    return _Layout(name, {"user": user, "item": item, "time": time, "rating": rating}, **more)


_LAYOUTS = (
    _layout("a log of raie's own names", "user_id", "item_id", "timestamp"),
    _layout("MovieLens' ratings.csv", "userId", "movieId", "timestamp"),
    _layout("Amazon reviews of 2014 or 2018", "reviewerID", "asin", "unixReviewTime", "overall"),
    _layout("Amazon reviews of 2023", "user_id", "parent_asin", "timestamp", milliseconds=True),
    _layout("Yelp reviews", "user_id", "business_id", "date", "stars"),
    _layout("UCI Online Retail II", "Customer ID", "StockCode", "InvoiceDate"),
    _layout("UCI Online Retail", "CustomerID", "StockCode", "InvoiceDate"),
)
_KNOWN = {role: {layout.columns[role] for layout in _LAYOUTS} for role in ("user", "item", "time", "rating")}
# RecBole writes a type behind each name: user_id:token, timestamp:float.
_TYPED = re.compile(r"^(.+):(token|float|token_seq|float_seq)$")


@dataclass(frozen=True)
class Matched:
    """The column of each role, as the file spells it.

    read_as: what kind of log it is, None for one whose columns are named as was asked.  blanks: whether names stand
    between blanks, as values then do.  milliseconds: of the times.
    """

    names: Mapping[str, str]
    read_as: str | None = None
    blanks: bool = False
    milliseconds: bool = False


def match(where: str, present: Sequence[str], wanted: Mapping[str, str]) -> Matched | None:
    """The columns for these roles; None where one is not there.

    Args:
        where: the file, for messages.
        present: the names in the file.
        wanted: a name for each role.

    Returns:
        The columns by role.

    Raises:
        InputError: for a column of a role that is there twice.
    """
    if set(wanted.values()) <= set(present):
        milliseconds = any(layout.milliseconds and _asks_for(layout, wanted) for layout in _LAYOUTS)
        return _unique(where, present, _matched(dict(wanted), None, milliseconds))
    plain = {name: _plain(name, present) for name in present}
    names = _by_plain_name(plain, wanted)
    if names is not None:
        typed = any(_TYPED.match(name) for name in names.values())
        kind = "RecBole's atomic file" if typed else "column names of other case or with blanks"
        return _unique(where, present, _matched(names, kind))
    if not all(name in _KNOWN.get(role, {name}) for role, name in wanted.items()):
        return None
    for layout in _LAYOUTS:
        names = _by_plain_name(plain, {role: layout.columns.get(role, name) for role, name in wanted.items()})
        if names is not None:
            return _unique(where, present, _matched(names, layout.name, layout.milliseconds))
    return None


def _asks_for(layout: _Layout, wanted: Mapping[str, str]) -> bool:
    return all(wanted.get(role) == layout.columns[role] for role in ("user", "item", "time"))


def _matched(names: Mapping[str, str], kind: str | None, milliseconds: bool = False) -> Matched:
    blanks = any(name != name.strip() for name in names.values())
    return Matched(names, kind, blanks, milliseconds)


def _plain(name: str, present: Sequence[str]) -> str:
    """A name without blanks around it, in small letters; without its type where every name has one."""
    typed = _TYPED.match(name.strip()) if all(_TYPED.match(candidate.strip()) for candidate in present) else None
    return (typed[1] if typed else name).strip().casefold()


def _by_plain_name(plain: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str] | None:
    """The columns whose plain names are those wanted; a name that is written as it was asked for goes before others."""
    by_role = {}
    for role, name in wanted.items():
        typed = _TYPED.match(name.strip())
        asked = (typed[1] if typed else name).strip().casefold()
        alike = [candidate for candidate, text in plain.items() if text == asked]
        if name in plain:
            alike = [name]
        if len(alike) != 1:
            return None
        by_role[role] = alike[0]
    return by_role


def _unique(where: str, present: Sequence[str], matched: Matched) -> Matched:
    for role, name in matched.names.items():
        if (count := present.count(name)) > 1:
            raise InputError(
                f"{where}: expected one column {name!r}, found {count}: rename or leave out those that are not the {role}"
            )
    return matched


def missing_column(
    where: str, present: Sequence[str], wanted: Mapping[str, str], found_in: str = ""
) -> InputError:
    """The error for the first role whose column is not there.

    Args:
        where: the file, for messages.
        present: the names in the file.
        wanted: a name for each role.
        found_in: how the header was cut, for the message.

    Returns:
        The error.
    """
    role, name = next(((r, n) for r, n in wanted.items() if n not in present), next(iter(wanted.items())))
    return InputError(
        f"{where}: expected a column {name!r} for the {role}, found {', '.join(present):.300}{found_in}; "
        f"name the right one with --{role}-column"
    )
