"""The best next items of each history, as values and as a DataFrame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raie.engine.answers import LoadedSnapshot, Wanted, answers_after
from raie.engine.model import ModelView
from raie.engine.next_items import require_popular
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
    windows, ids = histories.windows, view.catalogue.item_ids
    require_popular(view, windows)
    wanted = [Wanted(k, exclude_seen)] * len(windows)
    made = answers_after(LoadedSnapshot("", view), windows, histories.ignored, wanted)
    return tuple(
        Recommendation(
            user=user,
            region=answer.region,
            ignored=answer.ignored,
            context=tuple(ids(windows.items[number][windows.items[number] > 0].tolist())),
            items=tuple(map(ScoredItem, answer.items, answer.scores, answer.titles)),
        )
        for number, (user, answer) in enumerate(zip(histories.users, made, strict=True))
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
