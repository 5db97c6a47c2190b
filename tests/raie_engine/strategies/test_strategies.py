"""Every strategy is a pure function of its state and the task data, and learns what it claims to learn."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import nn

from raie.engine.comparison.protocol import ComparisonProtocol, cut_protocol, task_data_of_edits
from raie.engine.comparison.step_results import read_blobs, write_blobs
from raie.engine.config import MIXTURE_PARTS
from raie.engine.data.catalogue import Catalogue
from raie.engine.data.interactions import Interactions
from raie.engine.data.windows import Windows, concatenate
from raie.engine.edit.named_blobs import named_blobs, view_of
from raie.engine.edit.pipeline import prepare_edit
from raie.engine.evaluation.metrics import mean_metrics, ranks, without_context
from raie.engine.mixture.log_counts import LogCounts, count_rows
from raie.engine.mixture.log_parts import LogParts
from raie.engine.mixture.mixture import Mixture
from raie.engine.mixture.weights import MODEL, MixtureWeights
from raie.engine.model import LOG_COUNTS, MIXTURE
from raie.engine.strategies import STRATEGIES, State, Strategy, TaskData, strategy_named
from raie.engine.strategies.counting import MARKOV, POPULARITY, pair_counts
from raie.engine.strategies.e_bpr import editing_loss
from raie.engine.strategies.global_adapter import REPLAY
from raie.engine.strategies.lsat import merged
from raie.engine.strategies.lwf import TEMPERATURE, distilled
from raie.engine.strategies.never import NEVER
from raie.engine.strategies.peso import proximal
from raie.engine.strategies.random_regions import hashed_regions
from raie.engine.strategies.tuning import tune
from raie.engine.training.adapter import Adapter, AdapterDelta
from raie.engine.training.train_adapter import SHARED
from raie.engine.training.transition_counts import FADE
from tests.raie_engine.world import World, random_adapter, random_backbone, random_windows

NAMED = [*STRATEGIES, "replay+counts", "full+counts"]
TRAINED = sorted(set(NAMED) - {"never", "popularity", "markov", "item-knn", "ease", "tale"})


def named(key: str) -> Strategy:
    strategy = strategy_named(key)
    assert strategy is not None
    return strategy


def task_data_with(task_data: TaskData, **options: Any) -> TaskData:
    """The same task data under other options of an edit."""
    engine = replace(task_data.config, edit=replace(task_data.config.edit, **options))
    settings = replace(task_data.base.settings, engine=engine).to_bytes()
    return replace(task_data, base=view_of({**named_blobs(task_data.base), "shared/settings/0": settings}))


@pytest.fixture(scope="module")
def protocol(world: World) -> ComparisonProtocol:
    return cut_protocol(world.interactions, world.ends[0], None, 2, world.view.settings.engine)


@pytest.fixture(scope="module")
def taught(world: World, protocol: ComparisonProtocol) -> list[TaskData]:
    """The task data of the setup and of two edits."""
    return list(task_data_of_edits(protocol, world.view))


@cache
def _states(
    key: str, protocol: ComparisonProtocol, first: TaskData, second: TaskData
) -> tuple[State, State, State]:
    """Before anything, after one edit and after two."""
    strategy = named(key)
    begun = strategy.begin({}, first.previous or first).state
    once = strategy.learn(begun, first).state
    return begun, once, strategy.learn(once, second).state


@pytest.mark.parametrize("key", NAMED)
def test_a_strategy_is_a_pure_function_and_scores_every_item_that_has_come(
    key: str, protocol: ComparisonProtocol, taught: list[TaskData], tmp_path: Path
) -> None:
    strategy, (first, second) = named(key), taught[1:]
    digest = first.base.backbone.digest
    _, once, twice = _states(key, protocol, first, second)
    kept = dict(once)
    again = strategy.learn(once, replace(second))
    assert dict(again.state) == dict(twice)
    assert dict(once) == kept
    assert view_of(named_blobs(first.base)).backbone.digest == digest
    write_blobs(tmp_path / "state", twice)
    windows = protocol.windows.take(protocol.scored_rows(2)).without_items_above(second.items)
    scores = strategy.score(read_blobs(tmp_path / "state"), second)(windows)
    assert torch.equal(scores, strategy.score(twice, second)(windows))
    assert scores.shape == (len(windows), second.items + 1)
    assert scores[:, 0].isneginf().all()
    assert not scores.isnan().any()


@pytest.mark.parametrize("key", TRAINED)
def test_what_trains_predicts_its_new_windows_better_and_can_recommend_a_new_item(
    key: str, protocol: ComparisonProtocol, taught: list[TaskData]
) -> None:
    strategy, (first, second) = named(key), taught[1:]
    _, once, _ = _states(key, protocol, first, second)
    before = mean_metrics(ranks(STRATEGIES["never"].score({}, first), first.new))["NDCG@10"]
    after = mean_metrics(ranks(strategy.score(once, first), first.new))["NDCG@10"]
    assert after > before
    assert first.items > first.base.backbone.known_items
    scores = strategy.score(once, first)(first.new)
    assert scores[:, first.base.backbone.known_items + 1 :].isfinite().any()
    learned = strategy.learn({}, first)
    assert learned.samples_seen > 0
    assert learned.parameters > 0


@pytest.mark.parametrize("key", ["global-lora", "replay", "lwf", "lsat", "mole", "peso", "full", "random-regions"])
def test_nobody_passes_more_windows_than_an_edit_of_all_regions_may(
    key: str, protocol: ComparisonProtocol, taught: list[TaskData]
) -> None:
    task_data, edit = taught[1], taught[1].config.edit
    allowed = (edit.shared_epochs + edit.epochs) * (len(task_data.new) + len(task_data.replay))
    # The replay of each region is rounded down, and so are the rounds of those who replay nothing.
    assert STRATEGIES[key].learn({}, task_data).samples_seen <= allowed + len(task_data.new)


def test_raie_gets_the_windows_and_the_item_rows_that_all_others_get(world: World, taught: list[TaskData]) -> None:
    first, second = taught[1:]
    raie = STRATEGIES["raie"]
    view, shown = first.base, torch.zeros(0, first.base.backbone.dim)
    for task_data in (first, second):
        prepared = prepare_edit(
            view, "0" * 64, task_data.interactions, task_data.until, seed=task_data.config.seed, next_region_id=90
        )
        new = prepared.windows.timestamp <= prepared.train_until
        assert prepared.windows.take(new).digest == task_data.new.digest
        assert prepared.windows.take(~new).digest == task_data.validation.digest
        shown = torch.cat([shown, prepared.item_rows])
        assert torch.equal(shown, task_data.item_rows)
        view = view_of(raie.learn(named_blobs(view), task_data).state)


def test_regions_that_an_edit_does_not_touch_keep_every_byte_and_their_ranks(
    protocol: ComparisonProtocol, taught: list[TaskData]
) -> None:
    raie, first = STRATEGIES["raie"], taught[1]
    task_data = replace(first, base=view_of(_only(first, touched=1)))
    learned = raie.learn({}, task_data)
    left = set(task_data.base.content.regions) - set(learned.touched)
    assert left
    assert learned.touched
    before, after = named_blobs(task_data.base), learned.state
    own = [name for name in before if name.split("/")[0] == "region" and int(name.split("/")[1]) in left]
    assert own
    assert [name for name in own if before[name] != after[name]] == []


def _only(task_data: TaskData, touched: int) -> State:
    """The setup's blobs with a gate that so many windows must reach that only the busiest regions are touched."""
    view = task_data.base
    settings = view.settings
    windows = concatenate([task_data.new, task_data.validation])
    busy = np.sort(np.unique(view.router.assign(windows), return_counts=True)[1])[-touched]
    gate = replace(settings.engine.gate, min_windows=int(busy), policy="nearest")
    made = replace(settings, engine=replace(settings.engine, gate=gate))
    return {**named_blobs(view), "shared/settings/0": made.to_bytes()}


