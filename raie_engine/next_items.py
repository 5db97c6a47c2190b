"""The best next items after windows: the one way to them, whether a command, a batch or a server asks.

Legend: n windows, k best items.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from raie.engine.data.windows import Windows
from raie.engine.errors import InputError
from raie.engine.model import ModelView
from raie.engine.router import TopItems

__all__ = ["NOWHERE", "best_items", "require_popular"]

NOWHERE = -1
"""The region of a history of which the model knows no item: it gets what is popular."""


def best_items(
    view: ModelView,
    windows: Windows,
    k: int,
    exclude_seen: bool | None = None,
    allowed: Mapping[int, np.ndarray] | None = None,
) -> tuple[TopItems, np.ndarray]:
    """The best next items after windows, and their regions.

    Args:
        view: the snapshot.
        windows: n of them; a context may be empty.
        k: how many items.
        exclude_seen: as of `Router.scores`.
        allowed: number of a window -> the item rows that alone may come; no number for all.

    Returns:
        Rows and scores [n, k], best first; regions int32 [n], NOWHERE for an empty context.

    Raises:
        InputError: for a k below 1, or an empty context where the snapshot has no mixture, which would know what is
            popular.
    """
    if k < 1:
        raise InputError(f"expected k of 1 or more, found {k}")
    require_popular(view, windows)
    regions, empty = view.router.assign(windows), windows.length == 0
    best = view.router.top_k(windows, k, regions=regions, exclude_seen=exclude_seen, allowed=allowed)
    return best, np.where(empty, NOWHERE, regions).astype(np.int32)


def require_popular(view: ModelView, windows: Windows) -> None:
    """Checks that there is something to recommend after each window.

    Args:
        view: the snapshot.
        windows: n of them; a context may be empty.

    Raises:
        InputError: for an empty context where the snapshot has no mixture, which would know what is popular.
    """
    empty = windows.length == 0
    if empty.any() and not view.router.mixtures:
        raise InputError(
            f"expected at least one item the model knows in history {int(np.argmax(empty))}, found none; snapshots that "
            "are set up today recommend what is popular then"
        )
