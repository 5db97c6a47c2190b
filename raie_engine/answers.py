"""What is served after each history: the one way to it, whether a command, MLflow or an HTTP server asks.

Every row answers on its own: what the other rows of a batch hold changes no bit of it. A history of which the model
knows nothing gets what is popular and the mark `cold`, and fails nobody.
Legend: n windows, k best items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from raie.engine.data.windows import Windows, last_windows
from raie.engine.errors import InputError
from raie.engine.model import ModelView
from raie.engine.next_items import NOWHERE, best_items

__all__ = ["Answer", "LoadedSnapshot", "Query", "Wanted", "answers", "answers_after", "reads_times"]


@dataclass(frozen=True)
class LoadedSnapshot:
    """A snapshot whose every blob that decides a score was read and verified.

    id: of the snapshot.  created_at: epoch seconds.  edit: the number of the edit that made it; 0 where nobody asked.
    """

    id: str
    view: ModelView
    created_at: float = 0.0
    edit: int = 0


@dataclass(frozen=True)
class Wanted:
    """What is asked for one history.

    k: items.  exclude_seen: as of `Router.scores`.  candidates: the only item ids that may come; None for all.
    """

    k: int = 10
    exclude_seen: bool | None = None
    candidates: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Query:
    """One history of item ids, the oldest first, with their times (epoch seconds) where there are any."""

    items: tuple[str, ...]
    times: tuple[int, ...] | None = None
    wanted: Wanted = field(default_factory=Wanted)


@dataclass(frozen=True)
class Answer:
    """What one history gets.

    items, titles, scores: the best first; a title is "" where the model knows none.  region: None where the model knows
    no item of the history, which is then cold.  ignored: how many items of it the snapshot does not know.  snapshot: the
    id of the snapshot that answers.
    """

    items: tuple[str, ...]
    titles: tuple[str, ...]
    scores: tuple[float, ...]
    region: int | None
    ignored: int
    snapshot: str

    @property
    def cold(self) -> bool:
        """Whether the model knows no item of the history."""
        return self.region is None


def reads_times(view: ModelView) -> bool:
    """Whether the backbone of a snapshot reads the times of items.

    Args:
        view: the snapshot.

    Returns:
        True where a history without times cannot be scored.
    """
    return bool(getattr(view.backbone, "reads_times", False))


def answers(loaded: LoadedSnapshot, queries: Sequence[Query]) -> list[Answer]:
    """The best next items of each history.

    Args:
        loaded: the snapshot.
        queries: n histories, each with what is wanted after it.

    Returns:
        One answer for each, in the same order.

    Raises:
        InputError: for a k below 1, for times that are not one for each item, and for known items without times where
            the backbone reads them.
    """
    view = loaded.view
    known = [_known(view, number, query) for number, query in enumerate(queries)]
    # A history of nothing has all the times of its items.
    timed = np.array([when is not None or not rows for rows, when in known], dtype=bool)
    timed &= reads_times(view)
    made: dict[int, Answer] = {}
    for has_times in np.unique(timed).tolist():
        numbers = np.flatnonzero(timed == has_times).tolist()
        windows = last_windows(
            [known[number][0] for number in numbers],
            view.settings.engine.windows.length,
            [known[number][1] or [] for number in numbers] if has_times else None,
        )
        ignored = [len(queries[number].items) - len(known[number][0]) for number in numbers]
        wanted = [queries[number].wanted for number in numbers]
        made |= dict(zip(numbers, answers_after(loaded, windows, ignored, wanted), strict=True))
    return [made[number] for number in range(len(queries))]


def answers_after(
    loaded: LoadedSnapshot, windows: Windows, ignored: Sequence[int], wanted: Sequence[Wanted]
) -> list[Answer]:
    """The same after contexts that are cut already.

    Args:
        loaded: the snapshot.
        windows: n contexts; one may be empty.
        ignored: of each, how many items the snapshot does not know.
        wanted: of each, what is asked for.

    Returns:
        One answer for each, in the same order; without items for an empty context where the snapshot has no mixture,
        which would know what is popular.

    Raises:
        InputError: for a k below 1, and a context without times where the backbone reads them.
    """
    popular = bool(loaded.view.mixtures)
    made = {
        number: Answer((), (), (), None, ignored[number], loaded.id)
        for number in np.flatnonzero(windows.length == 0).tolist()
        if not popular
    }
    rest = [number for number in range(len(windows)) if number not in made]
    for exclude_seen in dict.fromkeys(wanted[number].exclude_seen for number in rest):
        numbers = [number for number in rest if wanted[number].exclude_seen is exclude_seen]
        part = windows.take(np.array(numbers))
        made |= _scored(loaded, part, numbers, ignored, wanted, exclude_seen)
    return [made[number] for number in range(len(windows))]


def _scored(
    loaded: LoadedSnapshot,
    windows: Windows,
    numbers: Sequence[int],
    ignored: Sequence[int],
    wanted: Sequence[Wanted],
    exclude_seen: bool | None,
) -> dict[int, Answer]:
    """Answers by their number; windows: of these numbers."""
    catalogue = loaded.view.catalogue
    limits = [wanted[number].k for number in numbers]
    if min(limits) < 1:
        raise InputError(f"expected k of 1 or more, found {min(limits)}")
    allowed = {
        row: catalogue.known_item_rows(candidates)
        for row, number in enumerate(numbers)
        if (candidates := wanted[number].candidates) is not None
    }
    best, regions = best_items(loaded.view, windows, max(limits), exclude_seen, allowed)
    made = {}
    for row, number in enumerate(numbers):
        ranked = best.rows[row, : limits[row]]
        rows = ranked[ranked > 0].tolist()
        made[number] = Answer(
            items=tuple(catalogue.item_ids(rows)),
            titles=tuple(catalogue.title_of(item) for item in rows),
            scores=tuple(best.scores[row, : limits[row]][ranked > 0].tolist()),
            region=None if regions[row] == NOWHERE else int(regions[row]),
            ignored=ignored[number],
            snapshot=loaded.id,
        )
    return made


def _known(view: ModelView, number: int, query: Query) -> tuple[list[int], list[int] | None]:
    """Rows of the items that the snapshot knows, in the history's order, and their times."""
    if query.times is not None and len(query.times) != len(query.items):
        raise InputError(
            f"expected one time for each item of history {number}, found {len(query.times)} of {len(query.items)}; give "
            "all or none"
        )
    rows = [view.catalogue.item_row(item) for item in query.items]
    known = [row for row in rows if row is not None]
    if query.times is not None:
        return known, [int(time) for row, time in zip(rows, query.times, strict=True) if row is not None]
    if known and reads_times(view):
        raise InputError(
            f"expected times of the items of history {number}, which the backbone reads, found none; give one for each"
        )
    return known, None
