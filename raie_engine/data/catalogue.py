"""External ids become rows here and nowhere else: users count from 0, items from 1, because row 0 is padding.

A catalogue only ever grows: a known id keeps its row, a new one is appended, and what an edit appended is a chunk
that is stored with the snapshot.
Legend: n ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from raie.engine.bytes.json import parse_json
from raie.engine.errors import DamagedArtifact, InputError, UnknownItem

__all__ = ["PAD", "Catalogue"]

PAD = 0

_CHUNK_FORMAT = 1


@dataclass(frozen=True)
class Catalogue:
    """Every user and item id the model has met, in order of first appearance in time; ids are text.

    users: row u is users[u].  items: row i is items[i - 1].  titles: of the items, in their order, "" where there is
    none; without titles at its end, so that a catalogue without any holds ().
    """

    users: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()

    @cached_property
    def _user_rows(self) -> dict[str, int]:
        return {user: row for row, user in enumerate(self.users)}

    @cached_property
    def _item_rows(self) -> dict[str, int]:
        return {item: row for row, item in enumerate(self.items, start=1)}

    def user_rows(self, ids: Sequence[object]) -> NDArray[np.int32]:
        """Rows of external user ids.

        Args:
            ids: external.

        Returns:
            int32 [n].

        Raises:
            InputError: for an id that no log has held.
        """
        missing = [user for user in map(str, ids) if user not in self._user_rows]
        if missing:
            raise InputError(_unknown("user", missing, len(self.users)))
        return np.array([self._user_rows[str(user)] for user in ids], dtype=np.int32)

    def item_rows(self, ids: Sequence[object]) -> NDArray[np.int32]:
        """Rows of external item ids.

        Args:
            ids: external.

        Returns:
            int32 [n].

        Raises:
            UnknownItem: for an id that no log has held.
        """
        missing = [item for item in map(str, ids) if item not in self._item_rows]
        if missing:
            raise UnknownItem(_unknown("item", missing, len(self.items)))
        return np.array([self._item_rows[str(item)] for item in ids], dtype=np.int32)

    def item_row(self, item: str) -> int | None:
        """The row of an external item id.

        Args:
            item: external id.

        Returns:
            The row; None for an id that no log has held.
        """
        return self._item_rows.get(item)

    def known_item_rows(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """Rows of those of some external item ids that a log has held.

        Args:
            ids: external.

        Returns:
            int64 [m], m at most the number of ids.
        """
        rows = (self._item_rows.get(item) for item in ids)
        return np.array([row for row in rows if row is not None], dtype=np.int64)

    def title_of(self, row: int) -> str:
        """The title of an item.

        Args:
            row: item row, from 1.

        Returns:
            The title; "" where the model knows none.
        """
        return self.titles[row - 1] if row <= len(self.titles) else ""

    def item_ids(self, rows: Iterable[int]) -> list[str]:
        """External ids of item rows; the inverse of `item_rows`.

        Args:
            rows: item rows.

        Returns:
            External ids.
        """
        return [self.items[row - 1] for row in rows]

    def extend(self, users: Iterable[str], items: Iterable[str]) -> Catalogue:
        """This catalogue with the ids it did not know appended, in the order given.

        Args:
            users: external ids.
            items: external ids.

        Returns:
            A catalogue that begins with this one.
        """
        return Catalogue(
            self.users + tuple(dict.fromkeys(user for user in users if user not in self._user_rows)),
            self.items + tuple(dict.fromkeys(item for item in items if item not in self._item_rows)),
            self.titles,
        )

    def with_titles(self, titles: Mapping[str, str], since: int) -> Catalogue:
        """The catalogue with the titles of its items from number `since`, counted from 0, on; older ones stay.

        Args:
            titles: by external id.
            since: number of the first item that gets one.

        Returns:
            The catalogue.
        """
        known = (*self.titles, *("" for _ in range(since - len(self.titles))))[:since]
        return replace(self, titles=_trimmed((*known, *(titles.get(item, "") for item in self.items[since:]))))

    def first(self, *, users: int, items: int) -> Catalogue:
        """The catalogue as it was when it held this many users and items.

        Args:
            users: how many.
            items: how many.

        Returns:
            The catalogue.
        """
        return Catalogue(self.users[:users], self.items[:items], _trimmed(self.titles[:items]))

    def chunk_since(self, older: Catalogue) -> bytes:
        """What was appended to `older`, as canonical JSON.

        Args:
            older: the beginning of this catalogue.

        Returns:
            Canonical JSON.

        Raises:
            InputError: where `older` is not the beginning of this catalogue.
        """
        users, items = len(older.users), len(older.items)
        if self.users[:users] != older.users or self.items[:items] != older.items:
            raise InputError(
                "expected a catalogue that extends the older one, found other ids in the older one's rows; "
                "read the log with the older catalogue so that known ids keep their rows"
            )
        chunk = {
            "first_item": items + 1,
            "first_user": users,
            "format": _CHUNK_FORMAT,
            "items": self.items[items:],
            "users": self.users[users:],
        }
        if self.titles[items:]:
            chunk["titles"] = self.titles[items:]
        return json.dumps(chunk, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @staticmethod
    def from_chunks(chunks: Sequence[bytes]) -> Catalogue:
        """The catalogue that a list of chunks adds up to, oldest first.

        Args:
            chunks: oldest first.

        Returns:
            The catalogue.

        Raises:
            DamagedArtifact: for bytes that are no chunk, chunks out of order, or an id that comes twice.
        """
        users: list[str] = []
        items: list[str] = []
        titles: list[str] = []
        for number, data in enumerate(chunks, start=1):
            try:
                chunk = parse_json(data, "a chunk")
                start = chunk["first_user"], chunk["first_item"]
                more_users, more_items = _ids(chunk["users"]), _ids(chunk["items"])
                more_titles = _ids(chunk.get("titles", []))
            except (DamagedArtifact, KeyError, TypeError, AttributeError) as error:
                raise DamagedArtifact(
                    f"catalogue chunk {number} of {len(chunks)} is not one: {error!r}"
                ) from error
            if start != (len(users), len(items) + 1):
                raise DamagedArtifact(
                    f"catalogue chunk {number} of {len(chunks)} must start at user {len(users)} and item "
                    f"{len(items) + 1}, found {start[0]} and {start[1]}: a chunk is missing or out of order"
                )
            titles += [""] * (len(items) - len(titles)) + more_titles
            users += more_users
            items += more_items
        if len(set(users)) < len(users) or len(set(items)) < len(items):
            raise DamagedArtifact("the catalogue's chunks hold an id twice: two rows would share one meaning")
        if len(titles) > len(items):
            raise DamagedArtifact("the catalogue's chunks hold more titles than items")
        return Catalogue(tuple(users), tuple(items), _trimmed(tuple(titles)))


def _trimmed(titles: tuple[str, ...]) -> tuple[str, ...]:
    """The titles up to the last that is not empty."""
    named = max((number for number, title in enumerate(titles, start=1) if title), default=0)
    return titles[:named]


def _ids(values: object) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError("expected a list of texts")
    return values


def _unknown(kind: str, missing: Sequence[str], known: int) -> str:
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    return (
        f"{kind} {missing[0]!r:.80}{more} not in the catalogue of {known} {kind}s; ids are compared as text, "
        f"and a new {kind} is learned by an edit on a log that holds it"
    )
