from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from raie.engine.backbones import load_backbone
from raie.engine.bytes.arrays import pack
from raie.engine.config import MixtureConfig
from raie.engine.data.catalogue import Catalogue
from raie.engine.data.interactions import Interactions
from raie.engine.data.sampling import keep_sample, newest, split_setup
from raie.engine.data.windows import Windows, concatenate
from raie.engine.edit.pipeline import PreparedEdit, finish_edit, new_windows, prepare_edit
from raie.engine.edit.planner import without
from raie.engine.edit.setup import set_up
from raie.engine.edit.training_tasks import own_epochs, region_tasks, shared_task
from raie.engine.errors import ConfigError, DamagedArtifact, NothingToEdit
from raie.engine.model import LOG_COUNTS, MIXTURE, ModelView, Settings
from raie.engine.regions.gate import Action
from raie.engine.regions.region_map import region_state
from raie.engine.training.train_adapter import SHARED, TrainedRegion, train_regions
from raie.engine.training.transition_counts import TransitionCounts, count_transitions
from tests.raie_engine.world import (
    SEED,
    Edited,
    Memory,
    StoredContent,
    World,
    edited,
    in_another_process,
    random_windows,
    small_settings,
)


def prepare(view: ModelView, interactions: Interactions, until: int | None, **changed: object) -> PreparedEdit:
    options = {"seed": SEED, "next_region_id": max(view.content.regions) + 1} | changed
    return prepare_edit(view, "0" * 64, interactions, until, **options)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_the_log_of_this_test_updates_expands_adds_and_rejects(world: World) -> None:
    actions = {
        operation.action for edit in (world.first, world.second) for operation in edit.prepared.plan.operations
    }
    assert actions == {Action.UPDATE, Action.EXPAND, Action.ADD}
    assert len(world.first.prepared.plan.added) >= 2
    assert len(world.first.finished.rejected) == 1
    assert set(world.first.finished.region_map.ids) > set(range(5)), "no region was added"
    assert len(world.first.prepared.item_rows)
    assert not set(world.first.prepared.plan.touched) & set(world.second.prepared.plan.touched)


def test_a_plan_and_everything_decided_before_training_are_the_same_in_another_process(
    world: World, tmp_path: Path
) -> None:
    world.memory.write(world.view.content, tmp_path)
    code = """
import hashlib, sys
from pathlib import Path
from raie.engine.edit.pipeline import prepare_edit
from raie.engine.data.interactions import read_log
from raie.engine.data.synthetic import drifting_log, write_csv
from tests.raie_engine.world import SEED, SMALL_LOG, Memory
folder = Path(sys.argv[1])
write_csv(drifting_log(SMALL_LOG), folder / "log.csv")
view = Memory.read(folder)
interactions = read_log(folder / "log.csv", catalogue=view.catalogue)
prepared = prepare_edit(view, "0" * 64, interactions, int(sys.argv[2]), seed=SEED, next_region_id=5)
print(prepared.plan.digest, hashlib.sha256(prepared.to_bytes()).hexdigest())
"""
    prepared = world.first.prepared
    expected = f"{prepared.plan.digest} {sha(prepared.to_bytes())}"
    assert in_another_process(code, tmp_path, world.ends[1]) == expected


def test_everything_decided_before_training_survives_as_bytes(world: World) -> None:
    for edit in (world.first, world.second):
        again = PreparedEdit.from_bytes(edit.prepared.to_bytes())
        assert again.plan == edit.prepared.plan
        assert again.windows.digest == edit.prepared.windows.digest
        assert (again.vectors == edit.prepared.vectors).all()
        assert torch.equal(again.item_rows, edit.prepared.item_rows)
        for name in ("catalogue_chunk", "watermark", "late", "train_until"):
            assert getattr(again, name) == getattr(edit.prepared, name)
        assert again.to_bytes() == edit.prepared.to_bytes()