def test_the_backbone_that_is_never_edited_reads_new_items_and_recommends_none(taught: list[TaskData]) -> None:
    task_data = taught[2]
    known = task_data.base.backbone.known_items
    scores = STRATEGIES["never"].score({}, task_data)(task_data.base.holdout)
    before = STRATEGIES["never"].score({}, taught[0])(task_data.base.holdout)
    assert torch.equal(scores[:, : known + 1], before)
    assert scores[:, known + 1 :].isneginf().all()


def test_every_expert_of_the_mixture_trains_and_so_does_its_gate(
    protocol: ComparisonProtocol, taught: list[TaskData]
) -> None:
    mole, (first, second) = STRATEGIES["mole"], taught[1:]
    _, once, twice = _states("mole", protocol, first, second)
    gates = [load(state["gates"]) for state in (once, twice)]
    experts, rank = len(first.base.content.regions), first.config.adapter.rank
    lora = Adapter.from_blobs(once).lora
    for name, gate in gates[0].items():
        assert len(gate) == experts
        per_expert = lora[f"{name}.lora_B.weight"].unflatten(1, (experts, rank))
        assert per_expert.abs().amax(dim=(0, 2)).min() > 0, f"an expert of {name} never trained"
    idle = mole.learn({}, replace(first, new=first.new.take(slice(0, 0)), base=first.base)).state
    begun = load(idle["gates"])
    assert all((gates[0][name] != begun[name]).any() for name in begun)


