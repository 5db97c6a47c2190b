"""How many of a log's users and items a model knows, and how many earlier slices of its logs knew of what came before.

A share falls in every honest log where new users and items come. It falls to nothing where ids are spelt otherwise than
before: the same people would be learned anew, and a metric would rise on windows of items that nothing else knows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raie.engine.data.catalogue import Catalogue
from raie.engine.data.interactions import Interactions, between

__all__ = ["Known", "Overlap", "Reference", "overlap", "reference"]

_SPLITS = (0.5, 0.6, 0.7, 0.8, 0.9)  # a later slice may be as long as all that came before it, or short


@dataclass(frozen=True)
class Known:
    """Of one kind of id, how many are known. rows: of the log.  ids: distinct ones.  known_rows, known_ids: of those."""

    rows: int
    known_rows: int
    ids: int
    known_ids: int

    @property
    def row_share(self) -> float:
        """Share of rows whose id is known; 1 without rows."""
        return self.known_rows / self.rows if self.rows else 1.0

    @property
    def id_share(self) -> float:
        """Share of distinct ids that are known; 1 without any."""
        return self.known_ids / self.ids if self.ids else 1.0

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "row_share": self.row_share, "id_share": self.id_share}


@dataclass(frozen=True)
class Overlap:
    """What is known of the users and of the items of some rows."""

    users: Known
    items: Known

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {"users": self.users.to_mapping(), "items": self.items.to_mapping()}


@dataclass(frozen=True)
class Reference:
    """The least shares that earlier slices had: of rows and of distinct ids, for users and for items."""

    users: tuple[float, float]
    items: tuple[float, float]

    def lowered(self, measured: Overlap) -> Reference:
        """The same with one more slice.

        Args:
            measured: of one more slice.

        Returns:
            The lower shares.
        """
        return Reference(
            (min(self.users[0], measured.users.row_share), min(self.users[1], measured.users.id_share)),
            (min(self.items[0], measured.items.row_share), min(self.items[1], measured.items.id_share)),
        )

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {name: {"rows": rows, "ids": ids} for name, (rows, ids) in vars(self).items()}

    @staticmethod
    def from_mapping(value: object) -> Reference | None:
        """The inverse of `to_mapping`; None for anything else, as the report of another client may hold.

        Args:
            value: plain values.

        Returns:
            The reference.
        """
        try:
            pairs = {name: (value[name]["rows"], value[name]["ids"]) for name in ("users", "items")}  # type: ignore[index]
            shares = {name: (float(rows), float(ids)) for name, (rows, ids) in pairs.items()}
        except (KeyError, TypeError, ValueError, IndexError):
            return None
        within = all(0 <= share <= 1 for pair in shares.values() for share in pair)
        return Reference(**shares) if within else None


def overlap(interactions: Interactions, catalogue: Catalogue, after: int | None, until: int | None) -> Overlap:
    """What a catalogue knows of the rows with after < timestamp <= until.

    Args:
        interactions: read with the catalogue, so that its ids have their rows.
        catalogue: the ids that the model knows.
        after: epoch seconds; None for the beginning.
        until: epoch seconds; None for the whole log.

    Returns:
        Known rows and ids of users and of items.
    """
    part = between(interactions, after, until)
    users, items = part.user < len(catalogue.users), part.item <= len(catalogue.items)
    return Overlap(_known(part.user, users), _known(part.item, items))


def reference(interactions: Interactions) -> Reference | None:
    """The least shares of known users and items in the later part of a log, of what its earlier part holds.

    None for a log that cannot be split in time.

    Args:
        interactions: the log, in time order.

    Returns:
        The shares.
    """
    splits = [_split(interactions, split) for split in _SPLITS] if len(interactions) else []
    parts = [split_overlap for split_overlap in splits if split_overlap.users.rows]
    whole = Reference((1.0, 1.0), (1.0, 1.0))
    for split_overlap in parts:
        whole = whole.lowered(split_overlap)
    return whole if parts else None


def _split(interactions: Interactions, share: float) -> Overlap:
    """What the rows up to this quantile of time know of those after it."""
    cut = int(np.searchsorted(interactions.timestamp, np.quantile(interactions.timestamp, share), side="right"))

    def known(rows: NDArray[np.int32]) -> Known:
        met = np.zeros(int(rows.max()) + 1, bool)
        met[rows[:cut]] = True
        return _known(rows[cut:], met[rows[cut:]])

    return Overlap(known(interactions.user), known(interactions.item))


def _known(rows: NDArray[np.int32], known: NDArray[np.bool_]) -> Known:
    top = int(rows.max(initial=-1)) + 1
    ids = np.count_nonzero(np.bincount(rows, minlength=top))
    known_ids = np.count_nonzero(np.bincount(rows[known], minlength=top))
    return Known(len(rows), int(known.sum()), int(ids), int(known_ids))
