from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from raie.engine.backbones import Bert4RecShape, ModelShape, backbone_class, load_backbone
from raie.engine.config import AdapterConfig, BackboneConfig
from raie.engine.data.windows import Windows
from raie.engine.errors import WorkerLost, WrongBackbone
from raie.engine.training.adapter import Adapter, fresh_adapter
from raie.engine.training.loop import Schedule
from raie.engine.training.train_adapter import (
    TrainedRegion,
    TrainTask,
    adapter_scores,
    fit_adapter,
    sampled_negatives,
    touched_items,
    train_region,
    train_regions,
)
from raie.engine.training.transition_counts import count_transitions
from tests.raie_engine.world import (
    ITEMS,
    LENGTH,
    random_adapter,
    random_backbone,
    random_windows,
    successor_windows,
)

BACKBONE = random_backbone()
NONE = random_windows(0, LENGTH, ITEMS)


def task(**changed: object) -> TrainTask:
    plain = TrainTask(
        region=3,
        backbone=BACKBONE.to_bytes(),
        item_rows=torch.zeros(0, 16),
        current=None,
        shared=None,
        new=successor_windows(60, 0),
        replay=random_windows(20, LENGTH, ITEMS, seed=1),
        validation=successor_windows(30, 2),
        retained=random_windows(10, LENGTH, ITEMS, seed=3),
        positions=2,
        adapter=AdapterConfig(rank=4, alpha=8, item_rank=3),
        schedule=Schedule(epochs=3, batch=16, learning_rate=0.02, seed=1),
    )
    return replace(plain, **changed)


def without_time(result: TrainedRegion) -> TrainedRegion:
    # A NaN is not equal to itself.
    before, after = (
        {name: -1.0 if math.isnan(value) else value for name, value in measured.items()}
        for measured in (result.before, result.after)
    )
    return replace(result, seconds=0.0, before=before, after=after)


def test_the_touched_items_are_those_of_the_windows_once_and_never_padding() -> None:
    windows = Windows(
        np.array([[5, 2, 0], [5, 5, 9]], np.int32),
        np.array([2, 7], np.int32),
        np.zeros(2, np.int32),
        np.zeros(2, np.int64),
    )
    assert touched_items(windows).tolist() == [2, 5, 7, 9]
    assert touched_items(windows.take(slice(0, 0))).tolist() == []


def test_without_item_rows_an_adapter_learns_by_its_layers_alone_and_stays_without() -> None:
    bare = task(adapter=AdapterConfig(rank=4, alpha=8, item_rank=0))
    result = train_region(bare)
    assert result.chosen == "trained"
    assert result.after["NDCG@10"] > result.before["NDCG@10"]
    adapter = Adapter.from_blobs(result.blobs)
    assert adapter.item_ids.tolist() == []
    again = train_region(task(current=result.blobs, adapter=AdapterConfig(rank=4, alpha=8, item_rank=3)))
    assert Adapter.from_blobs(again.blobs).item_ids.tolist() == []


def test_training_helps_and_leaves_the_backbone_as_it_was() -> None:
    backbone = load_backbone(*BACKBONE.to_bytes())
    train_task = task()
    begun = fresh_adapter(backbone, train_task.adapter, touched_items(train_task.new), 0)
    begun_blobs = begun.to_blobs()
    _, samples_seen = fit_adapter(backbone, begun, train_task)
    # The digest is kept once it was asked for, so it is computed from the weights again.
    assert load_backbone(*backbone.to_bytes()).digest == BACKBONE.digest
    assert begun.to_blobs() == begun_blobs
    assert samples_seen == 3 * 80
    result = train_region(train_task)
    assert result.chosen == "trained"
    assert result.after["NDCG@10"] > result.before["NDCG@10"] + 0.1
    assert result.samples_seen == samples_seen
    assert Adapter.from_blobs(result.blobs).backbone_digest == BACKBONE.digest


def test_training_moves_item_rows_of_its_own_new_windows_alone() -> None:
    new = successor_windows(60, 0)
    narrow = Windows(new.items % 10 + 1, new.target % 10 + 1, new.user, new.timestamp)
    adapter = Adapter.from_blobs(train_region(task(new=narrow, validation=NONE)).blobs)
    assert adapter.item_ids.tolist() == list(range(1, 11))


