"""An MLflow pyfunc around the answers of a snapshot: a history of items comes in, the best next items go out.

The model that MLflow keeps is code and digests (models from code); what opens the snapshot is handed in, so the engine
knows no registry. Which snapshot answers may change while the model is loaded, where it follows an alias.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

from raie.engine.answers import Answer, LoadedSnapshot, Query, Wanted, answers
from raie.engine.errors import InputError
from raie.engine.next_items import NOWHERE

__all__ = ["SnapshotModel", "Source", "recommend"]


class Source(Protocol):
    """Where the snapshot that answers comes from."""

    @property
    def current(self) -> LoadedSnapshot:
        """The snapshot to answer with now; a request asks once, and answers with that one alone."""


class SnapshotModel(PythonModel):  # type: ignore[misc]
    """One model as MLflow serves it.

    open_described: from the snapshot's description (its model, id and digests) and the options that MLflow was given for
    the model to where its snapshot comes from; it verifies every blob.
    Input: a column `items` of histories of item ids, oldest first, and a column `times` of their epoch seconds for a
    backbone that reads times. Params: k, exclude_seen.
    """

    def __init__(self, open_described: Callable[[Mapping[str, Any], Mapping[str, Any]], Source]) -> None:
        self._open = open_described
        self._source: Source | None = None

    def load_context(self, context: PythonModelContext) -> None:
        """Loads the whole snapshot, so that a missing or damaged blob stops the server's start and no request.

        Args:
            context: of MLflow, with the artifact "snapshot", and "alias" in its model_config to follow an alias.
        """
        described = json.loads(Path(context.artifacts["snapshot"]).read_text(encoding="utf-8"))
        self._source = self._open(described, context.model_config or {})

    def predict(self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """One row per history: items and scores best first, region, and how many items it ignored as unknown.

        Args:
            model_input: a column `items` of histories, and `times` for a backbone that reads times.
            params: "k" and "exclude_seen".

        Returns:
            Columns items, scores, region, ignored, snapshot and cold.

        Raises:
            InputError: as `recommend` does.
        """
        if self._source is None:
            raise InputError("expected a loaded model, found none: call load_context first")
        wanted = {"k": 10, "exclude_seen": None} | dict(params or {})
        histories = [_ids(history) for history in model_input["items"]]
        times = [list(moments) for moments in model_input["times"]] if "times" in model_input else None
        return recommend(self._source.current, histories, int(wanted["k"]), wanted["exclude_seen"], times)


def recommend(
    loaded: LoadedSnapshot,
    histories: Sequence[Sequence[str]],
    k: int,
    exclude_seen: bool | None = None,
    times: Sequence[Sequence[int]] | None = None,
) -> pd.DataFrame:
    """The best next items of each history.

    Args:
        loaded: the snapshot.
        histories: external item ids, oldest first.
        k: how many items.
        exclude_seen: as of `Router.scores`.
        times: epoch seconds of the items; None where there are none.

    Returns:
        Columns items, scores, region, ignored, snapshot and cold, one row per history; region is NOWHERE where the model
        knows no item.

    Raises:
        InputError: as `answers`.
    """
    wanted = Wanted(k, exclude_seen)
    moments = [None] * len(histories) if times is None else [tuple(map(int, of_one)) for of_one in times]
    queries = [Query(tuple(history), when, wanted) for history, when in zip(histories, moments, strict=True)]
    columns = ["items", "scores", "region", "ignored", "snapshot", "cold"]
    return pd.DataFrame([_row(answer) for answer in answers(loaded, queries)], columns=columns)


def _ids(history: Any) -> list[str]:
    """Item ids as text; what a table holds in place of a history is an empty one."""
    empty = history is None or isinstance(history, float)
    return [] if empty else [str(item) for item in history]


def _row(answer: Answer) -> dict[str, Any]:
    return {
        "items": list(answer.items),
        "scores": list(answer.scores),
        "region": NOWHERE if answer.region is None else answer.region,
        "ignored": answer.ignored,
        "snapshot": answer.snapshot,
        "cold": answer.cold,
    }