def test_two_adapters_merge_into_their_weighted_sum() -> None:
    backbone = random_backbone()
    long, short = (random_adapter(backbone, rows, seed=seed) for rows, seed in (([2, 5, 9], 1), ([5, 7], 2)))
    both = merged(long, short, 0.25)
    name, shape = next(iter(backbone.lora_targets.items()))
    inputs = torch.randn(3, 4, shape.inputs, generator=torch.Generator().manual_seed(0))
    layer = nn.Linear(*shape)
    parts = [AdapterDelta(adapter.lora, adapter.scaling).linear(name, layer, inputs) for adapter in (long, short)]
    product = AdapterDelta(both.lora, both.scaling).linear(name, layer, inputs)
    assert torch.allclose(product, 0.25 * parts[0] + 0.75 * parts[1], atol=1e-5)
    assert both.item_ids.tolist() == [2, 5, 7, 9]
    assert torch.allclose(both.bias, torch.stack([0.25 * long.bias[0], 0.25 * long.bias[1] + 0.75 * short.bias[0],
                                                  0.75 * short.bias[1], 0.25 * long.bias[2]]))  # fmt: skip
    assert torch.allclose(
        (both.item_lora_a @ both.item_lora_b)[0], 0.25 * (long.item_lora_a @ long.item_lora_b)[0], atol=1e-6
    )
    both.require(backbone)


def test_who_replays_nothing_has_as_many_windows_patience(taught: list[TaskData]) -> None:
    task_data = taught[1]
    task_data = task_data_with(task_data, patience=1, shared_epochs=3, epochs=3)
    assert len(task_data.replay) == len(task_data.new)

    def samples_seen(windows: Windows) -> int:
        still = {"still": torch.zeros(1, requires_grad=True)}  # nothing that is learned changes a score
        return tune(
            still,
            lambda contexts, target: still["still"].sum(),
            lambda these: torch.zeros(len(these), task_data.items + 1),
            task_data,
            windows,
            retained=False,
        )

    assert (
        samples_seen(task_data.new)
        == samples_seen(concatenate([task_data.new, task_data.replay]))
        == 4 * len(task_data.new)
    )


def test_the_proximal_term_is_the_divergence_of_each_module_from_its_last_state() -> None:
    before = {"one": torch.tensor([[0.0, 0.0]]), "two": torch.tensor([1.0])}
    assert proximal(before, before).item() == 0
    now = {"one": torch.tensor([[np.log(3.0), 0.0]]), "two": torch.tensor([5.0])}
    expected = 0.75 * np.log(0.75 / 0.5) + 0.25 * np.log(0.25 / 0.5)  # one number alone is a distribution of one
    assert proximal(now, before).item() == pytest.approx(expected, rel=1e-6)


def test_distillation_costs_nothing_where_the_models_agree_and_else_the_divergence() -> None:
    scores = torch.tensor([[0.0, 2.0, 1.0]])
    assert distilled(scores, scores + 5).item() == pytest.approx(0, abs=1e-6)
    then, now = torch.tensor([[0.0, 0.0]]), torch.tensor([[TEMPERATURE * np.log(3.0), 0.0]])
    expected = TEMPERATURE**2 * (0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25))
    assert distilled(now, then).item() == pytest.approx(expected, rel=1e-5)


def test_the_editing_loss_compares_the_target_with_the_list_and_never_with_itself() -> None:
    scores = torch.tensor([[9.0, 1.0, 3.0, 2.0]])  # that of the padding is no item's
    expected = np.mean([np.log1p(np.exp(-(3.0 - score))) for score in (1.0, 2.0)])
    assert editing_loss(scores, torch.tensor([[0, 0]]), torch.tensor([2])).item() == pytest.approx(
        expected, rel=1e-6
    )


def test_the_editing_loss_leaves_out_what_no_list_shows() -> None:
    scores = torch.randn(3, 30, generator=torch.Generator().manual_seed(1), requires_grad=True)
    context, target = torch.tensor([[0, 4, 7], [5, 6, 7], [1, 2, 3]]), torch.tensor([4, 8, 9])
    editing_loss(scores, context, target).backward()
    moved = scores.grad != 0
    assert not moved[:, 0].any()
    assert moved.gather(1, target[:, None]).all()
    assert not moved.gather(1, context)[target[:, None] != context].any()
    assert moved.sum(dim=1).tolist() == [11, 11, 11]  # the target, and the ten of the list


