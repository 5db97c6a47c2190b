from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from raie.engine.backbones import Contexts, SasRec
from raie.engine.config import MIXTURE_PARTS, RegionConfig
from raie.engine.data.catalogue import Catalogue
from raie.engine.data.interactions import Interactions
from raie.engine.data.windows import Windows, concatenate, last_windows
from raie.engine.errors import DamagedArtifact, InputError, NotFinite, WrongBackbone
from raie.engine.evaluation.metrics import without_context
from raie.engine.mixture.log_counts import count_rows
from raie.engine.mixture.log_parts import LogParts
from raie.engine.mixture.mixture import Mixture
from raie.engine.mixture.repeats import AGES
from raie.engine.mixture.weights import MixtureWeights, PartWeight
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


def mixture(region: int, items: int = ITEMS) -> Mixture:
    """Weights and counts that no other region has."""
    random = np.random.default_rng(region)
    parts = {name: PartWeight(*random.uniform(0.2, 1.5, 2).tolist()) for name in MIXTURE_PARTS}
    weights = MixtureWeights(parts, tuple(random.normal(size=AGES).tolist()), 0.3, items)
    user, item = random.integers(0, 20, 400).astype(np.int32), random.integers(1, ITEMS + 1, 400).astype(np.int32)
    catalogue = Catalogue(tuple(map(str, range(20))), tuple(map(str, range(1, ITEMS + 1))))
    rows = Interactions(user, item, np.arange(400, dtype=np.int64), catalogue)
    return Mixture(weights, LogParts(count_rows(rows, None, ITEMS), items + 1))


def router(
    adapters: dict[int, Adapter], mixed: Mapping[int, Mixture] | None = None, chunks: tuple[torch.Tensor, ...] = ()
) -> Router:
    """Four regions of the random windows, of which some have an adapter."""
    encodings = encode_windows(BACKBONE, WINDOWS)
    space = fit_space(encodings, 0, BACKBONE.digest)
    regions, _ = fit_regions(space.project(encodings), RegionConfig(), 0, space.digest, REGIONS)
    backbone = BACKBONE.with_item_rows(torch.cat(chunks)) if chunks else BACKBONE
    return Router(backbone, chunks, space, regions, adapters, mixed or {})


PLAIN = {0: random_adapter(BACKBONE, [1, 2, 3], seed=1), 2: random_adapter(BACKBONE, [9], seed=2)}
ADAPTERS = {0: with_transitions(PLAIN[0]), 2: PLAIN[2]}
MIXTURES = {region: mixture(region) for region in range(REGIONS)}
BARE, MIXED = router(ADAPTERS), router(PLAIN, MIXTURES)
PARTLY = router(ADAPTERS, {1: MIXTURES[1], 2: MIXTURES[2]})
"""As a model that was set up without mixtures would be, had an edit given some to two of its regions."""
OWNER = BARE.assign(WINDOWS)
every_kind = pytest.mark.parametrize("this", [BARE, MIXED, PARTLY], ids=["bare", "mixed", "partly"])
mixed_or_not = pytest.mark.parametrize("mixed", [{}, MIXTURES], ids=["bare", "mixed"])