def test_damaged_preparations_are_refused(world: World) -> None:
    data = world.first.prepared.to_bytes()
    arrays = {name: np.zeros(0, np.uint8) for name in ("plan", "windows", "catalogue")}
    arrays |= {name: np.zeros((0, 16), np.float32) for name in ("vectors", "item_rows")}
    headless = pack({"kind": "prepared_edit", "late": 0}, arrays)
    hollow = pack(
        {"kind": "prepared_edit", "late": 0, "train_until": 0, "watermark": {"timestamp": 0, "rows": 0}}, arrays
    )
    for damaged in (data[:-1], b"", headless, hollow):
        with pytest.raises(DamagedArtifact):
            PreparedEdit.from_bytes(damaged)


def test_an_edit_leaves_the_regions_it_does_not_touch_byte_for_byte(world: World) -> None:
    for before, edit in ((world.view, world.first), (world.first.view, world.second)):
        touched = set(edit.prepared.plan.touched)
        untouched = set(before.content.regions) - touched
        assert untouched
        assert all(edit.view.content.regions[region] == before.content.regions[region] for region in untouched)
        accepted = touched - set(edit.finished.rejected)
        assert all(edit.view.content.regions[region] != before.content.regions.get(region) for region in accepted)


def test_windows_routed_to_untouched_regions_score_the_same_bits_after_an_edit(world: World) -> None:
    for before, edit in ((world.view, world.first), (world.first.view, world.second)):
        windows = world.view.holdout
        old, new = before.router.assign(windows), edit.view.router.assign(windows)
        elsewhere = (old == new) & ~np.isin(new, edit.prepared.plan.touched)
        assert elsewhere.sum() > 3
        scores, now = before.router.scores(windows), edit.view.router.scores(windows)
        assert torch.equal(now[elsewhere, : scores.shape[1]], scores[elsewhere])
        assert now[elsewhere, scores.shape[1] :].isneginf().all()
        touched = (old == new) & ~elsewhere
        assert not torch.equal(now[touched, : scores.shape[1]], scores[touched])


def test_the_backbone_is_the_same_before_and_after_every_training(world: World) -> None:
    digest = world.made.report["backbone"]["digest"]
    for view in (world.view, world.first.view, world.second.view):
        assert load_backbone(*view.backbone_bytes).digest == digest
        # The model that was trained with, and not only its stored bytes.
        assert load_backbone(*view.backbone.to_bytes()).digest == digest


def test_rolling_back_gives_the_old_scores_bit_for_bit_in_a_fresh_process(world: World, tmp_path: Path) -> None:
    view = world.view
    world.memory.write(view.content, tmp_path)
    code = """
import hashlib, sys
from pathlib import Path
from tests.raie_engine.world import Memory
view = Memory.read(Path(sys.argv[1]))
print(hashlib.sha256(view.router.scores(view.holdout).numpy().tobytes()).hexdigest())
"""
    assert in_another_process(code, tmp_path) == sha(view.router.scores(view.holdout).numpy().tobytes())


def test_taking_back_the_first_edit_keeps_the_second_ones_regions_and_their_scores(world: World) -> None:
    """What a rollback of edit 1 under edit 2 leaves: regions of edit 1 as before it, all else as it is."""
    head, base = world.second.view.content, world.view.content
    assert isinstance(head, StoredContent)
    first = set(world.first.finished.region_map.ids.tolist()) - set(base.regions)
    first |= set(world.first.prepared.plan.touched) & set(base.regions)
    regions = {region: entry for region, entry in head.regions.items() if region not in first}
    regions |= {region: base.regions[region] for region in first & set(base.regions)}
    undone = world.memory.view(replace(head, regions=regions))
    windows = world.second.prepared.windows
    second = [region for region in world.second.prepared.plan.touched if region in head.regions]
    assert second
    for region in second:
        assert undone.content.regions[region] == head.regions[region]
    here = undone.router.assign(windows)
    kept = (here == world.second.view.router.assign(windows)) & np.isin(here, second)
    assert kept.sum() > 10
    assert torch.equal(undone.router.scores(windows)[kept], world.second.view.router.scores(windows)[kept])


