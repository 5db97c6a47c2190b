"""What a log holds, slice by slice, what a model learns from it, and what will go wrong: a value that is printed.

Times are epoch seconds UTC. A slice is the rows between two cuts; its first cut is exclusive, its last inclusive.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raie.engine.arrays import stable_order
from raie.engine.config import WindowConfig
from raie.engine.data.interactions import Interactions, between
from raie.engine.data.readers.timestamps import EARLIEST_PLAUSIBLE, iso
from raie.engine.data.window_length import LengthChoice, choose_length
from raie.engine.data.windows import uncut_evaluation_windows, uncut_windows

__all__ = ["Description", "Learned", "Slice", "describe"]

_QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)

# Where a warning begins. With fewer targets, eight regions would hold about a hundred each.
_FEW_TARGETS = 1_000
_MANY_TIES = 0.2
_MANY_NEW_ITEMS = 0.2
_ONE_USER = 0.1


@dataclass(frozen=True)
class Slice:
    """One time slice.

    after, until: the cuts (exclusive, inclusive; None is open).  first, last: of its rows, None where it is empty.
    new_items, new_users: met in no earlier slice.  new_item_share: share of rows on such items.
    windows: to train on. targets: interactions that a model is asked for. first_of_user: interactions that it is not
    asked for, because their user has none before them.
    """

    after: int | None
    until: int | None
    rows: int
    users: int
    items: int
    new_users: int
    new_items: int
    new_item_share: float
    windows: int
    targets: int
    first_of_user: int
    first: int | None
    last: int | None


@dataclass(frozen=True)
class Learned:
    """What a model learns from the whole log under these options.

    length: of the windows, and why. context: the option windows.context. targets: interactions that training predicts,
    each counted once.  first_of_user: interactions without one of their user before them, one per user.  single_users: of
    users with one interaction.  whole_history: of the targets, those with their user's whole history as context.
    outside_windows: interactions that the window options leave out.
    """

    length: LengthChoice
    context: str
    targets: int
    first_of_user: int
    single_users: int
    whole_history: int
    outside_windows: int


@dataclass(frozen=True)
class Description:
    """A log in numbers.

    history: quantile -> interactions per user.  ties: share of a user's adjacent interactions that share a second.
    short_users: share of users with too few interactions for one full window.
    """

    digest: str
    rows: int
    users: int
    items: int
    first: int | None
    last: int | None
    history: dict[str, float]
    ties: float
    short_users: float
    learned: Learned
    slices: tuple[Slice, ...]
    warnings: tuple[str, ...]

    def to_mapping(self) -> dict[str, Any]:
        """Plain nested values, ready for JSON."""
        return dataclasses.asdict(self)


def describe(interactions: Interactions, config: WindowConfig, cuts: Sequence[int] = ()) -> Description:
    """Describe a log cut at these times (epoch seconds) and into windows of this configuration.

    Args:
        interactions: the log, in time order.
        config: how windows are cut; without a length, setup on the first slice chooses it.
        cuts: epoch seconds.

    Returns:
        The description.
    """
    cuts = sorted(cuts)
    choice = choose_length(between(interactions, None, cuts[0] if cuts else None), config)
    config = choice.configured(config)
    history = _history(interactions)
    short = float((history <= config.length).mean()) if len(history) else 0.0
    ties = _tie_share(interactions)
    slices = tuple(_slices(interactions, config, cuts))
    return Description(
        digest=interactions.digest,
        rows=len(interactions),
        users=len(history),
        items=len(np.unique(interactions.item)),
        first=_edge(interactions, 0),
        last=_edge(interactions, -1),
        history={f"{q:g}": float(np.quantile(history, q)) for q in _QUANTILES} if len(history) else {},
        ties=ties,
        short_users=short,
        learned=_learned(interactions, history, choice, config),
        slices=slices,
        warnings=(
            *_time_warnings(interactions, ties),
            *_user_warnings(history),
            *_slice_warnings(slices),
        ),
    )


def _history(interactions: Interactions) -> NDArray[np.int64]:
    """Interactions per user of this log, int64 [users]."""
    counts = np.bincount(interactions.user)
    return counts[counts > 0]


def _learned(
    interactions: Interactions, history: NDArray[np.int64], choice: LengthChoice, config: WindowConfig
) -> Learned:
    windows = uncut_windows(interactions, config)
    if windows.targets is not None:
        targets = int(windows.targets.sum())
        short = np.minimum(history - 1, config.length) - config.min_length + 1
        whole = int(np.maximum(short, 0).sum())
    else:  # windows that slide predict the last `stride` items of each
        predicted = np.minimum(config.stride, windows.length)
        targets, whole = int(predicted.sum()), int(predicted[windows.length < config.length].sum())
    return Learned(
        length=choice,
        context=config.context,
        targets=targets,
        first_of_user=len(history),
        single_users=int((history == 1).sum()),
        whole_history=whole,
        outside_windows=len(interactions) - len(history) - targets,
    )


def _edge(interactions: Interactions, row: int) -> int | None:
    return int(interactions.timestamp[row]) if len(interactions) else None


def _tie_share(interactions: Interactions) -> float:
    order = stable_order(interactions.user)
    user, time = interactions.user[order], interactions.timestamp[order]
    adjacent = user[1:] == user[:-1]
    tied = adjacent & (time[1:] == time[:-1])
    return float(tied.sum() / max(1, adjacent.sum()))


def _slices(interactions: Interactions, config: WindowConfig, cuts: Sequence[int]) -> Iterator[Slice]:
    edges = [None, *cuts, None]
    known_users = np.zeros(len(interactions.catalogue.users), dtype=bool)
    known_items = np.zeros(len(interactions.catalogue.items) + 1, dtype=bool)
    for after, until in pairwise(edges):
        part, past = between(interactions, after, until), between(interactions, None, until)
        users, items = np.unique(part.user), np.unique(part.item)
        yield Slice(
            after=after,
            until=until,
            rows=len(part),
            users=len(users),
            items=len(items),
            new_users=int((~known_users[users]).sum()),
            new_items=int((~known_items[items]).sum()),
            new_item_share=float((~known_items[part.item]).mean()) if len(part) else 0.0,
            windows=len(uncut_windows(past, config, after=after)),
            targets=len(uncut_evaluation_windows(past, config, after=after)),
            first_of_user=int((~known_users[users]).sum()),
            first=_edge(part, 0),
            last=_edge(part, -1),
        )
        known_users[users] = True
        known_items[items] = True


def _time_warnings(interactions: Interactions, ties: float) -> Iterator[str]:
    first, last = _edge(interactions, 0), _edge(interactions, -1)
    if first is None or last is None:
        yield "the log is empty: there is nothing to cut"
        return
    if first == last:
        yield f"every row has the timestamp {iso(first)}: slices cannot be cut and the order is the file's"
    elif first < EARLIEST_PLAUSIBLE:
        yield (
            f"the first timestamp is {iso(first)}: if these are row numbers or days, dates will be wrong; "
            "expected epoch seconds UTC"
        )
    if ties > _MANY_TIES:
        yield (
            f"{ties:.0%} of a user's adjacent interactions share a second: their order is that of the file, "
            "and another export may order them otherwise"
        )


def _user_warnings(history: NDArray[np.int64]) -> Iterator[str]:
    if len(history) and history.max() > _ONE_USER * history.sum() and len(history) > 1 / _ONE_USER:
        share = history.max() / history.sum()
        yield f"one user has {share:.0%} of all interactions: probably a shared or test account"


def _slice_warnings(slices: Sequence[Slice]) -> Iterator[str]:
    for number, part in enumerate(slices, start=1):
        name = f"slice {number}" + (f" (until {iso(part.until)})" if part.until is not None else "")
        if not part.rows:
            yield f"{name} is empty: move the cuts into the log's time range"
        elif part.targets < _FEW_TARGETS:
            yield f"{name} asks for {part.targets} interactions; below {_FEW_TARGETS} regions and measurements mislead"
        if number > 1 and part.new_item_share > _MANY_NEW_ITEMS:
            yield (
                f"{part.new_item_share:.0%} of {name}'s interactions are with {part.new_items} items "
                "that no earlier slice holds: the frozen backbone knows nothing of them"
            )