def test_the_windows_of_this_test_reach_every_region() -> None:
    assert set(OWNER.tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("adapters", [ADAPTERS, PLAIN], ids=["with transitions", "without"])
def test_a_mixed_batch_has_for_each_row_the_logits_of_its_region_alone(adapters: dict[int, Adapter]) -> None:
    scores = router(adapters).model_scores(WINDOWS, OWNER)
    for region in range(REGIONS):
        rows = region == OWNER
        alone = adapter_scores(BACKBONE, adapters.get(region))(WINDOWS.take(rows))
        # 1e-5 relative to scores of order ten: the same sums in another order.
        torch.testing.assert_close(scores[torch.from_numpy(rows)], alone, rtol=1e-5, atol=1e-5)


def test_mixtures_change_no_logit_of_the_model() -> None:
    bare, mixed = router(PLAIN).model_scores(WINDOWS, OWNER), MIXED.model_scores(WINDOWS, OWNER)
    assert torch.equal(bare, mixed)


def test_the_scores_of_a_region_without_a_mixture_are_its_logits_without_the_context() -> None:
    logits = BARE.model_scores(WINDOWS, OWNER)
    assert torch.equal(BARE.scores(WINDOWS), without_context(logits, WINDOWS))
    assert torch.equal(BARE.scores(WINDOWS, exclude_seen=False), logits)
    rest = (OWNER == 0) | (OWNER == 3)
    assert torch.equal(PARTLY.scores(WINDOWS)[rest], BARE.scores(WINDOWS)[rest])


def test_the_scores_of_a_region_are_what_its_mixture_makes_of_its_logits() -> None:
    logits, scores = MIXED.model_scores(WINDOWS, OWNER), MIXED.scores(WINDOWS)
    for region in range(REGIONS):
        rows = region == OWNER
        assert torch.equal(scores[rows], MIXTURES[region].joined(logits[rows], WINDOWS.take(rows)))
    wrong = (OWNER + 1) % REGIONS
    assert not torch.equal(MIXED.scores(WINDOWS, wrong), scores)


def test_whether_what_was_seen_counts_is_learned_left_out_or_of_no_difference() -> None:
    learned, out, indifferent = (MIXED.scores(WINDOWS, exclude_seen=seen) for seen in (None, True, False))
    seen = torch.zeros_like(learned, dtype=torch.bool).scatter(1, torch.from_numpy(WINDOWS.items).long(), True)
    seen[:, 0] = False
    assert learned[seen].isfinite().all()
    assert out[seen].isneginf().all()
    assert torch.equal(out[~seen], learned[~seen])
    assert torch.equal(indifferent[~seen], learned[~seen])
    assert (indifferent[seen] != learned[seen]).all()


def test_what_was_seen_is_what_the_history_holds_and_not_the_context_alone() -> None:
    windows = last_windows([[7, 8, *range(1, LENGTH + 1)]], LENGTH)
    for this in (BARE, MIXED):
        assert this.scores(windows, exclude_seen=True)[0, [7, 8]].isneginf().all()
    assert BARE.scores(windows)[0, [7, 8]].isfinite().all()
    assert not torch.equal(MIXED.scores(windows)[0, [7, 8]], MIXED.scores(windows, exclude_seen=False)[0, [7, 8]])


@every_kind
@pytest.mark.parametrize("seed", range(3))
def test_a_row_scores_the_same_bits_whatever_the_other_rows_of_its_block_are(this: Router, seed: int) -> None:
    scores, generator = this.scores(WINDOWS), np.random.default_rng(seed)
    for region in range(REGIONS):
        row = generator.choice(np.flatnonzero(region == OWNER))
        others = generator.integers(0, len(WINDOWS), BLOCK_ROWS + 5)
        position = generator.integers(0, len(others))
        others[position] = row
        among = this.scores(WINDOWS.take(others))
        assert torch.equal(among[position], scores[row])


@every_kind
@pytest.mark.parametrize("seen", [None, True, False])
def test_a_window_alone_scores_the_bits_it_scores_among_others(this: Router, *, seen: bool | None) -> None:
    scores = this.scores(WINDOWS, exclude_seen=seen)
    for row in range(0, len(WINDOWS), 13):
        alone = this.scores(WINDOWS.take(slice(row, row + 1)), exclude_seen=seen)
        assert torch.equal(alone[0], scores[row])


@every_kind
def test_a_row_scores_the_same_bits_whatever_regions_the_other_rows_are_said_to_belong_to(this: Router) -> None:
    scores = this.scores(WINDOWS)
    for region in range(REGIONS):
        mine = region == OWNER
        for neighbour in range(REGIONS):
            again = this.scores(WINDOWS, np.where(mine, region, neighbour).astype(np.int32))
            assert torch.equal(again[mine], scores[mine])


@mixed_or_not
@pytest.mark.parametrize(
    "others",
    [
        {},
        {2: random_adapter(BACKBONE, [4, 5], seed=7)},
        {1: random_adapter(BACKBONE, [4, 5], seed=7), 3: random_adapter(BACKBONE, list(range(1, 31)), seed=8)},
    ],
    ids=["none", "another", "more"],
)
def test_a_row_scores_the_same_bits_whatever_the_adapters_of_other_regions_are(
    others: dict[int, Adapter], mixed: Mapping[int, Mixture]
) -> None:
    mine = OWNER == 0
    scores = router(ADAPTERS, mixed).scores(WINDOWS)
    again = router({0: ADAPTERS[0], **others}, mixed).scores(WINDOWS)
    assert torch.equal(again[mine], scores[mine])


@pytest.mark.parametrize("others", [{}, {1: mixture(11), 2: mixture(12), 3: mixture(13)}], ids=["none", "others"])
def test_a_row_scores_the_same_bits_whatever_the_mixtures_of_other_regions_are(others: dict[int, Mixture]) -> None:
    mine, scores = OWNER == 0, MIXED.scores(WINDOWS)
    again = router(PLAIN, {0: MIXTURES[0], **others}).scores(WINDOWS)
    assert torch.equal(again[mine], scores[mine])
    assert not torch.equal(again[~mine], scores[~mine])


@mixed_or_not
def test_an_adapter_that_an_edit_gives_a_bare_region_changes_no_other_bare_region(
    mixed: Mapping[int, Mixture],
) -> None:
    bare = OWNER == 1
    before, after = router({}, mixed).scores(WINDOWS), router(ADAPTERS, mixed).scores(WINDOWS)
    assert torch.equal(before[bare], after[bare])
    edited = OWNER == 0
    assert not torch.allclose(before[edited], after[edited])


@mixed_or_not
def test_items_appended_later_are_invisible_to_regions_that_do_not_know_them(mixed: Mapping[int, Mixture]) -> None:
    longer = BACKBONE.with_item_rows(CHUNKS[0])
    knows = random_adapter(longer, [31, 32], seed=3)
    newer = {**mixed, 3: mixture(3, ITEMS + 2)} if mixed else {}
    scores = router({0: ADAPTERS[0], 3: knows}, newer, CHUNKS).scores(WINDOWS)
    assert scores.shape == (len(WINDOWS), ITEMS + 3)
    assert scores[OWNER == 3, ITEMS + 1 :].isfinite().all()
    for region in (0, 1, 2):
        assert scores[region == OWNER, ITEMS + 1 :].isneginf().all()
    assert scores[:, 0].isneginf().all()
    before = router({0: ADAPTERS[0]}, mixed).scores(WINDOWS)
    for region in (0, 1, 2):
        assert torch.equal(scores[region == OWNER, : ITEMS + 1], before[region == OWNER])


def test_the_best_items_of_a_region_without_a_mixture_leave_out_what_was_seen_unless_asked_for() -> None:
    best = BARE.top_k(WINDOWS, ITEMS)
    for row, context in zip(best.rows, WINDOWS.items, strict=True):
        seen = set(context[context > 0].tolist())
        assert not seen & set(row.tolist())
        assert set(row[row > 0].tolist()) == set(range(1, ITEMS + 1)) - seen
    everything = BARE.top_k(WINDOWS, ITEMS, exclude_seen=False)
    assert (np.sort(everything.rows, axis=1) == np.arange(1, ITEMS + 1)).all()
    assert (np.diff(everything.scores, axis=1) <= 0).all()


def test_the_best_items_of_a_mixture_hold_what_was_seen_unless_it_is_left_out() -> None:
    learned, out = MIXED.top_k(WINDOWS, ITEMS), MIXED.top_k(WINDOWS, ITEMS, exclude_seen=True)
    assert (np.sort(learned.rows, axis=1) == np.arange(1, ITEMS + 1)).all()
    for row, context in zip(out.rows, WINDOWS.items, strict=True):
        assert set(row[row > 0].tolist()) == set(range(1, ITEMS + 1)) - set(context.tolist())


@every_kind
@pytest.mark.parametrize("seen", [None, True, False])
def test_the_best_items_are_those_of_the_scores(this: Router, *, seen: bool | None) -> None:
    scores = this.scores(WINDOWS, exclude_seen=seen)
    best = this.top_k(WINDOWS, 3, exclude_seen=seen)
    assert best.rows.shape == (len(WINDOWS), 3)
    assert best.rows[:, 0].tolist() == scores.argmax(dim=1).tolist()
    top_scores = scores.gather(1, torch.from_numpy(best.rows))
    assert torch.equal(top_scores, torch.from_numpy(best.scores))


@every_kind
def test_the_best_items_are_those_of_the_regions_that_are_named(this: Router) -> None:
    shifted = ((OWNER + 1) % REGIONS).astype(np.int32)
    best = this.top_k(WINDOWS, 3, regions=shifted)
    assert best.rows[:, 0].tolist() == this.scores(WINDOWS, shifted).argmax(dim=1).tolist()
    assert (best.rows != this.top_k(WINDOWS, 3).rows).any()


@every_kind
def test_more_windows_than_pass_at_a_time_are_all_answered(this: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = this.top_k(WINDOWS, 5)
    monkeypatch.setattr("raie.engine.router.TOP_ROWS", BLOCK_ROWS)
    parts = this.top_k(WINDOWS, 5)
    assert (whole.rows == parts.rows).all()
    assert (whole.scores == parts.scores).all()


def test_where_fewer_items_exist_than_were_asked_for_the_rest_is_empty() -> None:
    window = Windows(
        np.arange(1, 7, dtype=np.int32)[None], *(np.zeros(1, kind) for kind in (np.int32, np.int32, np.int64))
    )
    for best in (BARE.top_k(window, 1000), MIXED.top_k(window, 1000, exclude_seen=True)):
        assert best.rows.shape == (1, ITEMS)
        assert (best.rows[0, : ITEMS - 6] > 0).all()
        assert best.rows[0, ITEMS - 6 :].tolist() == [0] * 6


@every_kind
def test_no_window_gives_no_row(this: Router) -> None:
    none = WINDOWS.take(slice(0, 0))
    assert this.scores(none).shape == (0, ITEMS + 1)
    assert this.top_k(none, 3).rows.shape == (0, 3)


def test_a_history_of_nothing_known_scores_what_is_popular_by_recency_in_every_region() -> None:
    empty = last_windows([[]] * REGIONS, LENGTH)
    together = concatenate([empty, WINDOWS.take(slice(0, 20))])
    regions = np.concatenate([np.arange(REGIONS), OWNER[:20]]).astype(np.int32)
    scores = MIXED.scores(together, regions)
    assert not scores.isnan().any()
    for region in range(REGIONS):
        trend = MIXTURES[region].log.counts.trend
        ordered = scores[region].argsort(descending=True, stable=True)[:5].tolist()
        assert ordered == np.argsort(-trend, kind="stable")[:5].tolist()
    assert torch.equal(scores[REGIONS:], MIXED.scores(WINDOWS.take(slice(0, 20))))


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
        BARE.scores(WINDOWS.take(slice(0, 2)), np.array([0, 7], np.int32))


def test_parts_of_another_backbone_make_no_router() -> None:
    stranger = random_backbone(seed=5)
    with pytest.raises(WrongBackbone):
        replace(BARE, backbone=stranger)
    with pytest.raises(WrongBackbone):
        replace(BARE, adapters={0: random_adapter(stranger, [1])})
    with pytest.raises(WrongBackbone):
        replace(BARE, space=fit_space(encode_windows(BACKBONE, WINDOWS.take(slice(0, 50))), 0, BACKBONE.digest))


def test_adapters_of_different_ranks_make_no_router() -> None:
    """Stacked beside a wider one, an adapter gives scores of other last bits than alone."""
    with pytest.raises(InputError, match=r"found ranks \[4, 8\]"):
        replace(BARE, adapters=ADAPTERS | {3: random_adapter(BACKBONE, [4, 5], rank=8)})


def test_an_adapter_that_knows_more_items_than_the_router_is_refused() -> None:
    longer = BACKBONE.with_item_rows(CHUNKS[0])
    with pytest.raises(DamagedArtifact):
        replace(BARE, adapters={0: random_adapter(longer, [32])})


def test_a_backbone_that_diverged_routes_nothing() -> None:
    config, _ = BACKBONE.to_bytes()
    broken = SasRec.from_bytes(config, BACKBONE.to_bytes()[1])
    with torch.no_grad():
        broken.norm.weight.fill_(float("nan"))
    assert broken.digest != BACKBONE.digest
    with pytest.raises(NotFinite):
        BARE.space.project(encode_windows(broken, WINDOWS))


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
