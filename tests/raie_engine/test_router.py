from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from raie.engine.backbones import Contexts, SasRec
from raie.engine.config import RegionConfig
from raie.engine.data.windows import Windows
from raie.engine.errors import DamagedArtifact, InputError, NotFinite, WrongBackbone
from raie.engine.regions.region_map import fit_regions
from raie.engine.regions.space import fit_space
from raie.engine.router import BLOCK_ROWS, Router, encode_windows
from raie.engine.training.adapter import Adapter
from raie.engine.training.train_adapter import adapter_scores
from tests.raie_engine.world import (
    World,
    in_another_process,
    random_adapter,
    random_backbone,
    random_windows,
    with_transitions,
)

ITEMS, LENGTH, REGIONS = 30, 6, 4
BACKBONE = random_backbone()
WINDOWS = random_windows(150, LENGTH, ITEMS, seed=1)
CHUNKS = (torch.randn(2, 16, generator=torch.Generator().manual_seed(2)),)


def router(adapters: dict[int, Adapter], chunks: tuple[torch.Tensor, ...] = ()) -> Router:
    """Four regions of the random windows, of which some have an adapter."""
    encodings = encode_windows(BACKBONE, WINDOWS)
    space = fit_space(encodings, 0, BACKBONE.digest)
    regions, _ = fit_regions(space.project(encodings), RegionConfig(), 0, space.digest, REGIONS)
    backbone = BACKBONE.with_item_rows(torch.cat(chunks)) if chunks else BACKBONE
    return Router(backbone, chunks, space, regions, adapters)


ADAPTERS = {
    0: with_transitions(random_adapter(BACKBONE, [1, 2, 3], seed=1)),
    2: random_adapter(BACKBONE, [9], seed=2),
}
ROUTER = router(ADAPTERS)
OWNER = ROUTER.assign(WINDOWS)


def test_the_windows_of_this_test_reach_every_region() -> None:
    assert set(OWNER.tolist()) == {0, 1, 2, 3}


