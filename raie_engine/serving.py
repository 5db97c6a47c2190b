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
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

from raie.engine.data.catalogue import PAD, Catalogue
from raie.engine.data.windows import last_windows
from raie.engine.errors import InputError
from raie.engine.model import ModelView
from raie.engine.next_items import best_items

__all__ = ["SnapshotModel", "recommend"]


class SnapshotModel(PythonModel):  # type: ignore[misc]
    """One snapshot as MLflow serves it.

    open_described: from the snapshot's description (its id and digests) to the snapshot; it verifies every blob.
    Input: a column `items` of histories of item ids, oldest first, and a column `times` of their epoch seconds for a
    backbone that reads times. Params: k, exclude_seen.
    """

    def __init__(self, open_described: Callable[[Mapping[str, Any]], ModelView]) -> None:
        self._open = open_described
        self._view: ModelView | None = None

    def load_context(self, context: PythonModelContext) -> None:
        """Loads the whole snapshot, so that a missing or damaged blob stops the server's start and no request.

        Args:
            context: of MLflow, with the artifact "snapshot".
        """
        described = json.loads(Path(context.artifacts["snapshot"]).read_text(encoding="utf-8"))
        view = self._open(described)
        _ = view.router, view.catalogue, view.settings
        self._view = view

    def predict(self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """One row per history: items and scores best first, region, and how many items it ignored as unknown.

        Args:
            model_input: a column `items` of histories, and `times` for a backbone that reads times.
            params: "k" and "exclude_seen".

        Returns:
            Columns items, scores, region and ignored.

        Raises:
            InputError: as `recommend` does.
        """
        if self._view is None:
            raise InputError("expected a loaded model, found none: call load_context first")
        wanted = {"k": 10, "exclude_seen": None} | dict(params or {})
        histories = [[str(item) for item in history] for history in model_input["items"]]
        times = [list(moments) for moments in model_input["times"]] if "times" in model_input else None
        return recommend(self._view, histories, int(wanted["k"]), wanted["exclude_seen"], times)


def recommend(
    view: ModelView,
    histories: Sequence[Sequence[str]],
    k: int,
    exclude_seen: bool | None = None,
    times: Sequence[Sequence[int]] | None = None,
) -> pd.DataFrame:
    """The best next items of each history.

    Args:
        view: the snapshot.
        histories: external item ids, oldest first.
        k: how many items.
        exclude_seen: as of `Router.scores`.
        times: epoch seconds of the items; None where there are none.

    Returns:
        Columns items, scores, region and ignored, one row per history; region is NOWHERE where the model knows no item.

    Raises:
        InputError: as `best_items`, and for times that are not one for each item or are missing for a backbone that reads
            them.
    """
    known, when = _known(view.catalogue, histories, times)
    windows = last_windows(known, view.settings.engine.windows.length, when)
    top, regions = best_items(view, windows, k, exclude_seen)
    answers = []
    for number, rows in enumerate(known):
        best = np.flatnonzero(top.rows[number] != PAD)
        answers.append(
            {
                "items": view.catalogue.item_ids(int(row) for row in top.rows[number, best]),
                "scores": [float(score) for score in top.scores[number, best]],
                "region": int(regions[number]),
                "ignored": len(histories[number]) - len(rows),
            }
        )
    return pd.DataFrame(answers, columns=["items", "scores", "region", "ignored"])


def _known(
    catalogue: Catalogue, histories: Sequence[Sequence[str]], times: Sequence[Sequence[int]] | None
) -> tuple[list[list[int]], list[list[int]] | None]:
    """Per history the rows of the items that are in the catalogue, in the history's order, and their times."""
    items = set(catalogue.items)
    rows = [catalogue.item_rows([item for item in history if item in items]).tolist() for history in histories]
    if times is None:
        return rows, None
    if [len(moments) for moments in times] != [len(history) for history in histories]:
        raise InputError(
            "expected one time for each item of each history, found more or fewer; give both or no times"
        )
    pairs = [zip(history, when, strict=True) for history, when in zip(histories, times, strict=True)]
    return rows, [[int(time) for item, time in moments if item in items] for moments in pairs]