def test_random_regions_have_the_shares_they_should_and_know_a_context_again() -> None:
    windows = random_windows(20_000, 6, 500)
    shares = np.array([0.5, 0.3, 0.2])
    owner = hashed_regions(windows, shares, 1)
    assert np.bincount(owner) / len(owner) == pytest.approx(shares, abs=0.02)
    assert (owner == hashed_regions(windows, shares, 1)).all()
    assert (owner != hashed_regions(windows, shares, 2)).mean() > 0.3


def test_random_regions_keep_old_windows_as_an_edit_does(
    protocol: ComparisonProtocol, taught: list[TaskData]
) -> None:
    random, most = STRATEGIES["random-regions"], 30
    first, second = (task_data_with(step, max_replay=most) for step in taught[1:])
    state = random.learn({}, first).state
    kept = {name: Windows.from_bytes(data) for name, data in state.items() if name.startswith("kept/")}
    assert kept
    for windows in kept.values():
        assert len(windows) == most
        recent = windows.timestamp > protocol.ends[0]
        assert 0 < recent.sum() < most, "of the setup's windows and of new ones"
    others = {**state, **{name: windows.take(slice(0, 5)).to_bytes() for name, windows in kept.items()}}
    assert dict(random.learn(state, second).state) != dict(random.learn(others, second).state)


def test_the_shared_adapter_of_random_regions_goes_on_from_the_last_one(taught: list[TaskData]) -> None:
    first, second = taught[1:]
    random = STRATEGIES["random-regions"]
    once = random.learn({}, first).state
    anew = {name: data for name, data in once.items() if not name.startswith(f"{SHARED}/")}
    assert len(anew) < len(once)
    assert random.learn(once, second).state[f"{SHARED}/lora"] != random.learn(anew, second).state[f"{SHARED}/lora"]


# --- What joins the scores of a strategy.


def mixture_of(state: State) -> dict[str, bytes]:
    return {name: data for name, data in state.items() if name.split("/")[0] in (MIXTURE, LOG_COUNTS, "spread")}


def mixed_windows(state: State) -> list[MixtureWeights]:
    return [MixtureWeights.from_bytes(data) for name, data in state.items() if name.split("/")[-1] == MIXTURE] + [
        MixtureWeights.from_bytes(data) for name, data in state.items() if name.startswith(f"{MIXTURE}/")
    ]


@pytest.mark.parametrize("key", NAMED)
def test_every_strategy_learns_what_repeats_are_worth_and_counts_only_what_it_should(
    key: str, protocol: ComparisonProtocol, taught: list[TaskData]
) -> None:
    first, second = taught[1:]
    begun, once, twice = _states(key, protocol, first, second)
    counted = key in ("raie", "random-regions") or key.endswith("+counts")
    for state in (begun, once, twice):
        if key == "raie" and not state:
            state = named_blobs(first.base)
        fitted = mixed_windows(state)
        assert fitted
        for weights in fitted:
            assert set(weights.parts) <= set(MIXTURE_PARTS if counted else (MODEL,))
            assert any(weights.repeats)
    if key == "never":
        assert dict(begun) == dict(once) == dict(twice)
    else:
        assert (once if key == "raie" else mixture_of(once)) != (twice if key == "raie" else mixture_of(twice))
    if counted and key != "raie":
        for state, rows in ((once, first.all_rows), (twice, second.all_rows)):
            counts = LogCounts.from_bytes(state[LOG_COUNTS])
            assert counts.rows == len(rows)
            assert len(counts.following)


def test_the_counts_beside_a_strategy_join_what_it_says_and_train_nothing(
    protocol: ComparisonProtocol, taught: list[TaskData]
) -> None:
    task_data = taught[1]
    plain, counted = named("replay"), named("replay+counts")
    learned, beside = plain.learn({}, task_data), counted.learn({}, task_data)
    assert (beside.samples_seen, beside.parameters) == (learned.samples_seen, learned.parameters)
    own = {name: data for name, data in learned.state.items() if name not in mixture_of(learned.state)}
    assert own == {name: data for name, data in beside.state.items() if name not in mixture_of(beside.state)}
    windows = protocol.windows.take(protocol.scored_rows(1)).without_items_above(task_data.items)
    weights = MixtureWeights.from_bytes(beside.state[f"{MIXTURE}/0"])
    assert {"last", "short", "wide"} & set(weights.parts)
    counts = count_rows(task_data.all_rows, None, task_data.items)
    mixture = Mixture(weights, LogParts(counts, task_data.items + 1))
    expected = mixture.joined(REPLAY.score(own, task_data)(windows), windows)
    assert torch.equal(counted.score(beside.state, task_data)(windows), expected)