def test_the_same_edit_gives_the_same_bytes_however_many_processes_train_it(world: World) -> None:
    again = edited(world.memory, world.view, world.interactions, world.ends[1], workers=2)
    assert again.view.content == world.first.view.content


def test_another_seed_is_another_edit(world: World) -> None:
    reseeded = edited(world.memory, world.view, world.interactions, world.ends[1], seed=7)
    assert reseeded.view.content != world.first.view.content
    assert reseeded.view.content.backbone == world.first.view.content.backbone


def test_new_items_and_users_are_appended_and_old_rows_stay(world: World) -> None:
    old, new = world.view.catalogue, world.first.view.catalogue
    assert new.items[: len(old.items)] == old.items
    assert len(new.items) > len(old.items)
    assert new.users[: len(old.users)] == old.users
    chunks = world.first.view.content.shared["catalogue"]
    assert chunks[:1] == world.view.content.shared["catalogue"]
    table, longer = world.view.backbone.item_table(), world.first.view.backbone.item_table()
    assert torch.equal(longer[: len(table)], table)
    assert len(longer) == len(new.items) + 1
    assert torch.equal(world.second.view.item_chunks[0], world.first.view.item_chunks[0])


def test_every_new_id_up_to_the_end_of_the_edit_gets_a_row_and_no_later_one(world: World) -> None:
    read = world.interactions.timestamp <= world.ends[1]
    assert len(world.first.view.catalogue.items) == int(world.interactions.item[read].max())
    assert len(world.first.view.catalogue.users) == int(world.interactions.user[read].max()) + 1


def test_only_rows_after_the_watermark_are_read(world: World) -> None:
    windows = world.second.prepared.windows
    assert windows.timestamp.min() > world.first.view.watermark.timestamp
    assert windows.timestamp.max() <= world.ends[2]
    assert world.second.view.watermark.timestamp == world.ends[2]


def test_nothing_new_after_the_watermark_is_nothing_to_edit(world: World) -> None:
    for until in (world.ends[1], world.ends[0], world.ends[1] + 60):
        with pytest.raises(NothingToEdit, match="after the watermark"):
            prepare(world.first.view, world.interactions, until)


def with_rows(log: Interactions, timestamps: list[int]) -> Interactions:
    """The log with more rows, of user 0 and item 1, at these times."""
    extra = len(timestamps)
    timestamp = np.concatenate([log.timestamp, np.array(timestamps, np.int64)])
    order = np.argsort(timestamp, kind="stable")
    user = np.concatenate([log.user, np.zeros(extra, np.int32)])[order]
    item = np.concatenate([log.item, np.ones(extra, np.int32)])[order]
    return Interactions(user, item, timestamp[order], log.catalogue)


def test_rows_that_come_too_late_are_counted_and_change_no_window(world: World) -> None:
    before = int(world.interactions.timestamp[5])
    late = prepare(world.view, with_rows(world.interactions, [before, before + 1, before + 2]), world.ends[1])
    assert (late.late, world.first.prepared.late) == (3, 0)
    assert late.windows.digest == world.first.prepared.windows.digest
    assert late.plan.digest == world.first.prepared.plan.digest


def test_the_windows_of_a_rejected_addition_wait_in_the_buffer(world: World) -> None:
    plan, rejected = world.first.prepared.plan, world.first.finished.rejected
    pending = int((plan.region == -1).sum()) + sum(plan.operation(region).windows for region in rejected)
    assert len(world.first.view.buffer) == pending
    assert not set(rejected) & set(world.first.view.content.regions)
    for region in rejected:
        rows, _ = plan.rows(region)
        buffered = {row.tobytes() for row in world.first.view.buffer.windows.items}
        assert all(row.tobytes() in buffered for row in world.first.prepared.windows.items[rows])


