"""The best next items of each history, as values and as a DataFrame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raie.engine.model import ModelView
from raie.engine.next_items import NOWHERE, best_items
from raie.logs.histories import Histories

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Recommendation", "ScoredItem", "frame_of", "recommend"]


@dataclass(frozen=True)
class ScoredItem:
    """One recommended item; title: "" where the model knows none."""

    item: str
    score: float
    title: str = ""


@dataclass(frozen=True)
class Recommendation:
    """What one user gets.

    Attributes:
        user: The external id; None for a history of nobody in particular.
        region: The preference region whose adapter scored the items; None for a user of whom the model knows nothing, who
            gets what is popular.
        ignored: How many items of the history the snapshot does not know.
        context: The items that the recommendation goes by, the oldest first.
        items: The best items, the best first.
    """

    user: str | None
    region: int | None
    ignored: int
    context: tuple[str, ...]
    items: tuple[ScoredItem, ...]


def recommend(
    view: ModelView, histories: Histories, k: int, *, exclude_seen: bool | None = None
) -> tuple[Recommendation, ...]:
    """The k best items after each history.

    Args:
        view: The snapshot.
        histories: The contexts.
        k: Items per user, 1 or more.
        exclude_seen: True leaves out what a user had before, False makes no difference of it, None does what the region
            has learned of repeats.

    Raises:
        InputError: k is below 1, or a context has no times and the backbone reads times.
    """
    windows, ids, titles = histories.windows, view.catalogue.item_ids, view.catalogue.titles
    best, regions = best_items(view, windows, k, exclude_seen)

    def scored(row: int, score: float) -> ScoredItem:
        return ScoredItem(ids([row])[0], float(score), titles[row - 1] if row <= len(titles) else "")

    return tuple(
        Recommendation(
            user=user,
            region=None if regions[number] == NOWHERE else int(regions[number]),
            ignored=histories.ignored[number],
            context=tuple(ids(windows.items[number][windows.items[number] > 0].tolist())),
            items=tuple(
                scored(row, score)
                for row, score in zip(best.rows[number].tolist(), best.scores[number], strict=True)
                if row > 0
            ),
        )
        for number, user in enumerate(histories.users)
    )


def frame_of(recommendations: Sequence[Recommendation]) -> DataFrame:
    """One row per recommended item: user, rank (from 1), item, score, region, and title where an item has one.

    A region that is None is missing, and the others stay whole numbers.
    """
    import pandas

    rows = [
        (answer.user, rank, best.item, best.score, answer.region, best.title)
        for answer in recommendations
        for rank, best in enumerate(answer.items, start=1)
    ]
    frame = pandas.DataFrame(rows, columns=["user", "rank", "item", "score", "region", "title"])
    if frame["region"].isna().any():
        frame["region"] = frame["region"].astype("Int64")
    return frame if frame["title"].any() else frame.drop(columns="title")