def test_the_same_task_gives_the_same_bytes_whatever_the_process_drew_before() -> None:
    torch.manual_seed(1)
    first = train_region(task())
    torch.manual_seed(2)
    assert without_time(train_region(task())) == without_time(first)


def test_a_region_killed_while_it_trains_ends_with_the_same_bytes(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def killed(epoch: int, score: float) -> None:
        if epoch == 2:
            raise Killed

    path = tmp_path / "region-3.safetensors"
    with pytest.raises(Killed):
        train_region(task(checkpoint=path), killed)
    epochs: list[int] = []
    resumed = train_region(task(checkpoint=path), lambda epoch, _: epochs.append(epoch))
    assert epochs == [3]
    assert without_time(resumed) == without_time(train_region(task()))


def test_the_adapter_in_use_stays_byte_for_byte_where_training_is_no_better() -> None:
    trained = train_region(task())
    again = train_region(task(current=trained.blobs, schedule=replace(task().schedule, epochs=0)))
    assert again.chosen == "current"
    assert again.blobs == trained.blobs
    assert again.before == again.after


def test_a_bare_region_stays_bare_where_training_is_no_better() -> None:
    result = train_region(task(schedule=replace(task().schedule, epochs=0)))
    assert (result.chosen, result.blobs) == ("current", {})


def test_the_shared_adapter_is_taken_where_it_is_better_and_training_goes_on_from_it() -> None:
    shared = train_region(task()).blobs
    stays = train_region(task(shared=shared, schedule=replace(task().schedule, epochs=0)))
    assert stays.chosen == "shared"
    assert stays.blobs == shared
    goes_on = train_region(task(shared=shared))
    assert goes_on.after["NDCG@10"] >= stays.after["NDCG@10"]


def test_on_top_of_the_shared_adapter_a_region_trains_its_last_block_and_the_biases_alone() -> None:
    shared = Adapter.from_blobs(train_region(task()).blobs)
    own = Adapter.from_blobs(train_region(task(shared=shared.to_blobs(), validation=NONE, retained=NONE)).blobs)
    before, after = shared.parameters(), own.parameters()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    last = {name for name in before if name.startswith("blocks.1.")}
    assert len(last) == len(shared.lora) / 2
    assert moved == last | {"item.bias"}


@pytest.mark.parametrize("kind", ["sasrec", "bert4rec"])
def test_one_adapter_is_the_same_on_any_number_of_threads(kind: str) -> None:
    """BERT4Rec draws what it masks."""
    shape = {"sasrec": ModelShape, "bert4rec": Bert4RecShape}[kind](ITEMS, LENGTH, 16, 2, 2)
    backbone = backbone_class(kind).fresh(shape, seed=0).eval()
    alone = task(backbone=backbone.to_bytes(), schedule=replace(task().schedule, part=8))
    assert without_time(train_region(alone, threads=3)) == without_time(train_region(alone))


def test_a_region_whose_windows_all_validate_takes_the_shared_adapter() -> None:
    shared = train_region(task()).blobs
    result = train_region(task(new=NONE, replay=NONE, shared=shared))
    assert (result.samples_seen, result.chosen) == (0, "shared")
    assert dict(result.blobs) == dict(shared)


def test_without_held_out_windows_the_trained_adapter_is_taken() -> None:
    result = train_region(task(validation=NONE, retained=NONE))
    assert result.chosen == "trained"
    assert result.samples_seen == 3 * 80
    assert math.isnan(result.after["NDCG@10"])


def test_the_trained_adapter_counts_what_the_task_says_and_the_kept_one_what_it_did() -> None:
    counted = count_transitions(successor_windows(60, 0), 2, 0.3, ITEMS + 1).to_bytes()
    first = train_region(task(transitions=counted))
    assert (first.chosen, first.blobs["transitions"]) == ("trained", counted)
    reweighted = count_transitions(random_windows(20, LENGTH, ITEMS, seed=1), 2, 0.9, ITEMS + 1).to_bytes()
    kept = train_region(
        task(current=first.blobs, transitions=reweighted, schedule=replace(task().schedule, epochs=0))
    )
    assert (kept.chosen, kept.blobs["transitions"]) == ("current", counted)


def test_forgetting_counts_against_an_adapter() -> None:
    """Retained windows that only the frozen backbone recommends keep a region bare."""
    retained = random_windows(60, LENGTH, ITEMS, seed=3)
    best = adapter_scores(BACKBONE, None)(retained).argmax(dim=1).numpy().astype(np.int32)
    retained = replace(retained, target=best)
    lost = train_region(task(retained=retained, validation=NONE))
    assert lost.after["retained NDCG@10"] < lost.before["retained NDCG@10"]
    slight = task(retained=retained, validation=random_windows(60, LENGTH, ITEMS, seed=9))
    assert train_region(slight).chosen == "current"


def test_the_current_adapter_stays_only_where_it_is_better_by_more_than_a_standard_error() -> None:
    """Without training, another adapter is published although it is a little worse, and not where it is much worse."""
    current = train_region(task()).blobs
    short = replace(task().schedule, epochs=0)
    judged = {"validation": random_windows(200, LENGTH, ITEMS, seed=8), "retained": NONE}
    better = train_region(
        task(current=current, schedule=replace(task().schedule, seed=5, epochs=1), validation=NONE)
    ).blobs
    by_chance = train_region(task(current=current, shared=better, schedule=short, **judged))
    assert by_chance.chosen == "shared"
    worse = random_adapter(BACKBONE, range(1, ITEMS + 1), seed=3).to_blobs()
    kept = train_region(task(current=current, shared=worse, schedule=short, validation=successor_windows(200, 7)))
    assert kept.before["NDCG@10"] > 0.3
    assert kept.chosen == "current"


def test_an_adapter_of_another_backbone_is_refused_before_it_trains() -> None:
    stranger = random_backbone(seed=9)
    with pytest.raises(WrongBackbone):
        train_region(task(current=random_adapter(stranger, [1]).to_blobs()))


def test_the_frozen_backbone_is_evaluated_without_items_it_never_saw() -> None:
    """The router hides them from a bare region, so a good cold row must not count as the region's merit."""
    longer = BACKBONE.with_item_rows(torch.ones(2, 16))
    scores = adapter_scores(longer, None)(successor_windows(5, 0))
    assert scores.shape == (5, ITEMS + 3)
    assert scores[:, ITEMS + 1 :].isneginf().all()
    assert scores[:, 0].isneginf().all()
    new = replace(successor_windows(30, 2), target=np.full(30, ITEMS + 1, np.int32))
    result = train_region(task(item_rows=100 * torch.ones(2, 16), validation=new, retained=NONE))
    assert result.before["Recall@20"] == 0


def test_results_do_not_depend_on_the_number_of_workers() -> None:
    tasks = [task(region=region, schedule=replace(task().schedule, seed=region)) for region in (1, 2, 3)]
    threads = torch.get_num_threads()
    alone = {result.region: without_time(result) for result in train_regions(tasks, 1)}
    assert torch.get_num_threads() == threads
    together = {result.region: without_time(result) for result in train_regions(tasks, 2)}
    assert together == alone
    assert list(alone) == [1, 2, 3]


class Deadly:
    """A task that ends the process in which it is unpacked, as the system does when memory is short."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (9,)


def test_a_worker_that_the_system_kills_is_one_clear_line() -> None:
    with pytest.raises(WorkerLost, match="resume the edit with fewer workers"):
        list(train_regions([Deadly(), Deadly()], 2))


def test_an_adapter_learns_from_sampled_negatives_and_on_any_number_of_threads() -> None:
    sampled = task(negatives=4, schedule=replace(task().schedule, part=8))
    result = train_region(sampled)
    assert result.chosen == "trained"
    assert result.after["NDCG@10"] > result.before["NDCG@10"] + 0.1
    assert without_time(train_region(sampled, threads=3)) == without_time(result)
    assert dict(result.blobs) != dict(train_region(replace(sampled, negatives=0)).blobs)


@pytest.mark.parametrize(("items", "negatives"), [(49, 0), (50, 7), (51, 7)])
def test_large_catalogues_sample_negatives(items: int, negatives: int) -> None:
    assert sampled_negatives(BackboneConfig(full_softmax_below=50, negatives=7), items) == negatives