def as_if(trained: Mapping[int, TrainedRegion], **by_region: TrainedRegion) -> list[TrainedRegion]:
    changed = dict(trained) | {int(name.removeprefix("region_")): result for name, result in by_region.items()}
    return [result for region, result in sorted(changed.items()) if region != SHARED]


def test_an_addition_is_accepted_only_on_evidence(world: World) -> None:
    prepared, trained = world.first.prepared, world.first.trained
    refused, added = prepared.plan.added[:2]
    assert world.first.finished.rejected == (refused,)
    assert added in world.first.finished.parts.regions
    unknown = dict.fromkeys(trained[added].before, math.nan)
    no_better = replace(trained[added], before=trained[added].after)
    kept = replace(trained[added], chosen="current")
    for changed in (kept, no_better, replace(trained[added], before=unknown)):
        finished = finish_edit(world.view, prepared, as_if(trained, **{f"region_{added}": changed}))
        assert finished.rejected == (refused, added)
        assert added not in finished.parts.regions


def test_an_existing_region_moves_as_planned_and_keeps_its_adapter_where_training_found_no_better(
    world: World,
) -> None:
    again = world.second.prepared
    region = next(region for region in again.plan.touched if region in world.first.view.content.regions)
    current = world.first.view.adapter_blobs(region) or {}
    kept = replace(world.second.trained[region], chosen="current", blobs=current)
    finished = finish_edit(world.first.view, again, as_if(world.second.trained, **{f"region_{region}": kept}))
    entry = finished.parts.regions[region]
    kept_roles = {
        role: data for role, data in entry.items() if role not in ("state", "replay", MIXTURE, LOG_COUNTS)
    }
    assert kept_roles == current
    before = world.first.view.content.regions[region]
    for role in (MIXTURE, LOG_COUNTS):  # a region that keeps its adapter still learns what the new rows count
        assert world.memory.put(entry[role]) != before[role]
    assert entry["state"] == region_state(finished.region_map, region)
    assert world.memory.put(entry["state"]) != world.first.view.content.regions[region]["state"]


def test_no_region_trains_on_a_window_that_validates_it(world: World) -> None:
    for edit, view in ((world.first, world.view), (world.second, world.first.view)):
        for task in (shared_task(view, edit.prepared), *region_tasks(view, edit.prepared, None)):
            assert (task.new.timestamp <= edit.prepared.train_until).all()
            assert (task.validation.timestamp > edit.prepared.train_until).all()
            trained_on = {(u, t) for u, t in zip(task.replay.user, task.replay.timestamp, strict=True)}
            for held_out in (view.holdout, task.retained):
                assert not trained_on & set(zip(held_out.user, held_out.timestamp, strict=True))


def test_a_region_replays_its_own_past_in_the_stated_ratio(world: World) -> None:
    ratio = small_settings().engine.edit.replay_ratio
    for task in region_tasks(world.view, world.first.prepared, None):
        if task.region in world.view.content.regions:
            past = {row.tobytes() for row in world.view.replay(task.region).items}
            assert len(task.replay) == min(int(ratio * len(task.new)), len(world.view.replay(task.region)))
            assert all(row.tobytes() in past for row in task.replay.items)
        else:
            assert len(task.replay) == 0


def test_the_shared_adapter_goes_on_from_the_one_that_its_regions_know(world: World) -> None:
    assert shared_task(world.view, world.first.prepared).current is None
    shared, touched = world.first.trained[SHARED].blobs, {fact.region for fact in world.first.finished.facts}
    assert shared
    for region in world.first.view.content.regions:
        assert world.first.view.shared_blobs(region) == (shared if region in touched else None)
    assert not touched & set(world.second.prepared.plan.touched)
    assert shared_task(world.first.view, world.second.prepared).current is None
    assert shared_task(world.first.view, world.first.prepared).current == shared