def test_a_strategy_that_has_learned_nothing_yet_leaves_out_the_context(taught: list[TaskData]) -> None:
    task_data, windows = taught[1], taught[1].base.holdout
    scores = STRATEGIES["never"].score({}, task_data)(windows)
    assert torch.equal(scores, without_context(NEVER.score({}, task_data)(windows), windows))


@pytest.mark.parametrize("key", ["markov", "item-knn", "never"])
def test_scores_that_are_no_logits_are_told_apart_as_well_as_logits_are(
    key: str, protocol: ComparisonProtocol, taught: list[TaskData]
) -> None:
    _, once, _ = _states(key, protocol, *taught[1:])
    spread = float(once["spread"])
    assert spread == 1.0 if key == "never" else 0 < spread != 1.0


@pytest.mark.parametrize(
    "key", ["raie+counts", "random-regions+counts", "markov+counts", "ease+counts", "nobody+counts", "+counts"]
)
def test_what_counts_by_itself_does_not_count_twice(key: str) -> None:
    assert strategy_named(key) is None


# --- Counting, on a log written by hand: 0 takes 1 2 3 1 2, 1 takes 2 3 2.

_BY_HAND = Interactions(
    np.array([0, 0, 0, 0, 0, 1, 1, 1], np.int32),
    np.array([1, 2, 3, 1, 2, 2, 3, 2], np.int32),
    np.arange(8, dtype=np.int64),
    Catalogue(("a", "b"), ("x", "y", "z")),
)


def test_transitions_count_what_follows_what_less_the_farther_it_is() -> None:
    pairs, weight = pair_counts(_BY_HAND, 4)
    counted = {(int(pair) // 4, int(pair) % 4): float(count) for pair, count in zip(pairs, weight, strict=True)}
    assert counted == pytest.approx(
        {
            (1, 2): 2 + FADE**3,
            (2, 3): 2,
            (3, 1): 1,
            (1, 3): FADE,
            (2, 1): FADE,
            (3, 2): 1 + FADE,
            (1, 1): FADE**2,
            (2, 2): FADE + FADE**2,
        },
        rel=1e-6,
    )


def test_counting_recommends_what_is_taken_most_and_what_follows_the_last_items(taught: list[TaskData]) -> None:
    task_data = replace(taught[1], rows=_BY_HAND)
    popular, markov = POPULARITY, MARKOV
    windows = random_windows(1, 3, 3)
    windows = replace(windows, items=np.array([[3, 2, 0]], np.int32))
    scores = popular.score(popular.learn({}, task_data).state, task_data)(windows)
    assert scores[0, 1:4].exp().tolist() == pytest.approx([2, 4, 2])
    scores = markov.score(markov.learn({}, task_data).state, task_data)(windows)[0, 1:4]
    after_two, after_three = np.array([FADE, FADE + FADE**2, 2]), np.array([1, 1 + FADE, 0])
    expected = after_two / after_two.sum() + FADE * after_three / after_three.sum()
    assert scores.exp().tolist() == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.parametrize(
    "key",
    [
        "full",
        "raie",
        *(pytest.param(key, marks=pytest.mark.slow) for key in ("global-lora", "peso", "lwf", "mole")),
    ],
)
def test_every_strategy_samples_negatives_of_a_large_catalogue(key: str, taught: list[TaskData]) -> None:
    fewer = task_data_with(taught[1], shared_epochs=2, epochs=0)
    backbone = replace(fewer.config.backbone, full_softmax_below=2, negatives=3)
    settings = replace(fewer.base.settings, engine=replace(fewer.config, backbone=backbone)).to_bytes()
    sampled = replace(fewer, base=view_of({**named_blobs(fewer.base), "shared/settings/0": settings}))
    assert (fewer.negatives, sampled.negatives) == (0, 3)
    begun = named(key).begin({}, fewer.previous or fewer).state
    full, estimated = (named(key).learn(begun, data).state for data in (fewer, sampled))
    same = (state.keys() for state in (full, estimated))
    if key == "raie":  # which new regions are accepted depends on what they learned
        same = ({name.split("/")[-1] for name in state} for state in (full, estimated))
    assert len(set(map(frozenset, same))) == 1
    assert full != estimated
