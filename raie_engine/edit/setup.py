"""Setup: the first slice of a log becomes a frozen backbone, its regions and everything later edits lean on.

Legend: n windows, d hidden size, k regions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from raie.engine.arrays import Floats
from raie.engine.backbones import Backbone, load_backbone
from raie.engine.config import EngineConfig
from raie.engine.content import ContentParts, RegionFacts
from raie.engine.data.catalogue import Catalogue
from raie.engine.data.interactions import Interactions, between, watermark
from raie.engine.data.known_ids import reference
from raie.engine.data.sampling import SplitWindows, keep_sample, setup_windows
from raie.engine.data.watermark import Watermark
from raie.engine.data.window_length import LengthChoice, choose_length
from raie.engine.data.windows import Windows
from raie.engine.edit.mixing import RegionMixtures, mix_regions, new_counts
from raie.engine.edit.region_rows import route_rows
from raie.engine.encoding import encode_on
from raie.engine.errors import NothingToEdit, WrongBackbone
from raie.engine.evaluation.metrics import leaving_out_context, mean_metrics, ranks
from raie.engine.executor import LOCAL, Executor, Report
from raie.engine.mixture.log_counts import LogCounts, count_rows
from raie.engine.model import LOG_COUNTS, Settings
from raie.engine.regions.any_space import Space
from raie.engine.regions.buffer import AddBuffer
from raie.engine.regions.gate import gate_from
from raie.engine.regions.item_space import fit_item_space
from raie.engine.regions.kmeans import KChoice, different_directions
from raie.engine.regions.region_map import RegionMap, assign, choose_regions, fit_regions, region_state
from raie.engine.regions.space import fit_space
from raie.engine.router import Router, routing_vectors
from raie.engine.training.loop import Progress
from raie.engine.training.train_adapter import adapter_scores
from raie.engine.training.train_backbone import configured_backbone_file, configured_class, train_backbone

__all__ = ["SetUp", "set_up", "setup_mixtures", "with_length", "with_times"]


_CRITERION = "mean simplified silhouette"


@dataclass(frozen=True)
class SetUp:
    """The parts of the first snapshot, the facts about its regions, and what was measured."""

    parts: ContentParts
    facts: tuple[RegionFacts, ...]
    report: Mapping[str, Any]


def _require_enough(split: SplitWindows, past: Interactions, config: EngineConfig) -> None:
    """Raises NothingToEdit where there is nothing to train on."""
    least = config.windows.min_length
    if not len(split.train):
        raise NothingToEdit(
            f"expected windows to train on, an interaction of a user with {least} before it, found none in the "
            f"{len(past):,} interactions of the setup slice; a later --until"
            f"{' or a smaller windows.min_length' if least > 1 else ''} gives some"
        )


def set_up(
    interactions: Interactions,
    until: int | None,
    settings: Settings,
    *,
    backbone: tuple[bytes, bytes] | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    executor: Executor = LOCAL,
) -> SetUp:
    """Train the backbone on the first slice of a log, fit the routing space and the regions.

    Args:
        interactions: the log, in time order.
        until: end of the slice, epoch seconds; None for the whole log.
        settings: the model's.
        backbone: (configuration, weights) of one that was trained on these rows already, to be used instead.
        checkpoint: file of the training's checkpoint; None for none.
        progress: called after every epoch.
        executor: where the backbone trains and windows are encoded; the result does not depend on it.

    Returns:
        The parts of the first snapshot.

    Raises:
        NothingToEdit: when the slice holds no window.
        ConfigError: for a gate that could never choose one of its operations with these regions.
        WrongBackbone: for a backbone that knows other items.
    """
    past = between(interactions, None, until)
    length = choose_length(past, settings.engine.windows)
    settings = _of_length(with_times(settings), length)
    config = settings.engine
    split = setup_windows(past, config.windows, config.edit, config.seed)
    _require_enough(split, past, config)
    model, scores = _frozen(past, split, config, backbone, checkpoint, progress, executor)
    model_config, weights = model.to_bytes()
    train_until = int(split.train.timestamp.max())
    counted = config.mixture.names or config.regions.space == "items"
    trained = count_rows(between(past, None, train_until), None, model.known_items) if counted else None

    def encode(windows: Windows) -> Floats:
        file = configured_backbone_file(config.backbone)
        return encode_on(executor, model, (model_config, weights), windows, file)

    space, vectors = _space(config, model.digest, split.train, trained, encode)
    choice = _chosen(vectors, config)
    k = choice.k if choice else different_directions(vectors, _wanted(config, len(past)))
    region_map, owner = fit_regions(vectors, config.regions, config.seed, space.digest, k)
    gate_from(config.gate).decide(region_map, vectors[:0])  # refuses what every edit of these regions would refuse
    buffer = AddBuffer.empty(config.windows.length, space.dimensions, space.digest, times=config.windows.times)
    mixed = (
        setup_mixtures(past, train_until, split.validation, model, space, region_map, config, trained)
        if config.mixture.names
        else None
    )
    parts = ContentParts(
        backbone={"config": model_config, "weights": weights},
        space=space.to_bytes(),
        appended={"catalogue": _catalogue_chunk(past)},
        replaced=_shared(watermark(interactions, until), split, settings, buffer)
        | ({} if mixed is None else {LOG_COUNTS: mixed.counts}),
        regions={
            region: {**entry, **(mixed.blobs[region] if mixed else {})}
            for region, entry in _entries(region_map, split.train, owner, config).items()
        },
    )
    known = reference(past)
    report = {
        "interactions": len(past),
        "windows": {name: len(value) for name, value in vars(split).items()},
        "length": asdict(length),
        "backbone": {
            "digest": model.digest,
            "epochs": len(scores) - 1,
            "validation": list(scores),
        },
        "regions": _choice(choice, region_map, config),
        "holdout": mean_metrics(ranks(_scores(model, space, region_map, mixed), split.holdout)),
        "mixture": None if mixed is None else mixed.fitted.to_mapping(),
        "known": {"reference": None if known is None else known.to_mapping()},
    }
    return SetUp(parts, _facts(region_map), report)


def setup_mixtures(
    past: Interactions,
    train_until: int,
    validation: Windows,
    model: Backbone,
    space: Space,
    region_map: RegionMap,
    config: EngineConfig,
    trained: LogCounts | None = None,
) -> RegionMixtures:
    """The mixture of every region; the rows of the holdout's users after the cut are never counted.

    Args:
        past: the setup slice, in time order.
        train_until: time of the last window that trains, epoch seconds.
        validation: windows that the weights are fitted on.
        model: the frozen backbone.
        space: the routing space.
        region_map: of the setup.
        config: the options.
        trained: the counts of the rows that train, where they are known already.

    Returns:
        The mixtures.
    """
    counted = past.of((past.timestamp <= train_until) | (past.user % 2 == 0))
    route = route_rows(space, region_map, config, model.known_items)
    counts = new_counts(past, None, train_until, model.known_items, None, counted, route, trained)
    region = assign(region_map, routing_vectors(space, model, validation))
    score = adapter_scores(model, None)
    validated = {number: (validation.take(region == number), score) for number in region_map.ids.tolist()}
    return mix_regions(validated, None, counts, config, config.seed)


def _scores(
    model: Backbone, space: Space, region_map: RegionMap, mixed: RegionMixtures | None
) -> Callable[[Windows], Tensor]:
    """The scores of the first snapshot; with a mixture, by the rows before the held-out windows."""
    return Router(model, (), space, region_map, {}, mixed.measured if mixed else {}).scores


def with_times(settings: Settings) -> Settings:
    """The settings under which windows hold times where the backbone reads them; later edits read these.

    Args:
        settings: the model's.

    Returns:
        The settings.
    """
    engine = settings.engine
    times = engine.windows.times or configured_class(engine.backbone).reads_times
    return replace(settings, engine=replace(engine, windows=replace(engine.windows, times=times)))


def with_length(settings: Settings, interactions: Interactions, until: int | None) -> Settings:
    """The settings with the length of the windows that the setup slice asks for, where they name none.

    Args:
        settings: the model's.
        interactions: the log, in time order.
        until: end of the slice, epoch seconds; None for the whole log.

    Returns:
        The settings; later edits read these.
    """
    return _of_length(settings, choose_length(between(interactions, None, until), settings.engine.windows))


def _of_length(settings: Settings, choice: LengthChoice) -> Settings:
    engine = settings.engine
    return replace(settings, engine=replace(engine, windows=choice.configured(engine.windows)))


def _frozen(
    past: Interactions,
    split: SplitWindows,
    config: EngineConfig,
    given: tuple[bytes, bytes] | None,
    checkpoint: Path | None,
    progress: Progress | None,
    executor: Executor,
) -> tuple[Backbone, tuple[float, ...]]:
    """The backbone, trained unless it is given, and its validation score before training and after every epoch."""
    items = int(past.item.max())
    if given is None:
        task = _BackboneTask(split.train, split.validation, items, config, past.catalogue.titles, checkpoint)
        if executor.remote:
            stored, scores = executor.run(_stored_backbone, task.to_travel(), progress or _unseen)
            return load_backbone(*stored, configured_backbone_file(config.backbone)), scores
        return _trained_backbone(task, progress or _unseen)
    backbone = load_backbone(*given, configured_backbone_file(config.backbone))
    if backbone.known_items != items:
        raise WrongBackbone(
            f"expected a backbone that knows the {items} items of the setup slice, found one that knows "
            f"{backbone.known_items}; give the log and the --until that it was trained with"
        )
    score = leaving_out_context(adapter_scores(backbone, None))
    return backbone, (mean_metrics(ranks(score, split.validation))["NDCG@10"],)


@dataclass(frozen=True)
class _BackboneTask:
    """All that training the backbone depends on; train, validation: windows."""

    train: Windows
    validation: Windows
    items: int
    config: EngineConfig
    titles: tuple[str, ...]
    checkpoint: Path | None

    def to_travel(self) -> _BackboneTask:
        """The task without a checkpoint, which would lie on another machine's disk, and with no more than it reads."""
        bare = self.train.without_past(), self.validation.without_past()
        return replace(self, train=bare[0], validation=bare[1], checkpoint=None)