def test_of_several_shared_adapters_the_one_that_most_windows_know_goes_on(world: World) -> None:
    plan, content = world.first.prepared.plan, world.first.view.content
    known = [region for region in plan.touched if "shared_lora" in content.regions.get(region, {})]
    few, *many = sorted(known, key=lambda region: plan.operation(region).windows)
    assert many
    mine, theirs = (edit.trained[SHARED].blobs for edit in (world.first, world.second))
    digests = {f"shared_{role}": world.memory.put(data) for role, data in theirs.items()}
    for changed, expected in (([few], mine), (many, theirs)):
        regions = {region: {**content.regions[region], **digests} for region in changed}
        view = world.memory.view(replace(content, regions={**content.regions, **regions}))
        assert shared_task(view, world.first.prepared).current == expected


@pytest.fixture(scope="module")
def unmixed(world: World) -> ModelView:
    """The snapshot after the first edit without its mixtures: adapters then have item transition counts beside them."""
    settings = world.first.view.settings
    plain = replace(settings, engine=replace(settings.engine, mixture=MixtureConfig("")))
    content = world.first.view.content
    assert isinstance(content, StoredContent)
    regions = {
        region: {role: digest for role, digest in entry.items() if role not in (MIXTURE, LOG_COUNTS)}
        for region, entry in content.regions.items()
    }
    shared = {role: digests for role, digests in content.shared.items() if role != LOG_COUNTS}
    shared["settings"] = (world.memory.put(plain.to_bytes()),)
    return world.memory.view(replace(content, shared=shared, regions=regions))


def test_no_transition_is_counted_where_a_mixture_counts_the_log(world: World) -> None:
    for view, edit in ((world.view, world.first), (world.first.view, world.second)):
        tasks = [shared_task(view, edit.prepared), *region_tasks(view, edit.prepared, None)]
        assert {task.transitions for task in tasks} == {None}


def test_an_edit_counts_item_transitions_in_its_new_and_past_windows(world: World, unmixed: ModelView) -> None:
    view, after = unmixed, edited(world.memory, unmixed, world.interactions, world.ends[2])
    touched = after.prepared.plan.touched
    tasks = region_tasks(view, after.prepared, None)
    past = [view.replay(region) for region in touched if region in view.content.regions]
    windows = concatenate([*(task.new for task in tasks), *past])
    rows, engine = len(view.backbone.item_table()) + len(after.prepared.item_rows), view.settings.engine
    expected = count_transitions(windows, engine.windows.stride, engine.adapter.transition_weight, rows)
    for task in [shared_task(view, after.prepared), *tasks]:
        assert task.transitions is not None
        counted = TransitionCounts.from_bytes(task.transitions)
        assert counted.following.tolist() == expected.following.tolist()
        assert counted.weight == expected.weight
        np.testing.assert_allclose(counted.share, expected.share, rtol=1e-6)
    known = set(after.trained) & set(view.content.regions)  # this file says what became of the others
    changed = [region for region in known if after.trained[region].chosen != "current"]
    assert changed
    for region in changed:
        blobs = after.view.adapter_blobs(region)
        assert blobs is not None
        assert blobs["transitions"] == tasks[0].transitions


def test_a_weight_of_0_counts_nothing(world: World, unmixed: ModelView) -> None:
    view, settings = unmixed, unmixed.settings
    engine = replace(settings.engine, adapter=replace(settings.engine.adapter, transition_weight=0.0))
    digest = world.memory.put(replace(settings, engine=engine).to_bytes())
    content = replace(view.content, shared={**view.content.shared, "settings": (digest,)})
    tasks = region_tasks(world.memory.view(content), world.second.prepared, None)
    assert {task.transitions for task in tasks} == {None}


def test_a_new_region_starts_from_its_nearest_regions_adapter(world: World) -> None:
    plan = world.second.prepared.plan
    tasks = {task.region: task for task in region_tasks(world.first.view, world.second.prepared, None)}
    for region in plan.touched:
        assert tasks[region].current == world.first.view.adapter_blobs(plan.operation(region).nearest)


