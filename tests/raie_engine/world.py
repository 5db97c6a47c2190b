"""A small drifting model for the engine's tests: set up and edited twice in memory, and the pieces to make others."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from raie.engine.backbones import Backbone, ModelShape, SasRec
from raie.engine.config import (
    AdapterConfig,
    BackboneConfig,
    EditConfig,
    EngineConfig,
    GateConfig,
    RegionConfig,
    WindowConfig,
)
from raie.engine.content import ContentParts
from raie.engine.data.interactions import Interactions, read_log
from raie.engine.data.readers.settings import LogSettings
from raie.engine.data.synthetic import SyntheticConfig, SyntheticLog, drifting_log, write_csv
from raie.engine.data.windows import Windows
from raie.engine.edit.pipeline import FinishedEdit, PreparedEdit, finish_edit, prepare_edit
from raie.engine.edit.plan import EditPlan
from raie.engine.edit.setup import SetUp, set_up
from raie.engine.edit.training_tasks import region_tasks, shared_task
from raie.engine.model import ModelView, Settings
from raie.engine.training.adapter import Adapter, fresh_adapter
from raie.engine.training.train_adapter import TrainedRegion, train_regions
from raie.engine.training.transition_counts import count_transitions

__all__ = [
    "ITEMS",
    "LENGTH",
    "ROOT",
    "SEED",
    "SMALL_LOG",
    "Edited",
    "Memory",
    "StoredContent",
    "World",
    "edited",
    "in_another_process",
    "make_world",
    "random_adapter",
    "random_backbone",
    "random_windows",
    "sliding",
    "small_settings",
    "successor_windows",
    "with_transitions",
]

ROOT = Path(__file__).resolve().parents[2]
SEED = 42
ITEMS, LENGTH = 30, 6  # of the random backbone
SMALL_LOG = SyntheticConfig(users=300, core_items=20, fringe_items=12, new_items=20, unseen_items=4, seed=7)


def sliding(
    length: int = 10, stride: int = 5, min_length: int = 10, context: str = "slice", times: bool = False
) -> WindowConfig:
    """Windows as the paper cuts them, with its numbers."""
    return WindowConfig(length, stride, min_length, context, times)


def small_settings(epochs: int = 40) -> Settings:
    """Of a model that sets up in two seconds, and whose edits of SMALL_LOG update, expand and add."""
    return Settings(
        EngineConfig(
            seed=SEED,
            windows=sliding(),
            backbone=BackboneConfig(
                dim=16, layers=1, heads=2, batch=64, learning_rate=5e-3, epochs=epochs, patience=4
            ),
            regions=RegionConfig(regions=5),
            gate=GateConfig(min_windows=10, buffer=30, min_region=10),
            edit=EditConfig(shared_epochs=2, epochs=2, batch=64, shared_learning_rate=5e-3, learning_rate=2e-3),
        ),
        LogSettings(),
    )


@dataclass(frozen=True)
class StoredContent:
    """A snapshot's digests, as the engine asks for them."""

    backbone: Mapping[str, str]
    space: str
    shared: Mapping[str, tuple[str, ...]]
    regions: Mapping[int, Mapping[str, str]]


