"""An edit: new interactions and a snapshot in, the parts of the next snapshot out.

prepare reads, routes and decides; `edit_tasks.py` says what is to be trained; finish puts the results together.
Nothing here writes anywhere, so every step can be repeated, resumed elsewhere or thrown away.
Legend: n new windows, m pending windows of the Add buffer, d hidden size.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raie.engine.bytes.arrays import pack, unpack
from raie.engine.bytes.stored_names import from_stored, to_stored
from raie.engine.config import WindowConfig
from raie.engine.content import ContentParts, RegionFacts
from raie.engine.data.catalogue import Catalogue
from raie.engine.data.interactions import Interactions, between, late_rows
from raie.engine.data.readers.timestamps import iso
from raie.engine.data.sampling import EditWindows, edit_windows, keep_sample, next_watermark
from raie.engine.data.watermark import Watermark
from raie.engine.data.windows import Windows, concatenate, cut_windows, uncut_evaluation_windows
from raie.engine.edit.mixing import NewCounts, RegionMixtures, mix_regions, new_counts
from raie.engine.edit.plan import PENDING, EditPlan
from raie.engine.edit.planner import apply_plan, make_plan, next_buffer, without
from raie.engine.edit.region_rows import route_rows
from raie.engine.errors import DamagedArtifact, NothingToEdit
from raie.engine.mixture.fit import Validated
from raie.engine.mixture.log_counts import LogCounts
from raie.engine.mixture.log_parts import LogParts
from raie.engine.mixture.region_counts import pack_regions, unpack_regions
from raie.engine.mixture.region_parts import parts_of
from raie.engine.model import ADAPTER_ROLES, LOG_COUNTS, SHARED_PREFIX, ModelView, pack_item_rows
from raie.engine.regions.gate import Action, gate_from
from raie.engine.regions.region_map import RegionMap, region_state
from raie.engine.training.adapter import Adapter
from raie.engine.training.train_adapter import SHARED, TrainedRegion, adapter_scores, quality
from raie.engine.training.train_backbone import cold_item_rows

__all__ = [
    "MOST_ANSWERED",
    "FinishedEdit",
    "PreparedEdit",
    "answered_sample",
    "appended_rows",
    "appended_titles",
    "finish_edit",
    "new_windows",
    "pending_after",
    "prepare_edit",
]


MOST_ANSWERED = 2000
"""New windows that the weights of a mixture are fitted on beside the validation windows."""
_COUNTS = ("trained", "newest")
_REGION_COUNTS = ("trained_regions", "newest_regions")


@dataclass(frozen=True, eq=False)
class PreparedEdit:
    """Everything decided before training; with the parent snapshot it fixes the result.

    windows: n; vectors float32 [n, d] of them. item_rows: [new items, d]. catalogue_chunk: ids that are new. late: rows
    older than the watermark that came too late to be read. answered: a sample of the new interactions as the snapshot had
    to answer them, by which what joins scores is fitted. counts: what the new rows add to the counts; None where
    nothing is mixed. train_until: adapters train on windows up to this time (epoch seconds) and are validated on later
    ones.
    """

    plan: EditPlan
    windows: Windows
    vectors: np.ndarray
    item_rows: Tensor
    catalogue_chunk: bytes | None
    watermark: Watermark
    late: int
    train_until: int
    answered: Windows
    counts: NewCounts | None = None

    def to_bytes(self) -> bytes:
        """One blob from which another process resumes the edit without its log."""
        header = {"kind": "prepared_edit", "watermark": self.watermark.to_mapping(), "late": self.late}
        header |= to_stored("prepared edit", {"train_until": self.train_until})
        inner = {"plan": self.plan.to_bytes(), "windows": self.windows.to_bytes()}
        inner |= {"catalogue": self.catalogue_chunk or b"", "answered": self.answered.to_bytes()}
        if self.counts is not None:
            inner |= {name: getattr(self.counts, name).to_bytes() for name in _COUNTS}
            inner |= {name: pack_regions(getattr(self.counts, name)) for name in _REGION_COUNTS}
        arrays = {name: np.frombuffer(data, np.uint8) for name, data in inner.items()}
        return pack(header, {**arrays, "vectors": self.vectors, "item_rows": self.item_rows.numpy()})

    @staticmethod
    def from_bytes(data: bytes) -> PreparedEdit:
        """The inverse of `to_bytes`.

        Args:
            data: the stored bytes.

        Returns:
            The value that was stored.

        Raises:
            DamagedArtifact: for bytes that hold no such value.
        """
        kinds = dict.fromkeys(("plan", "windows", "catalogue", "answered"), np.uint8)
        kinds |= dict.fromkeys((*_COUNTS, *_REGION_COUNTS), np.uint8)
        dtypes = {**kinds, "vectors": np.float32, "item_rows": np.float32}
        axes = {"plan": "p", "windows": "w", "catalogue": "c", "vectors": "nd", "item_rows": "ie"}
        header, arrays = unpack(
            data, "prepared_edit", dtypes, axes, optional=("answered", *_COUNTS, *_REGION_COUNTS)
        )
        try:
            header = from_stored("prepared edit", header)
            mark, late = Watermark(**header["watermark"]), int(header["late"])
            train_until = int(header["train_until"])
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedArtifact(
                f"expected a prepared edit, found another header ({error}); plan again"
            ) from error
        return PreparedEdit(
            plan=EditPlan.from_bytes(arrays["plan"].tobytes()),
            windows=Windows.from_bytes(arrays["windows"].tobytes()),
            vectors=arrays["vectors"],
            item_rows=torch.from_numpy(arrays["item_rows"]),
            catalogue_chunk=arrays["catalogue"].tobytes() or None,
            watermark=mark,
            late=late,
            train_until=train_until,
            answered=Windows.from_bytes(arrays["answered"].tobytes())
            if "answered" in arrays
            else Windows.from_bytes(arrays["windows"].tobytes()).take(slice(0, 0)),
            counts=_stored_counts({name: array.tobytes() for name, array in arrays.items()}),
        )


def _stored_counts(inner: Mapping[str, bytes]) -> NewCounts | None:
    if not set(_COUNTS) <= inner.keys():
        return None
    trained, newest = (LogCounts.from_bytes(inner[name]) for name in _COUNTS)
    return NewCounts(trained, newest, *(unpack_regions(inner[n]) if n in inner else {} for n in _REGION_COUNTS))


def prepare_edit(
    view: ModelView,
    parent: str,
    interactions: Interactions,
    until: int | None,
    *,
    seed: int,
    next_region_id: int,
    only: Collection[int] | None = None,
    vectors: np.ndarray | None = None,
) -> PreparedEdit:
    """Cut the new windows, route them, let the gate decide, and plan; pure, so equal arguments plan equally.

    Args:
        view: the snapshot.
        parent: id of the snapshot that the edit is made from.
        interactions: read with the snapshot's catalogue, so that known ids keep their rows.
        until: epoch seconds.
        seed: of everything random in it.
        next_region_id: id of the first added region; ids are never used twice.
        only: region ids that may be touched; None for all.
        vectors: routing vectors [n, d] of the new windows, where they are known already.

    Returns:
        Everything decided before training.

    Raises:
        NothingToEdit: when no window lies between the watermark and `until`.
        WrongBackbone: for a snapshot whose routing space belongs to another backbone.
    """
    view.space.require_backbone(view.backbone.digest)
    config, mark, cut = view.settings.engine, view.watermark, _edit_windows(view, interactions, until)
    windows, rows = cut.windows, between(interactions, None, until)
    catalogue, chunk = _grown(view.catalogue, interactions, until)
    # Neighbours in the windows of every new row, validating ones too; these are not kept.
    item_rows = cold_item_rows(
        view.backbone, cut_windows(rows, config.windows, after=mark.timestamp), len(catalogue.items), seed
    )
    if vectors is None:
        vectors = view.vectors(windows)
    plan = make_plan(
        view.region_map,
        gate_from(config.gate).decide(view.region_map, vectors),
        vectors,
        windows,
        space=view.space.digest,
        buffer=view.buffer,
        gate=config.gate,
        regions=config.regions,
        seed=seed,
        parent=parent,
        next_region_id=next_region_id,
        only=only,
        carried=windows.timestamp <= mark.timestamp,
    )
    return PreparedEdit(
        plan,
        windows,
        vectors,
        item_rows,
        chunk,
        next_watermark(interactions, until, cut, config.windows),
        late_rows(interactions, mark),
        cut.train_until,
        _asked(view, rows, seed),
        _new_counts(view, rows, cut.train_until, len(catalogue.items), apply_plan(view.region_map, plan)),
    )


def _asked(view: ModelView, rows: Interactions, seed: int) -> Windows:
    """A sample of the new interactions, each with what its user had before."""
    config = view.settings.engine
    most = MOST_ANSWERED if config.mixture.names else 0
    last = len(view.backbone.item_table()) - 1
    return answered_sample(rows, config.windows, view.watermark.timestamp, last, most, seed)


def answered_sample(
    rows: Interactions, config: WindowConfig, after: int, last_item: int, most: int, seed: int
) -> Windows:
    """A sample of the interactions that a model had to answer, each with what its user had before that the model knows.

    Args:
        rows: the log, in time order.
        config: length, context and times of windows.
        after: epoch seconds; later interactions.
        last_item: the last item row that the model knows.
        most: the largest size of the sample.
        seed: of the sample.

    Returns:
        The windows; as a target an unknown item is PAD.
    """
    known = last_item if config.context == "history" else None
    every = uncut_evaluation_windows(rows, config, after=after, last_item=known)
    asked = keep_sample(every, most, [seed, len(every)]).cut().without_items_above(last_item)
    return asked.take(asked.length > 0).compacted()


def _new_counts(
    view: ModelView, rows: Interactions, train_until: int, items: int, after: RegionMap
) -> NewCounts | None:
    """What the rows of an edit add to the counts; None where nothing is mixed."""
    before = view.log_counts
    if not view.settings.engine.mixture.names or before is None:
        return None
    route = route_rows(view.space, after, view.settings.engine, items)
    return new_counts(rows, view.watermark.timestamp, train_until, items, before.half_life, rows, route)


def new_windows(view: ModelView, interactions: Interactions, until: int | None) -> Windows:
    """The windows of the next edit, those that validate among them.

    Args:
        view: the snapshot.
        interactions: the log, in time order.
        until: epoch seconds, the last time that counts; None for the whole log.

    Returns:
        At least one window.

    Raises:
        NothingToEdit: when there is none.
    """
    return _edit_windows(view, interactions, until).windows


def _edit_windows(view: ModelView, interactions: Interactions, until: int | None) -> EditWindows:
    config, mark = view.settings.engine, view.watermark
    cut = edit_windows(between(interactions, None, until), config.windows, config.edit, mark, config.seed)
    if cut is None:
        raise NothingToEdit(_why_nothing(interactions, mark.timestamp, until, config.windows.min_length))
    return cut


def _why_nothing(interactions: Interactions, mark: int, until: int | None, least: int) -> str:
    """Why there is no window after the watermark."""
    expected, new = f"expected rows after the watermark {iso(mark)}", len(between(interactions, mark, until))
    if until is not None and until <= mark:
        return f"{expected}, found --until {iso(until)}: name a later time, or none"
    if not new:
        last = int(interactions.timestamp[-1]) if len(interactions) else None
        last_row = "an empty log" if last is None else f"none, the last is of {iso(last)}"
        return f"{expected}, found {last_row}: wait for more"
    return (
        f"expected windows of at least {least} items and a target after the watermark {iso(mark)}, found none in "
        f"{new:,} new interactions: wait for more"
    )


def _grown(known: Catalogue, interactions: Interactions, until: int | None) -> tuple[Catalogue, bytes | None]:
    """The catalogue with what the log holds up to `until`, and the chunk that is new; None where nothing is."""
    read = between(interactions, None, until)
    users = max(len(known.users), int(read.user.max(initial=-1)) + 1)
    items = max(len(known.items), int(read.item.max(initial=0)))
    catalogue = interactions.catalogue.first(users=users, items=items)
    grown = (users, items) != (len(known.users), len(known.items))
    return catalogue, catalogue.chunk_since(known) if grown else None


def appended_rows(view: ModelView, more: Tensor) -> Tensor:
    """All appended item rows, those of this edit last.

    Args:
        view: the snapshot.
        more: [new items, d], of this edit.

    Returns:
        [appended items, d].
    """
    return torch.cat([*view.item_chunks, more])


def appended_titles(view: ModelView, prepared: PreparedEdit) -> tuple[str, ...]:
    """The titles of all appended items, for a backbone that reads them.

    Args:
        view: the snapshot.
        prepared: the edit, prepared.

    Returns:
        One per appended item; () for a backbone that reads none.
    """
    if not view.backbone.reads_titles:
        return ()
    more = () if prepared.catalogue_chunk is None else (prepared.catalogue_chunk,)
    return Catalogue.from_chunks((*view.catalogue_chunks, *more)).titles[view.backbone.known_items :]


@dataclass(frozen=True, eq=False)
class FinishedEdit:
    """The parts of the next snapshot, the facts about the regions it touches, and the regions that were not accepted.

    mixed: the mixtures of the touched regions; None where nothing is mixed.
    """

    parts: ContentParts
    region_map: RegionMap
    facts: tuple[RegionFacts, ...]
    rejected: tuple[int, ...]
    mixed: RegionMixtures | None = None


def finish_edit(view: ModelView, prepared: PreparedEdit, trained: Sequence[TrainedRegion]) -> FinishedEdit:
    """Put the trained regions together.

    An added region is accepted only if another adapter recommends its held-out windows better than the adapter of the
    nearest region does; without held-out windows that is not known. The windows of a rejected one go back to the Add
    buffer. An existing region moves as planned and keeps its adapter where training found no better one.

    Args:
        view: the snapshot.
        prepared: the edit, prepared.
        trained: every touched region's, and the shared adapter's.

    Returns:
        The parts of the next snapshot.
    """
    by_region = {result.region: result for result in trained}
    rejected = tuple(region for region in prepared.plan.added if not _gained(by_region[region]))
    plan = without(prepared.plan, rejected)
    region_map = apply_plan(view.region_map, plan)
    buffer = next_buffer(plan, view.buffer, prepared.windows, prepared.vectors)
    buffer = buffer.take(~_comes_again(view, prepared, buffer.windows))
    shared = by_region.get(SHARED)
    mixed = _mixed(view, prepared, plan, by_region)
    regions = {
        region: _entry(view, prepared, plan, region_map, by_region[region], shared)
        | ({} if mixed is None else dict(mixed.blobs[region]))
        for region in plan.touched
    }
    chunks = {"catalogue": prepared.catalogue_chunk}
    chunks["item_rows"] = pack_item_rows(prepared.item_rows) if len(prepared.item_rows) else None
    replaced = {"watermark": prepared.watermark.to_bytes(), "add_buffer": buffer.to_bytes()}
    parts = ContentParts(
        appended={role: data for role, data in chunks.items() if data is not None},
        replaced=replaced if mixed is None else {**replaced, LOG_COUNTS: mixed.counts},
        regions=regions,
    )
    facts = tuple(_facts(plan, region, by_region[region]) for region in plan.touched)
    return FinishedEdit(parts, region_map, facts, rejected, mixed)


def _mixed(
    view: ModelView, prepared: PreparedEdit, plan: EditPlan, trained: Mapping[int, TrainedRegion]
) -> RegionMixtures | None:
    """The mixtures of the touched regions, fitted on the windows that validated their adapters."""
    if prepared.counts is None:
        return None
    rows, titles = appended_rows(view, prepared.item_rows), appended_titles(view, prepared)
    backbone = view.backbone.with_item_rows(rows, titles)
    validated = {}
    for region in plan.touched:
        mine = prepared.windows.take(plan.rows(region)[0])
        blobs = trained[region].blobs
        score = adapter_scores(backbone, Adapter.from_blobs(blobs) if blobs else None)
        validated[region] = (mine.take(mine.timestamp > prepared.train_until), score)
    own = {region: view.region_counts(region) for region in plan.touched}
    answered = _answered(view, prepared.answered)
    return mix_regions(validated, view.log_counts, prepared.counts, view.settings.engine, plan.seed, own, answered)


def _answered(view: ModelView, windows: Windows) -> dict[int, Validated]:
    """New windows as the snapshot had to answer them: by its regions, adapters and counts."""
    if view.log_counts is None:
        return {}
    log, owner = LogParts(view.log_counts, view.log_counts.items + 1), view.router.assign(windows)
    answered = {}
    for region in np.unique(owner).tolist():
        score = adapter_scores(view.backbone, view.adapters.get(region))
        parts = parts_of(view.region_counts(region), log)
        answered[region] = Validated(windows.take(owner == region), score, parts)
    return answered


def pending_after(view: ModelView, prepared: PreparedEdit) -> int:
    """How many windows are pending after an edit that accepts all it adds.

    Args:
        view: the snapshot.
        prepared: the edit, prepared.

    Returns:
        The size of the next Add buffer.
    """
    pending = (prepared.plan.region == PENDING) & ~_comes_again(view, prepared, prepared.windows)
    return int(pending.sum()) + int((prepared.plan.buffer_region == PENDING).sum())


def _comes_again(view: ModelView, prepared: PreparedEdit, windows: Windows) -> np.ndarray:
    """Which windows only validate: the next edit cuts others of their interactions, to train on."""
    if view.settings.engine.windows.context != "history":
        return np.zeros(len(windows), bool)
    return np.asarray(windows.timestamp > prepared.train_until)


def _gained(trained: TrainedRegion) -> bool:
    known = not math.isnan(trained.before["NDCG@10"])
    return known and trained.chosen != "current" and quality(trained.after) > quality(trained.before)


def _entry(
    view: ModelView,
    prepared: PreparedEdit,
    plan: EditPlan,
    region_map: RegionMap,
    trained: TrainedRegion,
    shared: TrainedRegion | None,
) -> dict[str, bytes]:
    region, edit = trained.region, view.settings.engine.edit
    rows, buffered = plan.rows(region)
    learned = concatenate([view.buffer.windows.take(buffered), prepared.windows.take(rows)])
    learned = learned.take(learned.timestamp <= prepared.train_until)
    past = [view.replay(region)] if region in view.content.regions else []
    replay = keep_sample(concatenate([*past, learned]), edit.max_replay, [plan.seed, region, 1])
    adapter = {role: trained.blobs[role] for role in ADAPTER_ROLES if role in trained.blobs}
    pinned = {SHARED_PREFIX + role: data for role, data in (shared.blobs if shared else {}).items()}
    return {"state": region_state(region_map, region), "replay": replay.to_bytes(), **adapter, **pinned}


def _facts(plan: EditPlan, region: int, trained: TrainedRegion) -> RegionFacts:
    operation = plan.operation(region)
    metrics: dict[str, Any] = {f"before {name}": value for name, value in trained.before.items()}
    metrics |= {f"after {name}": value for name, value in trained.after.items()}
    return RegionFacts(
        region=region,
        action=Action(operation.action).name.lower(),
        windows=operation.windows,
        centre_shift=operation.centre_shift,
        radius=operation.radius,
        concentration=operation.concentration,
        count=operation.count,
        centre=operation.centre,
        metrics={name: value for name, value in metrics.items() if value == value}
        | to_stored("region facts", {"samples_seen": trained.samples_seen}),
    )