def test_after_an_edit_a_region_replays_its_windows_too(world: World) -> None:
    region = next(r for r in world.first.prepared.plan.touched if r in world.view.content.regions)
    before, after = world.view.replay(region), world.first.view.replay(region)
    rows, _ = world.first.prepared.plan.rows(region)
    new = world.first.prepared.windows.take(rows)
    learned = int((new.timestamp <= world.first.prepared.train_until).sum())
    assert len(after) == len(before) + learned


def test_an_edit_may_leave_regions_alone_that_still_predict_well(world: World) -> None:
    only = world.first.prepared.plan.touched[:1]
    prepared = prepare(world.view, world.interactions, world.ends[1], only=only)
    assert set(prepared.plan.touched) - set(prepared.plan.added) == set(only)


def test_a_region_that_is_edited_alone_keeps_what_the_shared_adapter_learned_for_it(world: World) -> None:
    region = world.first.prepared.plan.touched[0]
    prepared = prepare(world.view, world.interactions, world.ends[1], only=[region])
    prepared = replace(prepared, plan=without(prepared.plan, prepared.plan.added))
    assert prepared.plan.touched == (region,)
    (shared,) = train_regions([shared_task(world.view, prepared)], 1)
    (alone,) = train_regions(region_tasks(world.view, prepared, shared.blobs), 1)
    assert shared.samples_seen
    assert not alone.samples_seen
    assert alone.chosen == "current" or alone.blobs == shared.blobs
    edit = world.view.settings.engine.edit
    assert own_epochs(edit, 2) == own_epochs(replace(edit, shared_epochs=0), 1) == edit.epochs


def test_routing_vectors_that_are_known_already_change_no_plan(world: World) -> None:
    windows = new_windows(world.view, world.interactions, world.ends[1])
    prepared = prepare(world.view, world.interactions, world.ends[1], vectors=world.view.router.vectors(windows))
    assert prepared.to_bytes() == world.first.prepared.to_bytes()


def test_an_edit_that_touches_nothing_still_moves_the_watermark(world: World) -> None:
    settings = world.view.settings
    gate = replace(settings.engine.gate, min_windows=10_000, buffer=10_000)
    calm = Settings(replace(settings.engine, gate=gate), settings.log)
    content = world.view.content
    assert isinstance(content, StoredContent)
    shared = dict(content.shared) | {"settings": (world.memory.put(calm.to_bytes()),)}
    view = world.memory.view(replace(content, shared=shared))
    prepared = prepare(view, world.interactions, world.ends[1])
    assert prepared.plan.touched == ()
    finished = finish_edit(view, prepared, [])
    assert finished.parts.regions == {}
    after = world.memory.view(world.memory.content(finished.parts, replace(content, shared=shared)))
    assert after.watermark.timestamp == world.ends[1]
    assert after.content.regions == content.regions


def test_a_setup_is_the_same_again(world: World) -> None:
    again = set_up(world.interactions, world.ends[0], small_settings())
    assert Memory().content(again.parts) == world.view.content


def test_a_setup_consumes_its_log_up_to_its_end_and_never_beyond_the_last_row(world: World) -> None:
    assert world.view.watermark.timestamp == world.ends[0]
    last = int(world.interactions.timestamp[-1])
    made, memory = set_up(world.interactions, last + 10**6, small_settings(epochs=1)), Memory()
    assert memory.view(memory.content(made.parts)).watermark.timestamp == last


def test_a_setup_that_holds_no_window_says_how_to_get_one(world: World) -> None:
    with pytest.raises(NothingToEdit, match=r"windows\.min_length"):
        set_up(world.interactions, int(world.interactions.timestamp[3]), small_settings())