def test_a_mixed_batch_scores_each_row_as_its_region_alone_does() -> None:
    scores = ROUTER.scores(WINDOWS)
    for region in range(REGIONS):
        rows = region == OWNER
        alone = adapter_scores(BACKBONE, ADAPTERS.get(region))(WINDOWS.take(rows))
        # 1e-5 relative to scores of order ten: the same sums in another order.
        torch.testing.assert_close(scores[torch.from_numpy(rows)], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_a_row_scores_the_same_bits_whatever_the_other_rows_of_its_block_are(seed: int) -> None:
    scores, generator = ROUTER.scores(WINDOWS), np.random.default_rng(seed)
    for region in range(REGIONS):
        row = generator.choice(np.flatnonzero(region == OWNER))
        others = generator.integers(0, len(WINDOWS), BLOCK_ROWS + 5)
        position = generator.integers(0, len(others))
        others[position] = row
        among = ROUTER.scores(WINDOWS.take(others))
        assert torch.equal(among[position], scores[row])


def test_a_window_alone_scores_the_bits_it_scores_among_others() -> None:
    scores = ROUTER.scores(WINDOWS)
    for row in range(0, len(WINDOWS), 13):
        assert torch.equal(ROUTER.scores(WINDOWS.take(slice(row, row + 1)))[0], scores[row])


def test_a_row_scores_the_same_bits_whatever_regions_the_other_rows_are_said_to_belong_to() -> None:
    scores = ROUTER.scores(WINDOWS)
    for region in range(REGIONS):
        mine = region == OWNER
        for neighbour in range(REGIONS):
            again = ROUTER.scores(WINDOWS, np.where(mine, region, neighbour).astype(np.int32))
            assert torch.equal(again[mine], scores[mine])


@pytest.mark.parametrize(
    "others",
    [
        {},
        {2: random_adapter(BACKBONE, [4, 5], seed=7)},
        {1: random_adapter(BACKBONE, [4, 5], seed=7), 3: random_adapter(BACKBONE, list(range(1, 31)), seed=8)},
    ],
    ids=["none", "another", "more"],
)
def test_a_row_scores_the_same_bits_whatever_the_adapters_of_other_regions_are(others: dict[int, Adapter]) -> None:
    mine = OWNER == 0
    scores = ROUTER.scores(WINDOWS)
    again = router({0: ADAPTERS[0], **others}).scores(WINDOWS)
    assert torch.equal(again[mine], scores[mine])


def test_an_adapter_that_an_edit_gives_a_bare_region_changes_no_other_bare_region() -> None:
    bare = OWNER == 1
    before, after = router({}).scores(WINDOWS), router(ADAPTERS).scores(WINDOWS)
    assert torch.equal(before[bare], after[bare])
    edited = OWNER == 0
    assert not torch.allclose(before[edited], after[edited])


def test_items_appended_later_are_invisible_to_regions_that_do_not_know_them() -> None:
    longer = BACKBONE.with_item_rows(CHUNKS[0])
    knows = random_adapter(longer, [31, 32], seed=3)
    scores = router({0: ADAPTERS[0], 3: knows}, CHUNKS).scores(WINDOWS)
    assert scores.shape == (len(WINDOWS), ITEMS + 3)
    assert scores[OWNER == 3, ITEMS + 1 :].isfinite().all()
    for region in (0, 1, 2):
        assert scores[region == OWNER, ITEMS + 1 :].isneginf().all()
    assert scores[:, 0].isneginf().all()
    before = router({0: ADAPTERS[0]}).scores(WINDOWS)
    for region in (0, 1, 2):
        assert torch.equal(scores[region == OWNER, : ITEMS + 1], before[region == OWNER])


def test_the_best_items_leave_out_what_was_seen_unless_asked_for() -> None:
    best = ROUTER.top_k(WINDOWS, ITEMS)
    for row, context in zip(best.rows, WINDOWS.items, strict=True):
        seen = set(context[context > 0].tolist())
        assert not seen & set(row.tolist())
        assert set(row[row > 0].tolist()) == set(range(1, ITEMS + 1)) - seen
    everything = ROUTER.top_k(WINDOWS, ITEMS, exclude_seen=False)
    assert (np.sort(everything.rows, axis=1) == np.arange(1, ITEMS + 1)).all()
    assert (np.diff(everything.scores, axis=1) <= 0).all()


def test_the_best_items_are_those_of_the_scores() -> None:
    scores, best = ROUTER.scores(WINDOWS), ROUTER.top_k(WINDOWS, 3, exclude_seen=False)
    assert best.rows.shape == (len(WINDOWS), 3)
    assert best.rows[:, 0].tolist() == scores.argmax(dim=1).tolist()
    top_scores = scores.gather(1, torch.from_numpy(best.rows))
    assert torch.equal(top_scores, torch.from_numpy(best.scores))


def test_more_windows_than_pass_at_a_time_are_all_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ROUTER.top_k(WINDOWS, 5)
    monkeypatch.setattr("raie.engine.router.TOP_ROWS", BLOCK_ROWS)
    parts = ROUTER.top_k(WINDOWS, 5)
    assert (whole.rows == parts.rows).all()
    assert (whole.scores == parts.scores).all()


def test_where_fewer_items_exist_than_were_asked_for_the_rest_is_empty() -> None:
    window = Windows(
        np.arange(1, 7, dtype=np.int32)[None], *(np.zeros(1, kind) for kind in (np.int32, np.int32, np.int64))
    )
    best = ROUTER.top_k(window, 1000)
    assert best.rows.shape == (1, ITEMS)
    assert (best.rows[0, : ITEMS - 6] > 0).all()
    assert best.rows[0, ITEMS - 6 :].tolist() == [0] * 6


def test_no_window_gives_no_row() -> None:
    none = WINDOWS.take(slice(0, 0))
    assert ROUTER.scores(none).shape == (0, ITEMS + 1)
    assert ROUTER.top_k(none, 3).rows.shape == (0, 3)


def test_encodings_are_those_of_the_backbone_and_the_same_bits_in_every_batch() -> None:
    together = encode_windows(BACKBONE, WINDOWS)
    direct = BACKBONE.encode(Contexts.of(WINDOWS)).numpy()
    np.testing.assert_allclose(together, direct, atol=1e-5)
    for rows in (slice(0, 1), slice(3, 40), slice(60, 150)):
        assert (encode_windows(BACKBONE, WINDOWS.take(rows)) == together[rows]).all()
    assert (encode_windows(BACKBONE, WINDOWS, blocks=1) == together).all()


def test_an_item_that_the_backbone_was_not_trained_with_moves_no_window() -> None:
    longer = BACKBONE.with_item_rows(torch.full((2, 16), 100.0))
    with_new = np.array([[1, 31, 2, 32, 0, 0], [1, 2, 0, 0, 0, 0]], np.int32)
    encodings = encode_windows(longer, replace(WINDOWS.take(slice(0, 2)), items=with_new))
    assert (encodings[0] == encodings[1]).all()


def test_a_region_that_is_not_in_the_map_is_refused_and_not_scored_as_another() -> None:
    with pytest.raises(InputError, match=r"expected regions of \[0, 1, 2, 3\], found \[7\]"):
        ROUTER.scores(WINDOWS.take(slice(0, 2)), np.array([0, 7], np.int32))


def test_parts_of_another_backbone_make_no_router() -> None:
    stranger = random_backbone(seed=5)
    with pytest.raises(WrongBackbone):
        replace(ROUTER, backbone=stranger)
    with pytest.raises(WrongBackbone):
        replace(ROUTER, adapters={0: random_adapter(stranger, [1])})
    with pytest.raises(WrongBackbone):
        replace(ROUTER, space=fit_space(encode_windows(BACKBONE, WINDOWS.take(slice(0, 50))), 0, BACKBONE.digest))


def test_adapters_of_different_ranks_make_no_router() -> None:
    """Stacked beside a wider one, an adapter gives scores of other last bits than alone."""
    with pytest.raises(InputError, match=r"found ranks \[4, 8\]"):
        replace(ROUTER, adapters=ADAPTERS | {3: random_adapter(BACKBONE, [4, 5], rank=8)})


def test_an_adapter_that_knows_more_items_than_the_router_is_refused() -> None:
    longer = BACKBONE.with_item_rows(CHUNKS[0])
    with pytest.raises(DamagedArtifact):
        replace(ROUTER, adapters={0: random_adapter(longer, [32])})


def test_a_backbone_that_diverged_routes_nothing() -> None:
    config, _ = BACKBONE.to_bytes()
    broken = SasRec.from_bytes(config, BACKBONE.to_bytes()[1])
    with torch.no_grad():
        broken.norm.weight.fill_(float("nan"))
    assert broken.digest != BACKBONE.digest
    with pytest.raises(NotFinite):
        ROUTER.space.project(encode_windows(broken, WINDOWS))


def test_a_fresh_process_scores_the_same_bits(world: World, tmp_path: Path) -> None:
    view = world.second.view
    world.memory.write(view.content, tmp_path)
    code = """
import hashlib, sys
from pathlib import Path
from tests.raie_engine.world import Memory
view = Memory.read(Path(sys.argv[1]))
print(hashlib.sha256(view.router.scores(view.holdout).numpy().tobytes()).hexdigest())
"""
    mine = hashlib.sha256(view.router.scores(view.holdout).numpy().tobytes()).hexdigest()
    assert in_another_process(code, tmp_path) == mine
