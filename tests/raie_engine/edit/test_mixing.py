"""What a setup and edits store of a mixture, which rows its counts hold, and what a snapshot without one does."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from raie.engine.config import MIXTURE_PARTS, MixtureConfig
from raie.engine.data.interactions import between
from raie.engine.edit.pipeline import MOST_ANSWERED, PreparedEdit, finish_edit, prepare_edit
from raie.engine.edit.setup import set_up
from raie.engine.errors import DamagedArtifact
from raie.engine.evaluation.metrics import mean_metrics, ranks, without_context
from raie.engine.mixture.log_counts import PAIR_KINDS, LogCounts, count_rows, summed
from raie.engine.mixture.weights import MixtureWeights
from raie.engine.model import LOG_COUNTS, MIXTURE, ModelView, Settings
from raie.engine.training.train_adapter import SHARED
from tests.raie_engine.world import (
    SEED,
    Edited,
    Memory,
    StoredContent,
    World,
    edited,
    in_another_process,
    small_settings,
)


def cut_of(world: World) -> int:
    """The last second that the setup trained on."""
    return max(int(world.view.replay(region).timestamp.max()) for region in world.view.content.regions)


def may_be_counted(world: World) -> np.ndarray:
    """All rows but those by which retention is measured: of users of odd rows, at the end of the setup."""
    rows, cut = world.interactions, cut_of(world)
    asked = (rows.timestamp > cut) & (rows.timestamp <= world.ends[0]) & (rows.user % 2 == 1)
    return np.asarray(~asked)


# --- What is stored.


def test_a_setup_gives_every_region_a_mixture_and_the_counts_that_it_reads(world: World) -> None:
    content = world.view.content
    (shared,) = content.shared[LOG_COUNTS]
    for region, entry in content.regions.items():
        assert entry[LOG_COUNTS] == shared
        weights = MixtureWeights.from_bytes(world.view.get(entry[MIXTURE]))
        assert weights == world.view.mixtures[region].weights
        assert weights.items == len(world.view.catalogue.items)
        assert set(weights.parts) <= set(MIXTURE_PARTS)
    assert set(world.view.router.mixtures) == set(content.regions)


def test_an_edit_gives_the_regions_it_touches_a_mixture_and_leaves_the_others_theirs(world: World) -> None:
    for before, edit in ((world.view, world.first), (world.first.view, world.second)):
        content, touched = edit.view.content, {fact.region for fact in edit.finished.facts}
        (shared,) = content.shared[LOG_COUNTS]
        assert (shared,) != before.content.shared[LOG_COUNTS]
        for region in touched:
            assert content.regions[region][LOG_COUNTS] == shared
            assert edit.view.mixtures[region].weights.items == len(edit.view.catalogue.items)
            mine = MixtureWeights.from_bytes(edit.view.get(content.regions[region][MIXTURE]))
            assert mine == edit.finished.mixed.measured[region].weights
        for region in set(content.regions) - touched:
            kept = before.content.regions[region]
            assert {role: content.regions[region][role] for role in (MIXTURE, LOG_COUNTS)} == {
                role: kept[role] for role in (MIXTURE, LOG_COUNTS)
            }


def test_an_edit_that_touches_nothing_counts_its_rows_for_the_next_one(world: World) -> None:
    settings = world.view.settings
    gate = replace(settings.engine.gate, min_windows=10_000, buffer=10_000)
    view = with_settings(world, replace(settings, engine=replace(settings.engine, gate=gate)))
    prepared = prepare_edit(view, "0" * 64, world.interactions, world.ends[1], seed=SEED, next_region_id=5)
    finished = finish_edit(view, prepared, [])
    assert finished.parts.regions == {}
    assert finished.parts.replaced[LOG_COUNTS] == world.first.finished.parts.replaced[LOG_COUNTS]


def test_a_mixture_without_its_counts_is_refused(world: World) -> None:
    content = world.view.content
    assert isinstance(content, StoredContent)
    entry = {role: digest for role, digest in content.regions[0].items() if role != LOG_COUNTS}
    with pytest.raises(DamagedArtifact, match="counts beside the mixture of region 0"):
        _ = world.memory.view(replace(content, regions={**content.regions, 0: entry})).router


# --- What is counted.


def test_rows_by_which_retention_is_measured_are_never_counted(world: World) -> None:
    rows, counted = world.interactions, may_be_counted(world)
    holdout = {(u, t) for u, t in zip(world.view.holdout.user, world.view.holdout.timestamp, strict=True)}
    assert holdout <= {(u, t) for u, t in zip(rows.user[~counted], rows.timestamp[~counted], strict=True)}
    for view, end in zip((world.view, world.first.view, world.second.view), world.ends, strict=False):
        here = counted & (rows.timestamp <= end)
        counts = view.log_counts
        assert counts is not None
        assert counts.rows == here.sum() < (rows.timestamp <= end).sum()
        assert counts.popularity.tolist() == np.bincount(rows.item[here], minlength=counts.items + 1).tolist()


def test_what_followed_counts_where_its_later_row_may_be_counted(world: World) -> None:
    rows, counted = world.interactions, may_be_counted(world)
    counts = world.second.view.log_counts
    assert counts is not None
    expected = np.zeros((counts.items + 1, counts.items + 1))
    for user in np.unique(rows.user):
        mine = np.flatnonzero((rows.user == user) & (rows.timestamp <= world.ends[2]))
        for before, after in pairwise(mine):
            expected[rows.item[before], rows.item[after]] += counted[after]
            expected[rows.item[after], rows.item[before]] += PAIR_KINDS[0].back * counted[after]
    np.testing.assert_allclose(_dense(counts, 0), expected, rtol=1e-5)


def test_counts_after_two_edits_are_those_of_all_rows_read_at_once(world: World) -> None:
    rows = between(world.interactions, None, world.ends[2])
    setup = rows.of((rows.timestamp <= world.ends[0]) & may_be_counted(world)[: len(rows)])
    counts = world.second.view.log_counts
    assert counts is not None
    once = summed(
        [
            count_rows(setup, None, counts.items, counts.half_life),
            count_rows(rows, world.ends[0], counts.items, counts.half_life),
        ]
    )
    assert counts.rows == once.rows
    np.testing.assert_array_equal(counts.start, once.start)
    np.testing.assert_array_equal(counts.following, once.following)
    np.testing.assert_allclose(counts.pairs, once.pairs, rtol=1e-5)
    np.testing.assert_array_equal(counts.popularity, once.popularity)
    np.testing.assert_allclose(counts.trend, once.trend)


def _dense(counts: LogCounts, kind: int) -> np.ndarray:
    first = np.repeat(np.arange(counts.items + 1), np.diff(counts.start))
    out = np.zeros((counts.items + 1, counts.items + 1))
    out[first, counts.following] = counts.pairs[:, kind]
    return out


def test_a_mixture_is_fitted_and_measured_without_the_rows_that_validate_it(world: World) -> None:
    rows = world.interactions
    for view, edit in ((world.view, world.first), (world.first.view, world.second)):
        assert edit.finished.mixed is not None
        until = edit.prepared.train_until
        measured = next(iter(edit.finished.mixed.measured.values())).log.counts
        assert view.log_counts is not None
        assert measured.rows == view.log_counts.rows + len(between(rows, view.watermark.timestamp, until))
        validate = edit.prepared.windows.timestamp > until
        assert validate.any()
        whole = edit.view.log_counts
        assert whole is not None
        assert whole.rows == measured.rows + len(between(rows, until, edit.view.watermark.timestamp))


def test_the_report_of_a_setup_measures_the_holdout_without_the_rows_beside_it(world: World) -> None:
    rows, view = world.interactions, world.view
    counts = count_rows(between(rows, None, cut_of(world)), None, len(view.catalogue.items))
    mixtures = {
        region: replace(mixture, log=replace(mixture.log, counts=counts))
        for region, mixture in view.mixtures.items()
    }
    router = replace(view.router, mixtures=mixtures)
    assert mean_metrics(ranks(router.scores, view.holdout)) == world.made.report["holdout"]
    assert world.made.report["mixture"]["windows"] == len(view.validation)


# --- Stored, and resumed elsewhere.


def test_an_edit_that_another_process_finishes_gives_the_same_bytes(world: World, tmp_path: Path) -> None:
    world.memory.write(world.view.content, tmp_path / "view")
    (tmp_path / "prepared").write_bytes(world.first.prepared.to_bytes())
    adapters = {
        region: {role: world.memory.put(data) for role, data in result.blobs.items()}
        for region, result in world.first.trained.items()
    }
    asked = {
        region: [result.chosen, result.before, result.after, adapters[region]]
        for region, result in world.first.trained.items()
    }
    world.memory.write(world.view.content, tmp_path / "view")
    (tmp_path / "trained.json").write_text(json.dumps(asked))
    code = """
