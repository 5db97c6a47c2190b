"""A block of histories becomes rows: one per user and rank, as columns and never one by one.

Legend: n users, k items per user.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from raie.batch.block import Block
from raie.engine.data.catalogue import Catalogue
from raie.engine.edit.named_blobs import scoring_view
from raie.engine.model import ModelView
from raie.engine.next_items import NOWHERE, best_items

__all__ = ["Answers", "answer_schema"]


def answer_schema(*, titled: bool) -> pa.Schema:
    """The columns of a batch's rows; titled: whether the snapshot knows titles."""
    columns = [
        pa.field("user", pa.string(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),
        pa.field("item", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("region", pa.int32()),
        pa.field("ignored", pa.int32(), nullable=False),
        pa.field("cold", pa.bool_(), nullable=False),
        *([pa.field("title", pa.string())] if titled else []),
    ]
    return pa.schema(columns)


@dataclass(frozen=True, eq=False)
class Answers:
    """What a snapshot answers.

    Attributes:
        view: The snapshot.
        k: Items per user.
        exclude_seen: As of `best_items`.
    """

    view: ModelView
    k: int
    exclude_seen: bool | None

    def of(self, block: Block) -> pa.Table:
        """The rows of a block, user by user, the best item first.

        A snapshot without a mixture, as they were made once, knows nothing for a cold user, who then has no row.

        Raises:
            InputError: The backbone reads times, and the histories have none.
        """
        asked = np.ones(len(block), bool) if self.view.mixtures else ~block.cold
        windows = block.windows(self.view.settings.engine.windows.length).take(np.flatnonzero(asked))
        if not len(windows):
            return self.schema.empty_table()
        best, regions = best_items(self.view, windows, self.k, self.exclude_seen)
        slot, index = np.nonzero(best.rows > 0)  # [n, k] -> rows
        user, item = np.flatnonzero(asked)[slot], best.rows[slot, index]
        region = regions[slot]
        columns = {
            "user": block.users.take(pa.array(user)),
            "rank": pa.array((index + 1).astype(np.int32)),
            "item": self._items.take(pa.array(item - 1)),
            "score": pa.array(best.scores[slot, index]),
            "region": pa.array(region, pa.int32(), mask=region == NOWHERE),
            "ignored": pa.array(block.ignored[user]),
            "cold": pa.array(block.cold[user]),
        }
        if self.titles is not None:
            columns["title"] = self.titles.take(pa.array(item - 1))
        return pa.table([columns[name] for name in self.schema.names], self.schema)

    def to_travel(self) -> Answers:
        """The same with no more of the snapshot than answers read."""
        return replace(self, view=scoring_view(self.view))

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns of the rows."""
        return answer_schema(titled=self.titles is not None)

    @cached_property
    def titles(self) -> Any:
        """The title of every item, missing where there is none; None for a snapshot without titles."""
        catalogue: Catalogue = self.view.catalogue
        if not catalogue.titles:
            return None
        none = len(catalogue.items) - len(catalogue.titles)
        return pa.array([title or None for title in catalogue.titles] + [None] * none, pa.string())

    @cached_property
    def _items(self) -> Any:
        return pa.array(self.view.catalogue.items, pa.string())
