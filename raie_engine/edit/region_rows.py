"""The rows of a log and the region of each: where its user's history before it lies.

Legend: n rows that have a history, d dimensions, v item rows (row 0 is padding).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from raie.engine.arrays import earlier_rows, stable_order
from raie.engine.config import EngineConfig
from raie.engine.data.interactions import Interactions
from raie.engine.mixture.region_counts import NEAR, RegionRows
from raie.engine.regions.any_space import Space
from raie.engine.regions.item_space import REACH, ItemSpace
from raie.engine.regions.region_map import RegionMap, assign

__all__ = ["RouteRows", "route_rows"]

RouteRows = Callable[[Interactions, int | None], RegionRows]
"""Rows of a log later than a time (epoch seconds; None for all), each with its region."""
_ROWS_AT_A_TIME = 1 << 15


def route_rows(space: Space, region_map: RegionMap, config: EngineConfig, items: int) -> RouteRows | None:
    """How the rows of a log find their regions.

    Args:
        space: the routing space.
        region_map: whose regions count.
        config: the options.
        items: the last item row that is counted.

    Returns:
        A function of a log in time order; None where regions do not count by themselves.
    """
    if not isinstance(space, ItemSpace) or not config.counts_by_region:
        return None
    reach = min(REACH, config.windows.length)

    def route(interactions: Interactions, after: int | None) -> RegionRows:
        order = stable_order(interactions.user)
        user, item = interactions.user[order], interactions.item[order]
        earlier = earlier_rows(user, max(reach, NEAR.context))
        new = earlier > 0 if after is None else (earlier > 0) & (interactions.timestamp[order] > after)
        rows = np.flatnonzero(new & (item <= items))
        region, before = np.zeros(len(rows), np.int32), np.zeros((len(rows), NEAR.context), np.int32)
        for start in range(0, len(rows), _ROWS_AT_A_TIME):
            part = slice(start, start + _ROWS_AT_A_TIME)
            here = rows[part]
            region[part] = assign(region_map, space.of_items(_backwards(item, earlier, here, reach), len(here)))
            for back, previous in enumerate(_backwards(item, earlier, here, NEAR.context)):
                before[part, back] = np.where(previous <= items, previous, 0)
        return RegionRows(region, item[rows], before, len(order) - 1 - order[rows])

    return route


def _backwards(
    item: NDArray[np.int32], earlier: NDArray[np.uint8], rows: NDArray[np.intp], reach: int
) -> Iterator[NDArray[np.int32]]:
    """The items before each of these rows, the newest first, [n] each; 0 where there are no more."""
    for back in range(reach):
        yield np.where(earlier[rows] > back, item[np.maximum(rows - 1 - back, 0)], 0)