import hashlib, json, sys
from pathlib import Path
from raie.engine.edit.pipeline import PreparedEdit, finish_edit
from raie.engine.training.train_adapter import TrainedRegion
from tests.raie_engine.world import Memory
folder = Path(sys.argv[1])
view = Memory.read(folder / "view")
prepared = PreparedEdit.from_bytes((folder / "prepared").read_bytes())
trained = [
    TrainedRegion(int(region), {role: view.get(d) for role, d in blobs.items()}, chosen, before, after, 0, 0.0)
    for region, (chosen, before, after, blobs) in json.loads((folder / "trained.json").read_text()).items()
]
parts = finish_edit(view, prepared, trained).parts
sha = lambda data: hashlib.sha256(data).hexdigest()
print(json.dumps([{r: {k: sha(d) for k, d in e.items()} for r, e in parts.regions.items()},
                  {role: sha(data) for role, data in parts.replaced.items()}], sort_keys=True))
"""
    regions, replaced = json.loads(in_another_process(code, tmp_path))
    content = world.first.view.content
    touched = [fact.region for fact in world.first.finished.facts]
    assert {int(region): entry for region, entry in regions.items()} == {r: content.regions[r] for r in touched}
    assert {MIXTURE, LOG_COUNTS} <= set(regions[str(touched[0])])
    assert replaced == {role: content.shared[role][0] for role in replaced}
    assert LOG_COUNTS in replaced


def test_what_the_new_rows_add_to_the_counts_survives_as_bytes(world: World) -> None:
    again = PreparedEdit.from_bytes(world.first.prepared.to_bytes()).counts
    counts = world.first.prepared.counts
    assert counts is not None
    assert again is not None
    assert again.trained.to_bytes() == counts.trained.to_bytes()
    assert again.newest.to_bytes() == counts.newest.to_bytes()


# --- Without a mixture.


def with_settings(world: World, settings: Settings) -> ModelView:
    content = world.view.content
    assert isinstance(content, StoredContent)
    shared = {**content.shared, "settings": (world.memory.put(settings.to_bytes()),)}
    return world.memory.view(replace(content, shared=shared))


def as_version_1(settings: Settings) -> bytes:
    """The settings as the first version stored them, which knew neither a version nor a mixture."""
    values = json.loads(settings.to_bytes())
    assert values.pop("version") == 2
    assert values["engine"].pop("mixture") == {"parts": ""}
    del values["engine"]["edit"]["max_validation"]
    return json.dumps(values).encode()


def plain_settings() -> Settings:
    settings = small_settings()
    engine = replace(settings.engine, mixture=MixtureConfig(""))
    return replace(settings, engine=replace(engine, edit=replace(engine.edit, max_validation=0)))


@pytest.fixture(scope="module")
def old(world: World) -> Edited:
    """A snapshot of the first version, edited today."""
    memory = Memory()
    made = set_up(world.interactions, world.ends[0], plain_settings(), backbone=world.view.backbone_bytes)
    stored = {**made.parts.replaced, "settings": as_version_1(plain_settings())}
    view = memory.view(memory.content(replace(made.parts, replaced=stored)))
    return edited(memory, view, world.interactions, world.ends[1])


def test_a_snapshot_of_the_first_version_has_no_mixture_and_neither_have_its_edits(old: Edited) -> None:
    assert old.view.settings == plain_settings()
    assert old.prepared.counts is None
    assert old.finished.mixed is None
    assert LOG_COUNTS not in old.view.content.shared
    assert not any({MIXTURE, LOG_COUNTS} & set(entry) for entry in old.view.content.regions.values())
    assert old.view.router.mixtures == {}
    assert any("transitions" in entry for entry in old.view.content.regions.values())


def test_a_snapshot_of_the_first_version_leaves_out_the_context_in_scores_and_lists_alike(
    world: World, old: Edited
) -> None:
    router, windows = old.view.router, world.view.holdout
    logits = router.model_scores(windows, router.assign(windows))
    scores = router.scores(windows)
    assert torch.equal(scores, without_context(logits, windows))
    had = torch.from_numpy(windows.items).long()
    assert logits.gather(1, had)[had > 0].isfinite().any()
    best = router.top_k(windows, scores.shape[1])
    assert not (best.rows[:, :, None] == windows.items[:, None, :]).any(where=best.rows[:, :, None] > 0)
    where = torch.from_numpy(best.rows)
    shown = where > 0
    assert torch.equal(scores.gather(1, where)[shown], torch.from_numpy(best.scores)[shown])
    assert (scores.isfinite().sum(dim=1) == shown.sum(dim=1)).all()


def test_transition_counts_are_kept_only_where_nothing_is_mixed(world: World, old: Edited) -> None:
    assert not any("transitions" in result.blobs for result in world.first.trained.values())
    trained = [result for result in old.trained.values() if result.chosen == "trained" and result.blobs]
    assert SHARED in old.trained
    assert trained
    assert all("transitions" in result.blobs for result in trained)


# --- What the snapshot before had to answer.


def test_a_prepared_edit_holds_the_new_interactions_as_the_snapshot_had_to_answer_them(world: World) -> None:
    for view, edit in ((world.view, world.first), (world.first.view, world.second)):
        answered, mark = edit.prepared.answered, view.watermark.timestamp
        known = len(view.backbone.item_table()) - 1
        assert 0 < len(answered) <= MOST_ANSWERED
        assert int(answered.timestamp.min()) > mark
        assert int(answered.timestamp.max()) <= edit.prepared.watermark.timestamp
        assert max(int(answered.items.max()), int(answered.target.max())) <= known
        assert (answered.length > 0).all()


def test_the_weights_of_an_edit_depend_on_them(world: World) -> None:
    view, edit = world.view, world.first
    fewer = replace(edit.prepared, answered=edit.prepared.answered.take(slice(0, 0)))
    trained = [*edit.trained.values()]
    without = finish_edit(view, fewer, trained)
    assert without.mixed is not None
    assert edit.finished.mixed is not None
    assert without.mixed.fitted.windows < edit.finished.mixed.fitted.windows
    assert without.mixed.fitted.weights != edit.finished.mixed.fitted.weights
    assert without.parts.replaced[LOG_COUNTS] == edit.finished.parts.replaced[LOG_COUNTS]