def test_a_setup_is_refused_whose_gate_could_never_add(world: World) -> None:
    settings = small_settings()
    gate = replace(settings.engine.gate, policy="paper", high=0.2, margin=0.05)
    settings = replace(settings, engine=replace(settings.engine, gate=gate))
    with pytest.raises(ConfigError, match="makes Add impossible with"):
        set_up(world.interactions, world.ends[0], settings, backbone=world.view.backbone_bytes)


def test_nobody_trains_on_the_held_out_windows_of_a_setup(world: World) -> None:
    replayed = {
        (user, time)
        for region in world.view.content.regions
        for user, time in zip(world.view.replay(region).user, world.view.replay(region).timestamp, strict=True)
    }
    for held_out in (world.view.holdout, world.view.validation):
        assert len(held_out)
        assert not replayed & set(zip(held_out.user, held_out.timestamp, strict=True))


def test_the_newest_windows_are_held_out_and_a_user_is_either_for_validation_or_for_the_holdout() -> None:
    windows = random_windows(100, 4, 9, users=10)
    split = split_setup(windows, 0.2)
    assert [len(part) for part in (split.train, split.validation, split.holdout)] == [
        80,
        int((windows.user[80:] % 2 == 0).sum()),
        int((windows.user[80:] % 2 == 1).sum()),
    ]
    assert split.train.timestamp.max() < min(split.validation.timestamp.min(), split.holdout.timestamp.min())
    assert not set(split.validation.user) & set(split.holdout.user)
    assert newest(windows.take(slice(0, 0)), 0.2).shape == (0,)


def test_a_sample_is_drawn_once_per_seed_and_keeps_the_old_order() -> None:
    windows = random_windows(100, 4, 9)
    first, again, reseeded = (keep_sample(windows, 10, [seed, 1]) for seed in (1, 1, 2))
    assert first.digest == again.digest != reseeded.digest
    assert len(first) == 10
    assert (np.diff(first.timestamp) > 0).all()
    assert keep_sample(windows, 100, [1]) is windows


def test_settings_survive_as_bytes_and_unknown_ones_are_refused(world: World) -> None:
    settings = small_settings()
    assert Settings.from_bytes(settings.to_bytes()) == settings == world.view.settings
    values = json.loads(settings.to_bytes())
    values["engine"]["gate"]["colour"] = 1
    with pytest.raises(ConfigError, match="colour"):
        Settings.from_bytes(json.dumps(values).encode())
    for damaged in (b"", b"[]", b"{}", settings.to_bytes()[:-1]):
        with pytest.raises(DamagedArtifact):
            Settings.from_bytes(damaged)


def test_a_view_reads_only_what_is_asked_for(world: World) -> None:
    asked: list[str] = []

    def get(digest: str) -> bytes:
        asked.append(digest)
        return world.memory.blobs[digest]

    view = ModelView(world.first.view.content, get)
    assert isinstance(view.catalogue, Catalogue)
    assert len(asked) == 2
    assert isinstance(view.holdout, Windows)
    assert len(asked) == 3


def test_a_snapshot_that_lacks_a_part_says_which(world: World) -> None:
    content = world.first.view.content
    assert isinstance(content, StoredContent)
    shared = {role: digests for role, digests in content.shared.items() if role != "watermark"}
    with pytest.raises(DamagedArtifact, match="'watermark'"):
        _ = world.memory.view(replace(content, shared=shared)).watermark
    region = next(region for region, entry in content.regions.items() if "lora" in entry)
    entry = {role: digest for role, digest in content.regions[region].items() if role != "item_rows"}
    with pytest.raises(DamagedArtifact, match=f"region {region}, found no item_rows"):
        _ = world.memory.view(replace(content, regions={**content.regions, region: entry})).router


def test_edits_are_values_that_nothing_changed(world: World) -> None:
    """The fixtures of this file are shared, so a test that changed one would spoil the others."""
    assert isinstance(world.first, Edited)
    assert all(hashlib.sha256(data).hexdigest() == digest for digest, data in world.memory.blobs.items())
