"""What `raie evaluate` and `recommend` compute: a snapshot's router on windows of a log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from raie.edits import open_view, plain
from raie.engine.data.interactions import Interactions, between, end_time
from raie.engine.data.synthetic_truth import Truth
from raie.engine.data.windows import Windows, cut_windows, last_windows
from raie.engine.edit.impact import compared_ranks, knowing_rows_of
from raie.engine.edit.pipeline import PreparedEdit
from raie.engine.errors import InputError
from raie.engine.evaluation.metrics import Difference, mean_metrics, paired_difference, ranks
from raie.engine.model import ModelView
from raie.engine.regions.gate import Action
from raie.engine.strategies import Score, State, TaskData, task_data_of
from raie.engine.strategies.global_adapter import GLOBAL_LORA, REPLAY
from raie.engine.training.train_adapter import adapter_scores
from raie.errors import UsageError
from raie.known_ids import doubt_line, known_ids
from raie.later_log import read_new, told
from raie.registry import Digest, Edit, Registry, Snapshot
from raie.registry.edits.merge import changed_regions

__all__ = ["Measured", "agreement", "measured", "recommended"]


@dataclass(frozen=True)
class Measured:
    """Metrics by model name, on new and on held-out set-up windows; change: of Recall@10 against never edited.

    against: the id of the other snapshot.  comparison: the snapshot compared with that one, as an impact report tells it.
    known: what the snapshot knows of the users and items of the new rows.  notes: on how the log was read.
    """

    snapshot: str
    new_windows: int
    setup_windows: int
    models: dict[str, dict[str, dict[str, float]]]
    change: Difference
    against: str | None = None
    comparison: dict[str, Any] | None = None
    known: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()

    def to_mapping(self) -> dict[str, Any]:
        """Plain values with stable keys; null where no window was there to measure."""
        values: dict[str, Any] = plain(asdict(self))
        del values["notes"]  # for a person, on stderr
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
    backbone_file: Path | None = None,
    reading: Mapping[str, Any] | None = None,
) -> Measured:
    """The snapshot, the backbone never edited, and what else was asked for, on the same windows.

    Raises: InputError when the log holds no window after the snapshot's watermark.
    """
    snapshot = registry.resolve(model, ref)
    view = open_view(registry, snapshot, backbone_file)
    interactions = read_new(view, log, reading)
    end = end_time(interactions, until)
    known = known_ids(registry, model, snapshot, view, interactions, end)
    mark, config = view.watermark.timestamp, view.settings.engine.windows
    new = _readable(cut_windows(between(interactions, None, end), config, after=mark), view)
    if not len(new):
        raise InputError(
            f"expected windows of {log} after the snapshot's watermark {mark}, found none: "
            "give a longer log, or an older snapshot with --ref"
        )
    other = None if against is None else registry.resolve(model, against)
    scores = _models(registry, snapshot, view, other)
    if strategies:
        scores |= _peers(registry, model, snapshot, interactions, view.backbone_file)
    found = {name: (ranks(score, new), ranks(score, view.holdout)) for name, score in scores.items()}
    models = {
        name: {"new": mean_metrics(on_new), "set-up": mean_metrics(on_setup)}
        for name, (on_new, on_setup) in found.items()
    }
    change = paired_difference(found["never edited"][0], found[snapshot.id[:12]][0], new.user)
    measured = Measured(snapshot.id, len(new), len(view.holdout), models, change)
    notes = (*told(interactions), *doubt_line(known))
    measured = replace(measured, known=known.to_mapping(), notes=notes)
    if other is None:
        return measured
    before, after = (found[each.id[:12]] for each in (other, snapshot))
    comparison = {
        "log": interactions.digest,
        "adaptation": compared_ranks(before[0], after[0], new).to_mapping(),
        "adaptation_known": _of_known(
            open_view(registry, other, view.backbone_file), view, before[0], after[0], new
        ),
        "retention": compared_ranks(before[1], after[1], view.holdout).to_mapping(),
        "untouched": sorted(other.content.regions.keys() - changed_regions(other.content, snapshot.content)),
    }
    return replace(measured, against=other.id, comparison=plain(comparison))


def _of_known(
    other: ModelView, view: ModelView, before: np.ndarray, after: np.ndarray, new: Windows
) -> dict[str, Any]:
    """The comparison on the new windows whose target the other snapshot knows too; it can recommend no other."""
    theirs = set(other.catalogue.items)
    known = np.array([False, *(item in theirs for item in view.catalogue.items)])[new.target]
    return compared_ranks(before[known], after[known], new.take(known)).to_mapping()


def _readable(windows: Windows, view: ModelView) -> Windows:
    """The windows, with items that the snapshot has never met passed over; as a target such an item is a miss."""
    return windows.without_items_above(len(view.backbone.item_table()) - 1)


def _models(registry: Registry, snapshot: Snapshot, view: ModelView, other: Snapshot | None) -> dict[str, Score]:
    scores: dict[str, Score] = {"never edited": adapter_scores(view.backbone, None)}
    scores[snapshot.id[:12]] = view.router.scores
    if other is not None and other.id != snapshot.id:
        scores[other.id[:12]] = knowing_rows_of(
            open_view(registry, other, view.backbone_file).router, view.router
        ).scores
    return scores


def _peers(
    registry: Registry, model: str, snapshot: Snapshot, interactions: Interactions, backbone_file: Path | None
) -> dict[str, Score]:
    """One adapter for the windows of every edit since the set-up, with and without replay."""
    lessons = list(_lessons(registry, model, snapshot, interactions, backbone_file))
    if not lessons:
        raise UsageError(
            "expected --ref to name a snapshot that edits have trained, found one without such an edit"
        )
    scores = {}
    for name, peer in (("global LoRA", GLOBAL_LORA), ("global LoRA + replay", REPLAY)):
        state: State = {}
        for task_data in lessons:
            state = peer.learn(state, task_data).state
        scores[name] = peer.score(state, lessons[-1])
    return scores


def _lessons(
    registry: Registry, model: str, snapshot: Snapshot, interactions: Interactions, backbone_file: Path | None
) -> Iterator[TaskData]:
    """What each edit between the set-up and the snapshot trained on, oldest first; nothing for the others."""
    for number, edit in enumerate(_edits(registry, model, snapshot), start=1):
        base = open_view(registry, registry.resolve(model, str(edit.base)), backbone_file)
        prepared = PreparedEdit.from_bytes(registry.get(Digest(str(edit.plan_digest))))
        if prepared.plan.touched:
            yield task_data_of(base, prepared, interactions, number)


def _edits(registry: Registry, model: str, snapshot: Snapshot) -> list[Edit]:
    """The edits between the set-up and the snapshot, oldest first."""
    found: list[Edit] = []
    while (edit := registry.edit(model, snapshot.edit)).kind == "edit":
        found.append(edit)
        snapshot = registry.resolve(model, str(snapshot.parent))
    if edit.kind != "setup":
        raise UsageError(
            "expected --ref to name a snapshot with nothing but edits since its set-up, which others can learn from "
            f"too, found edit {edit.number}, a {edit.kind}"
        )
    return found[::-1]


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
    backbone_file: Path | None = None,
    reading: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """The best items after each user's last items of the log that the snapshot knows, or after the given ones.

    ignored: how many items of the user in the log the snapshot does not know, as a served model tells it.

    Raises: UnknownItem for given items no log has held; InputError for users without a row in the log or without an item
    that the snapshot knows, all of them at once, and for items without times where the backbone reads times.
    """
    view = open_view(registry, registry.resolve(model, ref), backbone_file)
    length = view.settings.engine.windows.length
    if log is None:
        windows, ignored = last_windows([view.catalogue.item_rows(list(items or ()))], length), [0]
    else:
        windows, ignored = _last_known(view, read_new(view, log, reading), users, log)
    best = view.router.top_k(windows, count, exclude_seen=exclude_seen)
    regions = view.router.assign(windows)
    return [
        {
            "user": users[number] if log is not None else None,
            "region": int(regions[number]),
            "ignored": ignored[number],
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
        for number in range(len(windows))
    ]


def _last_known(
    view: ModelView, interactions: Interactions, users: Sequence[str], log: Path
) -> tuple[Windows, list[int]]:
    """The last known items of each user of the log, and how many unknown ones were left out."""
    there = {interactions.catalogue.users[row] for row in np.unique(interactions.user)}
    if absent := [user for user in users if user not in there]:
        least = view.settings.log.min_rating
        rated = "" if least is None else f" rated {least:g} or more"
        raise InputError(
            f"expected every --user to have a row{rated} in {log}, found none of {_named(absent)}: check the ids, which "
            "are compared as text, or give a log that holds them"
        )
    theirs = [np.flatnonzero(interactions.user == user) for user in interactions.catalogue.user_rows(users)]
    limit = len(view.backbone.item_table())
    known = [rows[interactions.item[rows] < limit] for rows in theirs]
    if strange := [user for user, rows in zip(users, known, strict=True) if not len(rows)]:
        raise InputError(
            f"expected every --user to have an item in {log} that the snapshot knows, found none of {_named(strange)}: "
            "an edit on a log that holds these items learns them"
        )
    windows = last_windows(
        [interactions.item[rows] for rows in known],
        view.settings.engine.windows.length,
        [interactions.timestamp[rows] for rows in known],
    )
    return windows, [len(rows) - len(those) for rows, those in zip(theirs, known, strict=True)]


def _named(users: Sequence[str]) -> str:
    return ", ".join(f"{user!r:.80}" for user in dict.fromkeys(users))


def agreement(registry: Registry, model: str, number: int, truth: Truth) -> float:
    """The share of an edit's windows for which the gate decided what the synthetic log's truth says."""
    edit = registry.edit(model, number)
    view = open_view(registry, registry.resolve(model, str(edit.result)))
    prepared = PreparedEdit.from_bytes(registry.get(Digest(str(edit.plan_digest))))
    meant = truth.labels(prepared.windows, view.catalogue)
    names = np.array([action.name.lower() for action in Action])
    return float((meant == names[prepared.plan.decided_action]).mean())