@dataclass(frozen=True)
class Memory:
    """Blobs by their sha256: what the registry is to the engine."""

    blobs: dict[str, bytes] = field(default_factory=dict)

    def put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        return digest

    def content(self, parts: ContentParts, base: StoredContent | None = None) -> StoredContent:
        shared = {} if base is None else dict(base.shared)
        shared |= {role: (*shared.get(role, ()), self.put(data)) for role, data in parts.appended.items()}
        shared |= {role: (self.put(data),) for role, data in parts.replaced.items()}
        regions = {} if base is None else dict(base.regions)
        regions |= {r: {role: self.put(d) for role, d in entry.items()} for r, entry in parts.regions.items()}
        if base is not None:
            return StoredContent(base.backbone, base.space, shared, regions)
        assert parts.space is not None
        backbone = {role: self.put(data) for role, data in parts.backbone.items()}
        return StoredContent(backbone, self.put(parts.space), shared, regions)

    def view(self, content: StoredContent, backbone_file: Path | None = None) -> ModelView:
        return ModelView(content, self.blobs.__getitem__, backbone_file)

    def write(self, content: StoredContent, folder: Path) -> None:
        """The content and all blobs as files, for another process."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "content.json").write_text(json.dumps(asdict(content)))
        for digest, data in self.blobs.items():
            (folder / digest).write_bytes(data)

    @staticmethod
    def read(folder: Path) -> ModelView:
        """The view of what `write` wrote."""
        values = json.loads((folder / "content.json").read_text())
        values["regions"] = {int(region): entry for region, entry in values["regions"].items()}
        return ModelView(StoredContent(**values), lambda digest: (folder / digest).read_bytes())


@dataclass(frozen=True)
class Edited:
    """One edit and the view of what it led to."""

    prepared: PreparedEdit
    trained: Mapping[int, TrainedRegion]
    finished: FinishedEdit
    view: ModelView


def as_if_evaluated(plan: EditPlan, trained: Mapping[int, TrainedRegion]) -> dict[int, TrainedRegion]:
    """The results as if the first addition had been found useless and the others useful.

    Such small regions have a handful of held-out windows, so what these say differs from processor to processor.
    """
    judged = dict(trained)
    for region in plan.added:
        result = trained[region]
        useless = region == plan.added[0]
        before, after = dict.fromkeys(result.before, 0.0), dict.fromkeys(result.after, 0.0 if useless else 0.5)
        judged[region] = replace(result, before=before, after=after, chosen="current" if useless else "trained")
    return judged


def edited(
    memory: Memory, view: ModelView, interactions: Interactions, until: int, *, seed: int = SEED, workers: int = 1
) -> Edited:
    """The next edit of a view, with everything it trains; its first addition is rejected, the others are accepted."""
    prepared = prepare_edit(
        view, "0" * 64, interactions, until, seed=seed, next_region_id=max(view.content.regions) + 1
    )
    (shared,) = train_regions([shared_task(view, prepared)], workers)
    trained = {
        result.region: result for result in train_regions(region_tasks(view, prepared, shared.blobs), workers)
    }
    trained = as_if_evaluated(prepared.plan, trained)
    finished = finish_edit(view, prepared, [shared, *trained.values()])
    content = view.content
    assert isinstance(content, StoredContent)
    return Edited(
        prepared,
        {shared.region: shared, **trained},
        finished,
        memory.view(memory.content(finished.parts, content), view.backbone_file),
    )


@dataclass(frozen=True)
class World:
    """A model set up on the first slice of a synthetic log and edited with the two slices after it."""

    memory: Memory
    log: SyntheticLog
    interactions: Interactions
    made: SetUp
    view: ModelView
    first: Edited
    second: Edited

    @property
    def ends(self) -> list[int]:
        """The last second of the setup, of both edits and of the test slice."""
        return [int(end) for end in self.log.truth.ends]


def make_world(folder: Path) -> World:
    """Set up and edited twice."""
    log = drifting_log(SMALL_LOG)
    write_csv(log, folder / "log.csv")
    interactions, ends = read_log(folder / "log.csv"), [int(end) for end in log.truth.ends]
    memory = Memory()
    made = set_up(interactions, ends[0], small_settings())
    view = memory.view(memory.content(made.parts))
    first = edited(memory, view, interactions, ends[1])
    second = edited(memory, first.view, interactions, ends[2])
    return World(memory, log, interactions, made, view, first, second)


def random_backbone(
    *, items: int = ITEMS, length: int = LENGTH, dim: int = 16, layers: int = 2, seed: int = 0
) -> SasRec:
    """A frozen SASRec whose every weight matters: as it is initialised, all states would be nearly equal."""
    model = SasRec.fresh(ModelShape(items, length, dim, layers, 2), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval().requires_grad_(False)


def random_adapter(backbone: Backbone, item_ids: list[int], *, seed: int = 0, rank: int = 4) -> Adapter:
    """An adapter that changes every layer and the given items."""
    config = AdapterConfig(rank=rank, alpha=2 * rank, item_rank=3)
    adapter = fresh_adapter(backbone, config, torch.tensor(item_ids, dtype=torch.long), seed)
    generator = torch.Generator().manual_seed(seed + 1)
    return adapter.with_parameters(
        {
            name: value + 0.2 * torch.randn(value.shape, generator=generator)
            for name, value in adapter.parameters().items()
        }
    )


def with_transitions(adapter: Adapter, *, seed: int = 0) -> Adapter:
    """The adapter with counts of random windows beside it."""
    windows = random_windows(200, LENGTH, adapter.vocab_size, seed=seed)
    return replace(adapter, transitions=count_transitions(windows, 3, 0.3, adapter.vocab_size + 1))


def random_windows(n: int, length: int, items: int, *, seed: int = 0, users: int = 5) -> Windows:
    """Windows of one to `length` items, left-justified."""
    generator = np.random.default_rng(seed)
    rows = generator.integers(1, items + 1, (n, length), dtype=np.int32)
    rows[np.arange(length) >= generator.integers(1, length + 1, n)[:, None]] = 0
    return Windows(
        rows,
        generator.integers(1, items + 1, n, dtype=np.int32),
        generator.integers(0, users, n, dtype=np.int32),
        np.arange(n, dtype=np.int64),
    )


def successor_windows(n: int, seed: int) -> Windows:
    """Windows in which each item is followed by the next row: something an adapter can learn."""
    generator = np.random.default_rng(seed)
    first = generator.integers(1, ITEMS + 1, n)
    rows = ((first[:, None] + np.arange(LENGTH + 1) - 1) % ITEMS + 1).astype(np.int32)
    return Windows(rows[:, :-1], rows[:, -1], np.arange(n, dtype=np.int32), np.arange(n, dtype=np.int64))


def in_another_process(code: str, *arguments: object) -> str:
    """What a fresh Python prints; the code finds the arguments in sys.argv."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "random"}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()
