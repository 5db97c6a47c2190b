"""The router on mixed batches against the frozen backbone alone in blocks of the same size: ratios of processor time.

Every linear layer has LoRA of rank 8; with item updates each region has rows of rank 64 for 400 items of its own.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from raie.engine.backbones import Contexts, ModelShape, SasRec
from raie.engine.config import AdapterConfig
from raie.engine.data.windows import Windows
from raie.engine.evaluation.metrics import highest, without_context
from raie.engine.regions.region_map import RegionMap
from raie.engine.regions.space import fit_space
from raie.engine.router import BLOCK_ROWS, Router, encode_windows
from raie.engine.training.adapter import Adapter, fresh_adapter
from tests.benchmarks.measuring import columns
from tests.raie_engine.world import random_windows

pytestmark = pytest.mark.benchmark

ITEMS, LENGTH, DIM, ROWS, BEST, ROUNDS = 3706, 50, 128, 512, 10, 7
REGIONS, UPDATED, ITEM_RANK = (8, 64, 512), 400, 64
BACKBONE = SasRec.fresh(ModelShape(ITEMS, LENGTH, DIM, layers=2, heads=2), seed=0).eval().requires_grad_(False)


def adapter(region: int, updated: int) -> Adapter:
    """An adapter that changes every layer; its item rows start from zero, so that they are drawn here."""
    generator = torch.Generator().manual_seed(region)
    items = (torch.randperm(ITEMS, generator=generator)[:updated] + 1).sort().values
    made = fresh_adapter(BACKBONE, AdapterConfig(rank=8, alpha=16, item_rank=ITEM_RANK), items, seed=region)
    drawn = {
        name: 0.02 * torch.randn(value.shape, generator=generator) for name, value in made.parameters().items()
    }
    return made.with_parameters(drawn)


def router(regions: int, updated: int) -> Router:
    """Regions with an adapter each; where they lie does not matter, for the windows name their regions."""
    space = fit_space(encode_windows(BACKBONE, random_windows(64, LENGTH, ITEMS, seed=2)), 0, BACKBONE.digest)
    centres = np.random.default_rng(0).standard_normal((regions, DIM)).astype(np.float32)
    region_map = RegionMap(
        ids=np.arange(regions, dtype=np.int32),
        centres=centres / np.linalg.norm(centres, axis=1, keepdims=True),
        radius=np.full(regions, 1.1, np.float32),
        max_radius=np.full(regions, 1.3, np.float32),
        concentration=np.full(regions, 60, np.float32),
        count=np.full(regions, 10),
        space=space.digest,
    )
    return Router(BACKBONE, (), space, region_map, {region: adapter(region, updated) for region in range(regions)})


def backbone_alone(windows: Windows) -> None:
    """What answering takes without any adapter: the same blocks, scores of all items, and the best of them."""
    table = BACKBONE.item_table().T.contiguous()
    with torch.inference_mode():
        scores = [
            BACKBONE.encode(Contexts.of(windows.take(slice(start, start + BLOCK_ROWS)))) @ table
            for start in range(0, len(windows), BLOCK_ROWS)
        ]
        highest(without_context(torch.cat(scores), windows), BEST)


def seconds(work: Callable[[], object]) -> float:
    gc.collect(0)
    begun = time.process_time()
    work()
    return time.process_time() - begun


def measured(this: Router, windows: Windows, regions: np.ndarray) -> tuple[float, float, float]:
    """The median ratio of the backbone's time to the router's, and the medians of both in seconds."""
    ours, alone = partial(this.top_k, windows, BEST, regions=regions), partial(backbone_alone, windows)
    ours(), alone()
    pairs = [(seconds(alone), seconds(ours)) for _ in range(ROUNDS)]
    ratio = statistics.median(bare / mixed for bare, mixed in pairs)
    return ratio, *(statistics.median(times) for times in zip(*pairs, strict=True))  # type: ignore[return-value]


def test_a_mixed_batch_against_the_frozen_backbone() -> None:
    windows, generator, rows = random_windows(ROWS, LENGTH, ITEMS, seed=1), np.random.default_rng(3), []
    torch.set_num_threads(1)
    for regions in REGIONS:
        for updated in (0, UPDATED):
            this = router(regions, updated)
            ratio, bare, ours = measured(this, windows, generator.integers(0, regions, ROWS).astype(np.int32))
            rows.append((regions, updated, f"{ratio:.2f}", f"{1000 * bare:.0f}", f"{1000 * ours:.0f}"))
    print(
        f"\n{columns(('regions', 'items updated', 'speed of the backbone alone', 'alone ms', 'router ms'), rows)}"
    )
