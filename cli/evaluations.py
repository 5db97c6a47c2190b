"""What `raie evaluate` and `recommend` compute: a snapshot's router on windows of a log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cli.errors import UsageError
from cli.workflows import open_view, plain, read_new
from raie_engine.editing import PreparedEdit
from raie_engine.errors import InputError
from raie_engine.evaluation import Difference, mean_metrics, paired_difference, ranks
from raie_engine.gating import Action
from raie_engine.impact import knowing_rows_of
from raie_engine.interactions import Interactions, between, cut_time
from raie_engine.model_view import ModelView
from raie_engine.region_training import adapter_scores
from raie_engine.strategies import STRATEGIES, Score, lesson_of
from raie_engine.synthetic import Truth
from raie_engine.windows import Windows, cut_windows
from registry import Digest, Registry, Snapshot

__all__ = ["Measured", "agreement", "measured", "recommended"]


@dataclass(frozen=True)
class Measured:
    """Metrics by model name, on new and on held-out set-up windows; change: of Recall@10 against never edited."""

    snapshot: str
    new_windows: int
    setup_windows: int
    models: dict[str, dict[str, dict[str, float]]]
    change: Difference

    def to_mapping(self) -> dict[str, Any]:
        """Plain values with stable keys; null where no window was there to measure."""
        values: dict[str, Any] = plain(asdict(self))
        return values


def measured(
    registry: Registry,
    model: str,
    log: Path,
    ref: str,
    against: str | None,
    until: str | None,
    *,
    strategies: bool,
) -> Measured:
    """The snapshot, the backbone never edited, and what else was asked for, on the same windows.

    Raises: InputError when the log holds no window after the snapshot's watermark.
    """
    snapshot = registry.resolve(model, ref)
    view = open_view(registry, snapshot)
    interactions = read_new(view, log)
    end = None if until is None else cut_time(interactions, until)
    mark, config = view.watermark.timestamp, view.settings.engine.windows
    new = _readable(cut_windows(between(interactions, None, end), config, after=mark), view)
    if not len(new):
        raise InputError(
            f"expected windows of {log} after the snapshot's watermark {mark}, found none: "
            "give a longer log, or an older snapshot with --ref"
        )
    scores = _models(registry, model, snapshot, view, against)
    if strategies:
        scores |= _peers(registry, model, snapshot, interactions)
    found = {name: (ranks(score, new), ranks(score, view.holdout)) for name, score in scores.items()}
    models = {
        name: {"new": mean_metrics(on_new), "set-up": mean_metrics(on_setup)}
        for name, (on_new, on_setup) in found.items()
    }
    change = paired_difference(found["never edited"][0], found[snapshot.id[:12]][0], new.user)
    return Measured(snapshot.id, len(new), len(view.holdout), models, change)


def _readable(windows: Windows, view: ModelView) -> Windows:
    return windows.without_items_above(len(view.backbone.item_table()) - 1)


def _models(
    registry: Registry, model: str, snapshot: Snapshot, view: ModelView, against: str | None
) -> dict[str, Score]:
    scores: dict[str, Score] = {"never edited": adapter_scores(view.backbone, None)}
    scores[snapshot.id[:12]] = view.router.scores
    if against is not None:
        other = registry.resolve(model, against)
        scores[other.id[:12]] = knowing_rows_of(open_view(registry, other).router, view.router).scores
    return scores


def _peers(registry: Registry, model: str, snapshot: Snapshot, interactions: Interactions) -> dict[str, Score]:
    """One adapter for all windows of the snapshot's edit, with and without replay."""
    edit = registry.edit(model, snapshot.edit)
    if edit.kind != "edit" or edit.base is None:
        raise UsageError(
            f"expected a snapshot that an edit made, found one of kind {edit.kind}: name it with --ref"
        )
    base = open_view(registry, registry.resolve(model, edit.base))
    prepared = PreparedEdit.from_bytes(registry.get(Digest(str(edit.plan_digest))))
    lesson = lesson_of(base, prepared, interactions)
    peers = {"global LoRA": STRATEGIES["global-lora"], "global LoRA + replay": STRATEGIES["replay"]}
    return {name: peer.score(peer.learn({}, lesson).state, lesson) for name, peer in peers.items()}


def recommended(
    registry: Registry,
    model: str,
    ref: str,
    *,
    log: Path | None,
    users: Sequence[str],
    items: Sequence[str] | None,
    count: int,
    exclude_seen: bool,
) -> list[dict[str, Any]]:
    """The best items after each user's last items of the log, or after the given ones.

    Raises: UnknownItem, InputError for ids no log has held.
    """
    view = open_view(registry, registry.resolve(model, ref))
    length = view.settings.engine.windows.length
    if log is None:
        contexts = [view.catalogue.item_rows(list(items or ()))[-length:]]
    else:
        interactions = read_new(view, log)
        contexts = [_last(interactions, user, length) for user in interactions.catalogue.user_rows(users)]
    rows = np.zeros((len(contexts), length), np.int32)
    for number, context in enumerate(contexts):
        rows[number, : len(context)] = context
    nothing = np.zeros(len(rows), np.int32)
    windows = _readable(Windows(rows, nothing, nothing, nothing.astype(np.int64)), view)
    best = view.router.top_k(windows, count, exclude_seen=exclude_seen)
    regions = view.router.assign(windows.items)
    return [
        {
            "user": users[number] if log is not None else None,
            "region": int(regions[number]),
            "context": view.catalogue.item_ids(windows.items[number][windows.items[number] > 0].tolist()),
            "items": [
                {"item": item, "score": float(score)}
                for item, score in zip(
                    view.catalogue.item_ids(best.rows[number][best.rows[number] > 0].tolist()),
                    best.scores[number],
                    strict=False,
                )
            ],
        }
        for number in range(len(rows))
    ]


def _last(interactions: Interactions, user: int, length: int) -> np.ndarray:
    return np.asarray(interactions.item[interactions.user == user][-length:])


def agreement(registry: Registry, model: str, number: int, truth: Truth) -> float:
    """The share of an edit's windows for which the gate decided what the synthetic log's truth says."""
    edit = registry.edit(model, number)
    view = open_view(registry, registry.resolve(model, str(edit.result)))
    prepared = PreparedEdit.from_bytes(registry.get(Digest(str(edit.plan_digest))))
    meant = truth.labels(prepared.windows, view.catalogue)
    names = np.array([action.name.lower() for action in Action])
    return float((meant == names[prepared.plan.decided_action]).mean())