def _trained_backbone(task: _BackboneTask, report: Report) -> tuple[Backbone, tuple[float, ...]]:
    model, trained = train_backbone(
        task.train,
        task.validation,
        task.items,
        task.config.backbone,
        positions=task.config.windows.stride,
        seed=task.config.seed,
        titles=task.titles,
        checkpoint=task.checkpoint,
        progress=report,
    )
    return model, trained.scores


def _stored_backbone(task: _BackboneTask, report: Report) -> tuple[tuple[bytes, bytes], tuple[float, ...]]:
    """The same as bytes, from another process."""
    model, scores = _trained_backbone(task, report)
    return model.to_bytes(), scores


def _unseen(epoch: int, score: float) -> None:
    """Of a training that nobody watches."""


def _catalogue_chunk(past: Interactions) -> bytes:
    """The ids of the setup slice alone: those that only later rows hold are for later edits to append."""
    known = past.catalogue.first(users=int(past.user.max()) + 1, items=int(past.item.max()))
    return known.chunk_since(Catalogue())


def _shared(mark: Watermark, split: SplitWindows, settings: Settings, buffer: AddBuffer) -> dict[str, bytes]:
    return {
        "settings": settings.to_bytes(),
        "watermark": mark.to_bytes(),
        "validation": split.validation.to_bytes(),
        "holdout": split.holdout.to_bytes(),
        "add_buffer": buffer.to_bytes(),
    }


