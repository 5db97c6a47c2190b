"""Whether the ids of a later log are the known ones spelt otherwise, and how.

Four questions, each of which alone is enough: would a plain change of spelling make many unknown ids known; do the
columns fit better the other way round; does the log hold what the model remembers of its past; and is the share of known
ids far below what earlier slices had. Honest logs of many new users and items pass all four.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raie.engine.data.arrow import to_numpy
from raie.engine.data.catalogue import Catalogue
from raie.engine.data.interactions import Interactions, between
from raie.engine.data.known_ids import Known, Overlap, Reference
from raie.engine.data.windows import Windows

__all__ = ["cause_of", "far_below", "forgotten_past", "swapped"]

_FEW = 3  # as many ids may agree by chance
_MANY = 10  # as many do not
_PART = 0.05  # of the ids of a slice; a respelling that touches fewer is no reason to refuse it
_TOLD_APART = 0.01  # ids that differ by a spelling alone: from this share on they are meant
_FAR_BELOW = 0.1  # of the least share of earlier slices; honest slices of three public logs stay above 0.19 of it
_REMEMBERED = 0.1  # of the held-out windows' targets; a log of three users in ten is still one of the same users
_FITS_BETTER = 1.2  # how much nearer the popularity of the other column has to be
_MAY_BE_ITEMS = 0.2  # of the users' ids, which are known items
_MAY_BE_USERS = 0.02  # of the items' ids, which are known users: in a log of few known users they are few, too

_SPELLINGS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ('end in ".0"', lambda texts: pc.replace_substring_regex(texts, r"\.0+$", "")),
    ("differ in leading zeros", lambda texts: pc.replace_substring_regex(texts, r"^0+([0-9])", r"\1")),
    ("differ in blanks around them", pc.utf8_trim_whitespace),
    ("differ in upper and lower case", pc.utf8_lower),
)


def _all_spellings(texts: Any) -> Any:
    for _, spell in (*_SPELLINGS[2:], *_SPELLINGS[:2]):
        texts = spell(texts)
    return texts


@dataclass(frozen=True)
class _Role:
    """One kind of id: what it is called, the ids that are known, and those of the new rows that are not."""

    name: str
    known: Sequence[str]
    unknown: Sequence[str]
    known_share: Known


def cause_of(new: Interactions, catalogue: Catalogue, known_share: Overlap) -> str | None:
    """In which way unknown ids of these rows are known ones spelt otherwise; None where no way explains many.

    Args:
        new: rows read with the catalogue.
        catalogue: the ids that the model knows.
        known_share: what the catalogue knows of them.

    Returns:
        A phrase for a message.
    """
    users, items = np.unique(new.user), np.unique(new.item)
    strange_users = users[users >= len(catalogue.users)]
    strange_items = items[items > len(catalogue.items)]
    roles = (
        _Role("user", catalogue.users, [new.catalogue.users[row] for row in strange_users], known_share.users),
        _Role("item", catalogue.items, new.catalogue.item_ids(strange_items), known_share.items),
    )
    causes = [cause for role in roles if (cause := _cause(role))]
    return " and ".join(causes) or None


def _cause(role: _Role) -> str | None:
    if len(role.unknown) < _FEW or not role.known:
        return None
    known, unknown = pa.array(role.known, pa.string()), pa.array(role.unknown, pa.string())
    explained = [(words, _explained(known, unknown, spell)) for words, spell in _SPELLINGS]
    explained.append(("differ in several ways from those known", _explained(known, unknown, _all_spellings)))
    words, rows = max(explained, key=lambda entry: len(entry[1]))
    enough = len(rows) >= min(_MANY, max(_FEW, len(unknown) / 2))
    if not enough or not (len(rows) >= _PART * role.known_share.ids or len(rows) > role.known_share.known_ids):
        return None
    example = unknown[int(rows[0])].as_py()
    would = f"{len(rows):,} of {len(unknown):,} unknown {role.name}s would be known"
    return f"{role.name} ids {words} (as {example!r:.40}): {would}"


def _explained(known: Any, unknown: Any, spell: Callable[[Any], Any]) -> NDArray[np.uint64]:
    """The unknown ids that are known ones but for this spelling; none where known ones differ by it alone."""
    plain = spell(known)
    rows = to_numpy(pc.indices_nonzero(pc.is_in(spell(unknown), value_set=plain)))
    alike = len(plain) - pc.count_distinct(plain).as_py() if len(rows) else 0
    return rows if alike <= _TOLD_APART * len(plain) else rows[:0]


def swapped(new: Interactions, catalogue: Catalogue, held_out: Sequence[Windows]) -> bool:
    """Whether the column of users looks more like the model's items than the column of items does.

    Names alone do not say it where both are numbers, so popularity decides: how often an item was met before and how
    often it is met now go together.

    Args:
        new: rows read with the catalogue.
        catalogue: the ids that the model knows.
        held_out: windows of the model's past.

    Returns:
        Whether it does.
    """
    row_of = {item: row for row, item in enumerate(catalogue.items)}
    users = np.bincount(new.user, minlength=len(new.catalogue.users))
    items = np.bincount(new.item, minlength=len(new.catalogue.items) + 1)[1:]
    met = np.flatnonzero(users)
    as_items = np.array([row_of.get(new.catalogue.users[user], -1) for user in met], dtype=np.int64)
    if (as_items >= 0).sum() < max(_MANY, _MAY_BE_ITEMS * len(met)) or not _may_be_users(new, catalogue):
        return False
    before = _popularity(held_out, len(catalogue.items))
    as_item_counts = np.zeros(len(catalogue.items))
    as_item_counts[as_items[as_items >= 0]] = users[met[as_items >= 0]]
    given = items[: len(catalogue.items)]
    return _alike(before, as_item_counts, users) > _FITS_BETTER * _alike(before, given, items)


def _may_be_users(new: Interactions, catalogue: Catalogue) -> bool:
    ids = new.catalogue.item_ids(np.unique(new.item))
    return len(set(catalogue.users).intersection(ids)) >= max(_MANY, _MAY_BE_USERS * len(ids))


def _alike(before: NDArray[np.float64], known: NDArray[Any], every: NDArray[Any]) -> float:
    """How far popularity before and now go together. known: of the items known before; every: what it is measured by."""
    return float(before @ known) / max(1.0, float(np.linalg.norm(every.astype(np.float64))))


def _popularity(windows: Sequence[Windows], items: int) -> NDArray[np.float64]:
    """How often each known item stands in the windows; once each, where there are none."""
    counts = np.zeros(items + 1)
    for part in windows:
        counts += np.bincount(np.append(part.items.ravel(), part.target), minlength=items + 1)[: items + 1]
    return counts[1:] if counts[1:].any() else np.ones(items)


def forgotten_past(past: Interactions, held_out: Sequence[Windows]) -> bool:
    """Whether a log that reaches back to the time of these windows holds next to nothing of them.

    Args:
        past: rows up to the watermark.
        held_out: windows whose targets the model has read from the rows of its past.

    Returns:
        Whether it does.
    """
    if not len(past):
        return False
    base = np.int64(max(int(past.item.max()), *(int(part.target.max(initial=0)) for part in held_out)) + 1)
    kept = [part.take(part.timestamp >= past.timestamp[0]) for part in held_out]
    pairs = np.unique(np.concatenate([part.user.astype(np.int64) * base + part.target for part in kept]))
    if len(pairs) < _MANY:
        return False
    first, last = (
        min(int(p.timestamp.min()) for p in kept if len(p)),
        max(int(p.timestamp.max()) for p in kept if len(p)),
    )
    same_time = between(past, first - 1, last)
    if len(same_time) < len(pairs):
        return False  # some late-arriving rows, and not the log that the model has read
    there = np.isin(pairs, same_time.user.astype(np.int64) * base + same_time.item)
    return bool(there.mean() < _REMEMBERED)


def far_below(known_share: Overlap, least: Reference | None) -> tuple[str, ...]:
    """Of which ids ("users", "items") the known share is far below that of earlier slices, too far for chance.

    Args:
        known_share: of the new rows.
        least: shares of earlier slices; None where they are unknown.

    Returns:
        "users", "items", both or none.
    """
    if least is None:
        return ()
    shares: Mapping[str, tuple[Known, tuple[float, float]]] = {
        "users": (known_share.users, least.users),
        "items": (known_share.items, least.items),
    }
    return tuple(
        name
        for name, (known, (rows, ids)) in shares.items()
        if ids * known.ids >= _MANY and known.row_share < _FAR_BELOW * rows and known.id_share < _FAR_BELOW * ids
    )
