"""The engine's part of erasing users: what setup and edits made, made again without their rows.

Rows of users are never used again: an erased user keeps its row in the catalogue, under a placeholder that is no id.
What was decided in time stays decided: which rows an edit took, where training ended and validation began, and which
windows a sample drew. Everything that was computed from the users' rows is computed again without them.
Legend: n windows, u erased users.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from raie.engine.bytes.json import parse_json
from raie.engine.content import ContentParts
from raie.engine.data.catalogue import Catalogue
from raie.engine.data.interactions import Interactions, between
from raie.engine.data.watermark import Watermark
from raie.engine.data.windows import Windows, concatenate, cut_windows
from raie.engine.edit.mixing import new_counts
from raie.engine.edit.pipeline import PreparedEdit
from raie.engine.edit.planner import apply_plan, make_plan
from raie.engine.edit.region_rows import route_rows
from raie.engine.edit.setup import setup_mixtures
from raie.engine.errors import InputError
from raie.engine.model import LOG_COUNTS, ModelView
from raie.engine.regions.gate import gate_from
from raie.engine.regions.region_map import RegionMap, region_state
from raie.engine.training.train_adapter import TrainTask
from raie.engine.training.train_backbone import cold_item_rows

__all__ = [
    "ErasedSetup",
    "chunk_without",
    "is_placeholder",
    "placeholder",
    "prepared_without",
    "same_task",
    "setup_without",
    "user_rows",
    "windows_of",
    "windows_without",
]

_PLACEHOLDER = "(erased user {})"
_OTHER_ROWS = "give the log that {} was made from with --log; its rows of the erased users are left out"


def placeholder(row: int) -> str:
    """What stands in the catalogue in place of an erased user's id.

    Args:
        row: of the user, from 0.

    Returns:
        A text that differs from row to row and says nothing of the user.
    """
    return _PLACEHOLDER.format(row)


def is_placeholder(user: str, row: int) -> bool:
    """Whether the catalogue's text of a row is a placeholder.

    Args:
        user: the text.
        row: of the user, from 0.

    Returns:
        Whether the user of this row was erased.
    """
    return user == placeholder(row)


def user_rows(catalogue: Catalogue, users: Collection[str]) -> tuple[int, ...]:
    """The rows of those of some users whom a catalogue holds.

    Args:
        catalogue: of a snapshot.
        users: external ids.

    Returns:
        Rows, ascending.
    """
    return tuple(row for row, user in enumerate(catalogue.users) if user in users)


def chunk_without(chunk: bytes, users: Collection[str]) -> bytes:
    """A catalogue's chunk with placeholders in place of some users.

    Args:
        chunk: canonical JSON, as a snapshot keeps it.
        users: external ids.

    Returns:
        Canonical JSON; the same bytes where the chunk holds none of the users.
    """
    values = parse_json(chunk, "a chunk of the catalogue")
    first = values["first_user"]
    values["users"] = [
        placeholder(row) if user in users else user for row, user in enumerate(values["users"], start=first)
    ]
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def windows_of(windows: Windows, rows: Collection[int]) -> npt.NDArray[np.bool_]:
    """Which windows belong to some users.

    Args:
        windows: n of them.
        rows: of the users.

    Returns:
        Mask [n].
    """
    return np.isin(windows.user, list(rows))


def windows_without(windows: Windows, rows: Collection[int]) -> Windows:
    """The windows of everybody else, in their order.

    Args:
        windows: n of them.
        rows: of the users.

    Returns:
        The windows.
    """
    gone = windows_of(windows, rows)
    return windows.take(~gone).compacted() if gone.any() else windows


def _rows_without(interactions: Interactions, rows: Collection[int]) -> Interactions:
    return interactions.of(~np.isin(interactions.user, list(rows)))


@dataclass(frozen=True)
class ErasedSetup:
    """The first snapshot without the users: the parts that differ, and the chunk of its catalogue."""

    parts: ContentParts
    catalogue: bytes


def setup_without(view: ModelView, interactions: Interactions | None, users: Collection[str]) -> ErasedSetup:
    """What a setup kept, without some users. Backbone, routing space and the regions' shapes stay as they are.

    Args:
        view: the snapshot of the setup.
        interactions: the log, read with the snapshot's catalogue; None where nothing is mixed.
        users: external ids.

    Returns:
        The parts that differ.

    Raises:
        InputError: for a log that is not the setup's.
    """
    rows, config = user_rows(view.catalogue, users), view.settings.engine
    replay = {region: view.replay(region) for region in view.content.regions}
    kept = {region: windows_without(windows, rows) for region, windows in replay.items()}
    region_map = _fewer(view.region_map, {r: len(replay[r]) - len(kept[r]) for r in replay})
    validation = windows_without(view.validation, rows)
    mark, mixtures = view.watermark, None
    if interactions is not None:
        past = _rows_without(between(interactions, None, mark.timestamp), rows)
        train_until = max((int(windows.timestamp.max()) for windows in kept.values() if len(windows)), default=0)
        if not train_until:
            raise InputError(
                "expected windows of other users in the setup, found none: nothing would be left of it"
            )
        if all(len(windows) < config.edit.max_replay for windows in replay.values()):  # then all of them were kept
            _require_setup_rows(view, past, concatenate(list(kept.values())), train_until)
        mark = Watermark(mark.timestamp, len(past), mark.train_until)
        mixtures = setup_mixtures(past, train_until, validation, view.backbone, view.space, region_map, config)
    regions = {
        region: {
            **{role: view.get(digest) for role, digest in view.content.regions[region].items()},
            "state": region_state(region_map, region),
            "replay": kept[region].to_bytes(),
            **(mixtures.blobs[region] if mixtures else {}),
        }
        for region in replay
    }
    replaced = {
        "validation": validation.to_bytes(),
        "holdout": windows_without(view.holdout, rows).to_bytes(),
        "watermark": mark.to_bytes(),
    } | ({LOG_COUNTS: mixtures.counts} if mixtures else {})
    return ErasedSetup(
        ContentParts(replaced=replaced, regions=regions), chunk_without(view.catalogue_chunks[0], users)
    )


def _fewer(region_map: RegionMap, windows: dict[int, int]) -> RegionMap:
    """The map with so many fewer members of each region; their shapes are those of the setup."""
    less = np.array([windows[region] for region in region_map.ids.tolist()], region_map.count.dtype)
    return dataclasses.replace(region_map, count=np.maximum(region_map.count - less, 1))


def _require_setup_rows(view: ModelView, past: Interactions, kept: Windows, train_until: int) -> None:
    """Raises InputError where the log does not give the windows that the setup kept."""
    config = view.settings.engine
    rows = between(past, None, train_until) if config.windows.context == "history" else past
    windows = cut_windows(rows, config.windows)
    windows = windows.take(windows.timestamp <= train_until)
    if _in_order(windows).digest != _in_order(kept).digest:
        raise InputError(
            f"expected {len(kept):,} windows of the setup, found {len(windows):,} others in the log; "
            + _OTHER_ROWS.format("the setup")
        )


def _in_order(windows: Windows) -> Windows:
    order = np.lexsort((*windows.items.T, windows.target, windows.timestamp, windows.user))
    return windows.take(order).compacted()


def prepared_without(
    view: ModelView,
    prepared: PreparedEdit,
    interactions: Interactions | None,
    users: Collection[str],
    *,
    rows: Collection[int],
    next_region_id: int,
) -> PreparedEdit:
    """An edit, prepared anew on a snapshot without some users, from what it was prepared from before.

    Args:
        view: the snapshot that the edit is made from, without the users.
        prepared: the edit as it was.
        interactions: the log, in which known ids have their rows; None where nothing of the edit needs it.
        users: external ids.
        rows: of the users.
        next_region_id: id of the first added region.

    Returns:
        Everything decided before training.

    Raises:
        InputError: for a log that is not the edit's.
    """
    config, mark = view.settings.engine, view.watermark
    keep = ~windows_of(prepared.windows, rows)
    windows, vectors = windows_without(prepared.windows, rows), prepared.vectors[keep]
    old = prepared.plan
    plan = make_plan(
        view.region_map,
        gate_from(config.gate).decide(view.region_map, vectors),
        vectors,
        windows,
        space=view.space.digest,
        buffer=view.buffer,
        gate=config.gate,
        regions=config.regions,
        seed=old.seed,
        parent=old.parent,
        next_region_id=next_region_id,
        only=old.parameters["only"],
        carried=windows.timestamp <= mark.timestamp,
    )
    chunk = prepared.catalogue_chunk
    changed = replace(
        prepared,
        plan=plan,
        windows=windows,
        vectors=vectors,
        catalogue_chunk=None if chunk is None else chunk_without(chunk, users),
        answered=windows_without(prepared.answered, rows),
    )
    if interactions is None:
        return changed
    past = _rows_without(between(interactions, None, prepared.watermark.timestamp), rows)
    _require_edit_rows(view, changed, past)
    items = len(view.backbone.item_table()) - 1 + len(prepared.item_rows)
    neighbours = cut_windows(past, config.windows, after=mark.timestamp)
    before = view.log_counts
    route = route_rows(view.space, apply_plan(view.region_map, plan), config, items)
    return replace(
        changed,
        item_rows=cold_item_rows(view.backbone, neighbours, items, old.seed),
        watermark=replace(prepared.watermark, rows=len(past)),
        counts=None
        if prepared.counts is None or before is None
        else new_counts(past, mark.timestamp, prepared.train_until, items, before.half_life, past, route),
    )


def _require_edit_rows(view: ModelView, prepared: PreparedEdit, past: Interactions) -> None:
    """Raises InputError where the log does not give the windows that the edit trained on."""
    config, mark, until = view.settings.engine, view.watermark, prepared.train_until
    history = config.windows.context == "history"
    rows = between(past, None, until) if history else past
    windows = cut_windows(rows, config.windows, after=mark.trained if history else mark.timestamp)
    trained = prepared.windows.take(prepared.windows.timestamp <= until)
    windows = windows.take(windows.timestamp <= until)
    if _in_order(windows).digest != _in_order(trained).digest:
        raise InputError(
            f"expected the {len(trained):,} windows that the edit trained on, found {len(windows):,} others in the log; "
            + _OTHER_ROWS.format("the edit")
        )


def same_task(earlier: TrainTask, task: TrainTask) -> bool:
    """Whether two trainings are the same: their results are then the same bytes.

    Args:
        earlier: a training.
        task: another one.

    Returns:
        Whether everything that they depend on is equal.
    """
    fields = [field.name for field in dataclasses.fields(TrainTask) if field.name != "checkpoint"]
    return all(_same(getattr(earlier, name), getattr(task, name)) for name in fields)


def _same(a: object, b: object) -> bool:
    if isinstance(a, Windows) and isinstance(b, Windows):
        return len(a) == len(b) and a.digest == b.digest
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return torch.equal(a, b)
    return a == b