def _entries(
    region_map: RegionMap, train: Windows, owner: np.ndarray, config: EngineConfig
) -> dict[int, dict[str, bytes]]:
    """The first entry of every region: its state, and windows to replay; no adapter yet. owner: regions [n]."""
    most = config.edit.max_replay
    return {
        region: {
            "state": region_state(region_map, region),
            "replay": keep_sample(train.take(owner == region), most, [config.seed, region]).to_bytes(),
        }
        for region in region_map.ids.tolist()
    }


def _space(
    config: EngineConfig,
    backbone: str,
    train: Windows,
    counts: LogCounts | None,
    encode: Callable[[Windows], Floats],
) -> tuple[Space, Floats]:
    """The routing space, and where the windows that train lie in it. backbone: its digest."""
    if config.regions.space == "items" and counts is not None:
        by_items = fit_item_space(counts, backbone)
        return by_items, by_items.vectors(train)
    encodings = encode(train)
    space = fit_space(encodings, config.regions.remove_components, backbone)
    return space, space.project(encodings)


def _wanted(config: EngineConfig, rows: int) -> int:
    """K by the option, or by how many rows the setup has."""
    regions = config.regions
    return regions.regions or max(2, min(regions.max_regions, rows // regions.rows_per_region))


def _chosen(vectors: Floats, config: EngineConfig) -> KChoice | None:
    """What the criterion says of K; None where something else does."""
    if config.regions.regions or config.regions.space == "items":
        return None
    return choose_regions(vectors, config.regions, config.seed)


def _choice(choice: KChoice | None, region_map: RegionMap, config: EngineConfig) -> dict[str, Any]:
    measured = [] if choice is None else [asdict(measurement) for measurement in choice.measured]
    by_rows = f"one for every {config.regions.rows_per_region:,} rows, at most {config.regions.max_regions}"
    return {
        "k": len(region_map.ids),
        "chosen_by": (by_rows if not config.regions.regions else "option")
        if choice is None
        else _CRITERION
        if choice.measured
        else "too few windows for more",
        "measured": measured,
        "weights": region_map.weights.tolist(),
    }


def _facts(region_map: RegionMap) -> tuple[RegionFacts, ...]:
    return tuple(
        RegionFacts(
            region=int(region_map.ids[row]),
            action="setup",
            windows=int(region_map.count[row]),
            centre_shift=0.0,
            radius=float(region_map.radius[row]),
            concentration=float(region_map.concentration[row]),
            count=int(region_map.count[row]),
            centre=tuple(region_map.centres[row].tolist()),
            metrics={},
        )
        for row in range(len(region_map.ids))
    )
