"""An MLflow pyfunc around the Router: a history of items comes in, the best next items go out.

The model that MLflow keeps is code and digests (models from code); what opens the snapshot they name is handed in,
so the engine knows no registry.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from mlflow.pyfunc import PythonModel, PythonModelContext

from raie_engine.catalogue import PAD, Catalogue
from raie_engine.errors import InputError
from raie_engine.model_view import ModelView
from raie_engine.windows import Windows

__all__ = ["SnapshotModel", "recommend"]


class SnapshotModel(PythonModel):  # type: ignore[misc]
    """One snapshot as MLflow serves it.

    open_described: from the snapshot's description (its id and digests) to the snapshot; it verifies every blob.
    Input: a column `items` of histories of item ids, oldest first. Params: k, exclude_seen.
    """

    def __init__(self, open_described: Callable[[Mapping[str, Any]], ModelView]) -> None:
        self._open = open_described
        self._view: ModelView | None = None

    def load_context(self, context: PythonModelContext) -> None:
        """Loads the whole snapshot, so that a missing or damaged blob stops the server's start and no request."""
        described = json.loads(Path(context.artifacts["snapshot"]).read_text(encoding="utf-8"))
        view = self._open(described)
        _ = view.router, view.catalogue, view.settings
        self._view = view

    def predict(self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """One row per history: items and scores best first, region, and how many items it ignored as unknown.

        Raises: InputError for a history without any known item.
        """
        if self._view is None:
            raise InputError("expected a loaded model, found none: call load_context first")
        wanted = {"k": 10, "exclude_seen": True} | dict(params or {})
        histories = [[str(item) for item in history] for history in model_input["items"]]
        return recommend(self._view, histories, int(wanted["k"]), bool(wanted["exclude_seen"]))


def recommend(view: ModelView, histories: Sequence[Sequence[str]], k: int, exclude_seen: bool) -> pd.DataFrame:
    """The k best next items of each history of external item ids, oldest first.

    Raises: InputError for a k below 1 or a history without any known item.
    """
    if k < 1:
        raise InputError(f"expected k of 1 or more, found {k}")
    known = _known(view.catalogue, histories)
    for number, rows in enumerate(known):
        if not rows:
            raise InputError(f"expected at least one item the model knows in history {number}, found none")
    windows = _last_windows(known, view.settings.engine.windows.length)
    regions = view.router.assign(windows)
    # The router leaves out what the context holds; older items are left out here, so as many more are asked for.
    more = max((len(rows) for rows in known), default=0) if exclude_seen else 0
    top = view.router.top_k(windows, k + more, exclude_seen=exclude_seen)
    answers = []
    for number, rows in enumerate(known):
        seen = {PAD, *rows} if exclude_seen else {PAD}
        best = [place for place, row in enumerate(top.rows[number]) if row not in seen][:k]
        answers.append(
            {
                "items": view.catalogue.item_ids(int(row) for row in top.rows[number, best]),
                "scores": [float(score) for score in top.scores[number, best]],
                "region": int(regions[number]),
                "ignored": len(histories[number]) - len(rows),
            }
        )
    return pd.DataFrame(answers, columns=["items", "scores", "region", "ignored"])


def _known(catalogue: Catalogue, histories: Sequence[Sequence[str]]) -> list[list[int]]:
    """Per history the rows of the items that are in the catalogue, in the history's order."""
    items = set(catalogue.items)
    return [catalogue.item_rows([item for item in history if item in items]).tolist() for history in histories]


def _last_windows(histories: Sequence[Sequence[int]], length: int) -> Windows:
    """The last `length` items of each history as a context; there is no target."""
    items = np.full((len(histories), length), PAD, np.int32)
    for number, rows in enumerate(histories):
        last = rows[-length:]
        items[number, : len(last)] = last
    nothing = np.zeros(len(histories), np.int32)
    return Windows(items, nothing, nothing, nothing.astype(np.int64))
