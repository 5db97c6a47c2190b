"""Edit plans: which regions they touch and how these move, new regions from the buffer, and plans as values."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load

from raie.engine.config import GateConfig, RegionConfig
from raie.engine.data.windows import Windows
from raie.engine.edit.plan import EditPlan, region_summary
from raie.engine.edit.planner import apply_plan, make_plan, next_buffer, without
from raie.engine.errors import DamagedArtifact, InputError, WrongBackbone
from raie.engine.regions.buffer import AddBuffer
from raie.engine.regions.gate import Action, RadiusGate, gate_from
from raie.engine.regions.region_map import RegionMap, fit_regions, region_state

SPACE = "a" * 64
D = 12
REGIONS = RegionConfig(regions=3)
GATE = GateConfig(buffer=60, min_region=40)


def around(axis: int, n: int, *, spread: float = 0.12, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng([axis, seed])
    vectors = np.eye(D)[axis] + spread * generator.standard_normal((n, D))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def windows_for(vectors: np.ndarray, first: int = 0) -> Windows:
    n = len(vectors)
    number = np.arange(first, first + n)
    return Windows(
        np.ones((n, 4), np.int32), (number + 1).astype(np.int32), number.astype(np.int32), number.astype(np.int64)
    )


def three_regions() -> RegionMap:
    """Regions 0, 1, 2 around the first three axes."""
    return fit_regions(np.concatenate([around(0, 500), around(1, 400), around(2, 300)]), REGIONS, 0, SPACE)[0]


def empty() -> AddBuffer:
    return AddBuffer.empty(4, D, SPACE)


def planned(region_map: RegionMap, vectors: np.ndarray, **changes: Any) -> EditPlan:
    gate = changes.get("gate", GATE)
    arguments: dict[str, Any] = {
        "space": SPACE,
        "buffer": empty(),
        "gate": gate,
        "regions": REGIONS,
        "seed": 5,
        "parent": "p" * 64,
        "next_region_id": 10,
    }
    decisions = gate_from(gate).decide(region_map, vectors)
    return make_plan(region_map, decisions, vectors, windows_for(vectors), **{**arguments, **changes})


# --- which regions an edit touches ------------------------------------------------------------------------------


def test_a_region_that_no_window_reached_keeps_its_bytes() -> None:
    region_map = three_regions()
    plan = planned(region_map, np.concatenate([around(0, 100, seed=1), around(1, 5, seed=1)]))
    after = apply_plan(region_map, plan)
    same = [region_state(after, r) == region_state(region_map, r) for r in (0, 1, 2)]
    assert same == [False, True, True]
    assert plan.touched == (0,)


def test_windows_of_a_region_with_too_few_are_left_out_and_reported() -> None:
    region_map = three_regions()
    plan = planned(region_map, np.concatenate([around(0, 100, seed=1), around(1, 5, seed=1)]))
    left = plan.left
    assert set(plan.region[left].tolist()) == {1}
    row = region_summary(region_map, plan)[1]
    assert (row["action"], row["update"] + row["expand"]) == ("untouched", len(left))
    assert planned(region_map, around(1, 5, seed=1), gate=dataclasses.replace(GATE, min_windows=2)).touched == (1,)


def test_a_caller_can_leave_regions_alone_that_still_predict_well() -> None:
    region_map = three_regions()
    vectors = np.concatenate([around(0, 100, seed=1), around(1, 100, seed=1)])
    assert planned(region_map, vectors).touched == (0, 1)
    assert planned(region_map, vectors, only={1}).touched == (1,)
    assert planned(region_map, vectors, only=()).touched == ()


def test_carried_windows_train_with_their_region_but_touch_and_move_none() -> None:
    region_map = three_regions()
    vectors = np.concatenate([around(0, 100, seed=1), around(0, 50, seed=2), around(1, 100, seed=1)])
    carried = np.arange(250) >= 100
    plan = planned(region_map, vectors, carried=carried)
    assert plan.touched == (0,)
    alone = planned(region_map, vectors[:100])
    assert plan.operations == alone.operations
    rows, _ = plan.rows(0)
    assert (rows >= 100).sum() == 50, "they train all the same"


# --- how a region moves -----------------------------------------------------------------------------------------


def test_an_update_moves_the_centre_towards_the_new_windows() -> None:
    region_map = three_regions()
    shifted = around(0, 200, seed=1) + 0.02 * np.eye(D, dtype=np.float32)[5]
    shifted /= np.linalg.norm(shifted, axis=1, keepdims=True)
    operation = planned(region_map, shifted).operation(0)
    assert operation.action is Action.UPDATE
    before, after = region_map.centres[0], np.array(operation.centre, np.float32)
    mean = shifted.mean(axis=0) / np.linalg.norm(shifted.mean(axis=0))
    assert after @ mean > before @ mean
    assert 0 < operation.centre_shift < np.arccos(before @ mean)
    assert operation.count == region_map.count[0] + operation.windows


def test_few_windows_move_a_region_less_than_many_and_a_stronger_prior_less_still() -> None:
    region_map = three_regions()
    target = (np.eye(D)[0] + 0.15 * np.eye(D)[5])[None]
    vectors = np.repeat(target / np.linalg.norm(target), 400, axis=0).astype(np.float32)

    def shift(n: int, prior: float) -> float:
        gate = dataclasses.replace(GATE, prior_strength=prior)
        return planned(region_map, vectors[:n], gate=gate).operation(0).centre_shift

    assert shift(400, 5.0) > shift(20, 5.0) > shift(20, 500.0) > 0


def test_a_region_with_many_windows_outside_its_radius_expands_but_never_beyond_its_outer_radius() -> None:
    region_map = three_regions()
    wide = around(0, 600, spread=0.19, seed=1)
    gate = dataclasses.replace(GATE, buffer=10_000)
    operation = planned(region_map, wide, gate=gate).operation(0)
    assert operation.action is Action.EXPAND
    assert region_map.radius[0] < operation.radius <= region_map.max_radius[0]
    for seed in range(2, 30):
        region_map = apply_plan(region_map, planned(region_map, around(0, 600, spread=0.19, seed=seed), gate=gate))
    assert region_map.radius[0] == pytest.approx(region_map.max_radius[0], rel=0.15)
    assert region_map.radius[0] <= region_map.max_radius[0]


def test_as_many_windows_outside_the_radius_as_at_setup_are_no_reason_to_expand() -> None:
    region_map = three_regions()
    cosine = float(np.cos((region_map.radius[0] + region_map.max_radius[0]) / 2))
    side = np.sqrt(1 - cosine**2) * np.linalg.qr(region_map.centres[:1].T, mode="complete")[0][:, 1]
    inside, beyond = region_map.centres[:1], (cosine * region_map.centres[0] + side)[None].astype(np.float32)

    def action(of_a_thousand: int) -> Action:
        vectors = np.repeat(np.concatenate([inside, beyond]), [1000 - of_a_thousand, of_a_thousand], axis=0)
        return planned(region_map, vectors).operation(0).action

    assert [action(count) for count in (0, 90, 105)] == [Action.UPDATE] * 3
    assert [action(count) for count in (130, 200)] == [Action.EXPAND] * 2


def test_a_stationary_region_keeps_its_radius_and_concentration_over_many_edits() -> None:
    region_map = first = three_regions()
    for seed in range(1, 25):
        region_map = apply_plan(region_map, planned(region_map, around(0, 400, seed=seed)))
    assert region_map.radius[0] == pytest.approx(first.radius[0], rel=0.05)
    assert region_map.concentration[0] == pytest.approx(first.concentration[0], rel=0.1)
    assert region_map.centres[0] @ first.centres[0] > 0.999


def test_regions_that_lay_apart_never_grow_into_each_other() -> None:
    tight = RegionMap(
        ids=np.array([0, 1], np.int32),
        centres=np.eye(D, dtype=np.float32)[:2],
        radius=np.full(2, 0.7, np.float32),
        max_radius=np.full(2, 1.4, np.float32),
        concentration=np.full(2, 20, np.float32),
        count=np.array([100, 100]),
        space=SPACE,
    )
    gate = dataclasses.replace(GATE, movement=1.0, prior_strength=0.0, buffer=10_000)
    vectors = np.concatenate([around(axis, 3000, spread=0.35, seed=1) for axis in (0, 1)])
    after = apply_plan(tight, planned(tight, vectors, gate=gate))
    apart = np.arccos(after.centres[0] @ after.centres[1])
    assert (after.radius > tight.radius).any()
    assert after.radius.sum() <= apart + 1e-5


def test_a_centre_never_moves_into_another_region() -> None:
    region_map = three_regions()
    region_map = dataclasses.replace(region_map, max_radius=np.full(3, 3.0, np.float32))
    # Everything new lies just on region 0's side of the midpoint to region 1.
    middle = (np.eye(D)[0] + 0.97 * np.eye(D)[1])[None]
    vectors = np.repeat(middle / np.linalg.norm(middle), 300, axis=0).astype(np.float32)
    gate = dataclasses.replace(GATE, movement=1.0, prior_strength=0.0)
    wide = dataclasses.replace(region_map, radius=np.array([0.4, 1.2, 0.4], np.float32))
    after = apply_plan(wide, planned(wide, vectors, gate=gate))
    assert after.centres[0] @ after.centres[1] > wide.centres[0] @ wide.centres[1]
    assert np.arccos(after.centres[0] @ after.centres[1]) >= 1.2


# --- new regions from the buffer --------------------------------------------------------------------------------


def test_windows_that_belong_nowhere_wait_until_enough_have_come_and_then_become_a_region() -> None:
    region_map, first, second = three_regions(), around(5, 50, seed=1), around(5, 50, seed=2)
    plan = planned(region_map, first)
    assert (plan.added, plan.pending, plan.operations) == ((), 50, ())
    pending = next_buffer(plan, empty(), windows_for(first), first)
    again = planned(region_map, second, buffer=AddBuffer.from_bytes(pending.to_bytes()))
    assert again.added == (10,)
    operation = again.operation(10)
    assert operation.add == operation.count == 100 - again.pending
    assert operation.add >= 95
    assert np.array(operation.centre) @ np.eye(D)[5] > 0.99
    after = apply_plan(region_map, again)
    assert after.ids.tolist() == [0, 1, 2, 10]
    rows, buffer_rows = again.rows(10)
    assert len(rows) + len(buffer_rows) == operation.add
    left = next_buffer(again, pending, windows_for(second), second)
    assert len(left) == again.pending


def test_two_new_preferences_at_once_become_two_regions_and_outliers_stay_pending() -> None:
    region_map = three_regions()
    outliers = around(9, 30, spread=3.0, seed=3)
    plan = planned(region_map, np.concatenate([around(5, 150, seed=1), around(6, 80, seed=1), outliers]))
    assert plan.added == (10, 11)
    for region, axis in ((10, 5), (11, 6)):
        assert plan.operation(region).centre[axis] > 0.95
    assert plan.pending >= 15


def test_one_broad_new_preference_is_not_split_into_several_regions() -> None:
    plan = planned(three_regions(), around(5, 400, spread=0.15, seed=1))
    assert plan.added == (10,)


def test_at_most_so_many_regions_are_added_and_the_rest_wait() -> None:
    vectors = np.concatenate([around(5, 150, seed=1), around(6, 100, seed=1), around(7, 60, seed=1)])
    plan = planned(three_regions(), vectors, gate=dataclasses.replace(GATE, max_added=2))
    assert [plan.operation(r).add > 90 for r in plan.added] == [True, True]
    assert 55 <= plan.pending <= 75


def test_too_few_or_too_scattered_windows_do_not_make_a_region() -> None:
    region_map = three_regions()
    none = planned(region_map, around(5, 39, seed=1), gate=dataclasses.replace(GATE, buffer=40, min_region=40))
    assert none.added == ()
    scattered = np.random.default_rng(0).standard_normal((300, D)).astype(np.float32)
    scattered[:, :3] = 0
    scattered /= np.linalg.norm(scattered, axis=1, keepdims=True)
    plan = planned(region_map, scattered)
    assert (plan.added, plan.operations) == ((), ())
    assert plan.pending == 300


def test_the_fringe_of_a_region_goes_to_it_as_expand_and_makes_no_new_region() -> None:
    region_map = three_regions()
    # A ring around the first axis, just beyond the outer radius: its mean direction is the region's own centre.
    generator = np.random.default_rng(0)
    away = np.zeros((400, D))
    away[:, 3:] = generator.standard_normal((400, D - 3))
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    angle = float(region_map.max_radius[0]) + 0.05
    ring = (np.cos(angle) * region_map.centres[0] + np.sin(angle) * away).astype(np.float32)
    ring /= np.linalg.norm(ring, axis=1, keepdims=True)
    assert RadiusGate().decide(region_map, ring).action.tolist() == [Action.ADD] * 400
    plan = planned(region_map, ring)
    assert plan.added == ()
    operation = plan.operation(0)
    assert (operation.action, operation.update, operation.expand) == (Action.EXPAND, 0, 0)
    assert operation.add >= 200
    assert (plan.action[plan.region == 0] == Action.EXPAND).all()
    refused = planned(region_map, ring, only=())
    assert (refused.operations, refused.pending) == ((), 400)


def test_pending_windows_that_are_all_alike_still_make_one_region() -> None:
    alike = np.repeat(np.eye(D, dtype=np.float32)[5:6], 80, axis=0)
    assert planned(three_regions(), alike).added == (10,)


def test_windows_without_a_direction_wait_and_disturb_nothing() -> None:
    vectors = np.concatenate([np.zeros((30, D), np.float32), around(5, 80, seed=1)])
    plan = planned(three_regions(), vectors)
    assert plan.added == (10,)
    assert (plan.region[:30] == -1).all()
    only_zero = planned(three_regions(), np.zeros((100, D), np.float32))
    assert (only_zero.operations, only_zero.pending) == ((), 100)


def test_a_new_region_starts_from_its_nearest_neighbour() -> None:
    near_two = around(5, 100, spread=0.05, seed=1) + 0.6 * np.eye(D, dtype=np.float32)[2]
    near_two /= np.linalg.norm(near_two, axis=1, keepdims=True)
    assert planned(three_regions(), near_two).operation(10).nearest == 2


def test_the_windows_of_an_addition_that_held_out_windows_do_not_confirm_are_pending_again() -> None:
    region_map = three_regions()
    vectors = np.concatenate([around(0, 100, seed=1), around(5, 150, seed=1), around(6, 80, seed=1)])
    plan = planned(region_map, vectors)
    rejected = without(plan, [11])
    assert (plan.added, rejected.added) == ((10, 11), (10,))
    assert rejected.pending == plan.pending + plan.operation(11).add
    assert [rejected.operation(r) for r in (0, 10)] == [plan.operation(r) for r in (0, 10)]
    assert (rejected.action[rejected.region == -1] == Action.ADD).all()
    windows = windows_for(vectors)
    assert len(next_buffer(rejected, empty(), windows, vectors)) == rejected.pending
    assert apply_plan(region_map, rejected).ids.tolist() == [0, 1, 2, 10]
    with pytest.raises(InputError, match="touched regions"):
        without(rejected, [11])


def test_without_an_update_the_region_keeps_its_bytes_and_its_windows_are_left_out() -> None:
    region_map = three_regions()
    vectors = np.concatenate([around(0, 100, seed=1), around(1, 100, seed=1)])
    plan = without(planned(region_map, vectors), [0])
    assert region_state(apply_plan(region_map, plan), 0) == region_state(region_map, 0)
    assert set(plan.region[plan.left].tolist()) == {0}


# --- plans as values --------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 7), st.integers(1, 120), st.floats(0.02, 0.8)), min_size=1, max_size=5),
    st.integers(0, 80),
    st.sampled_from(["radius", "posterior"]),
    st.integers(0, 100),
)
def test_what_is_always_true_of_a_plan(
    groups: list[tuple[int, int, float]], waited: int, policy: str, seed: int
) -> None:
    region_map = three_regions()
    vectors = np.concatenate([around(axis, n, spread=spread, seed=seed) for axis, n, spread in groups])
    old = around(8, waited, seed=seed)
    buffer = AddBuffer(windows_for(old, first=10_000), old, SPACE)
    plan = planned(region_map, vectors, buffer=buffer, gate=dataclasses.replace(GATE, policy=policy))
    for operation in plan.operations:
        rows, buffer_rows = plan.rows(operation.region)
        assert operation.windows == len(rows) + len(buffer_rows) > 0
    decided = gate_from(dataclasses.replace(GATE, policy=policy)).decide(region_map, vectors)
    np.testing.assert_array_equal(load(plan.to_bytes())["decided_region"], decided.region)
    trained = sum(operation.windows for operation in plan.operations)
    assert trained + plan.pending + len(plan.left) == len(vectors) + waited
    after = apply_plan(region_map, plan)
    assert set(after.ids.tolist()) == {0, 1, 2, *plan.added}
    assert after.weights.sum() == pytest.approx(1.0)
    for region in {0, 1, 2} - set(plan.touched):
        assert region_state(after, region) == region_state(region_map, region)
    for operation in plan.operations:
        row = after.position(operation.region)
        assert after.centres[row].tolist() == list(operation.centre)
        assert float(after.radius[row]) == operation.radius <= operation.max_radius
    assert len(next_buffer(plan, buffer, windows_for(vectors), vectors)) == plan.pending
    assert EditPlan.from_bytes(plan.to_bytes()) == plan
    assert EditPlan.from_bytes(plan.to_bytes()).to_bytes() == plan.to_bytes()


def test_a_plan_is_the_same_value_however_often_it_is_made_and_another_with_another_seed() -> None:
    region_map = three_regions()
    vectors = np.concatenate([around(0, 100, seed=1), around(5, 150, seed=1)])
    assert planned(region_map, vectors) == planned(region_map, vectors)
    assert len({planned(region_map, vectors), planned(region_map, vectors)}) == 1
    assert planned(region_map, vectors, seed=6) != planned(region_map, vectors)
    assert planned(region_map, vectors, parent="q" * 64) != planned(region_map, vectors)


def test_another_process_with_another_hash_seed_makes_the_plan_of_the_same_digest() -> None:
    here = Path(__file__).resolve()
    program = (
        f"import importlib.util, sys; s = importlib.util.spec_from_file_location('plan_case', {str(here)!r}); "
        "m = importlib.util.module_from_spec(s); sys.modules['plan_case'] = m; s.loader.exec_module(m); "
        "print(m.example().digest)"
    )
    root = str(here.parents[3])
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": root},
            capture_output=True,
            text=True,
            check=True,
            cwd=root,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert digests == {example().digest}


def example() -> EditPlan:
    return planned(three_regions(), np.concatenate([around(0, 100, seed=1), around(5, 150, seed=1)]))


def test_a_plan_records_the_gate_and_every_number_it_depends_on() -> None:
    plan = planned(three_regions(), around(0, 100, seed=1), gate=dataclasses.replace(GATE, policy="posterior"))
    assert plan.gate == "posterior"
    assert plan.parameters["thresholds"] == {"margin": 0.05}
    assert plan.parameters["gate"]["movement"] == GATE.movement
    assert plan.parameters["regions"]["quantile"] == REGIONS.quantile


def test_the_summary_lists_every_region_and_what_happens_to_it() -> None:
    region_map = three_regions()
    vectors = np.concatenate([around(0, 300, spread=0.19, seed=1), around(1, 300, seed=1), around(5, 150, seed=1)])
    rows = region_summary(region_map, planned(region_map, vectors))
    assert [(row["region"], row["action"]) for row in rows] == [
        (0, "expand"),
        (1, "update"),
        (2, "untouched"),
        (10, "add"),
    ]
    assert rows[3]["radius_before"] is None
    assert rows[2]["centre_shift"] == 0.0
    assert rows[0]["radius_after"] > rows[0]["radius_before"]


def test_a_plan_is_refused_by_another_map_another_space_and_other_windows() -> None:
    region_map = three_regions()
    vectors = around(0, 100, seed=1)
    plan = planned(region_map, vectors)
    after = apply_plan(region_map, plan)
    with pytest.raises(InputError, match="plan again"):
        apply_plan(after, plan)
    with pytest.raises(InputError, match="plan again"):
        next_buffer(plan, empty(), windows_for(vectors, first=1), vectors)
    with pytest.raises(WrongBackbone):
        planned(region_map, vectors, space="f" * 64)
    with pytest.raises(WrongBackbone):
        planned(region_map, vectors, buffer=AddBuffer.empty(4, D, "f" * 64))
    with pytest.raises(InputError, match="region id above 2"):
        planned(region_map, vectors, next_region_id=2)


def test_decisions_and_vectors_of_different_windows_are_refused() -> None:
    region_map, vectors = three_regions(), around(0, 100, seed=1)
    decisions = RadiusGate().decide(region_map, vectors)
    with pytest.raises(InputError, match="100 decisions, 99 vectors"):
        make_plan(
            region_map,
            decisions,
            vectors[:99],
            windows_for(vectors),
            space=SPACE,
            buffer=empty(),
            gate=GATE,
            regions=REGIONS,
            seed=0,
            parent="p",
            next_region_id=3,
        )


def test_damaged_plans_and_buffers_are_refused() -> None:
    data = planned(three_regions(), around(0, 100, seed=1)).to_bytes()
    with pytest.raises(DamagedArtifact):
        EditPlan.from_bytes(data[:-1])
    with pytest.raises(DamagedArtifact, match="edit plan"):
        EditPlan.from_bytes(data.replace(b"parent", b"tnerap"))
    with pytest.raises(DamagedArtifact):
        AddBuffer.from_bytes(data)
    vectors = around(0, 3)
    with pytest.raises(InputError, match="one vector per window"):
        AddBuffer(windows_for(vectors), vectors[:2], SPACE)


def test_a_buffer_read_from_its_bytes_is_the_same_buffer() -> None:
    vectors = around(0, 30)
    buffer = AddBuffer(windows_for(vectors), vectors, SPACE)
    again = AddBuffer.from_bytes(buffer.to_bytes())
    assert again.digest == buffer.digest
    assert again.windows.digest == buffer.windows.digest
    assert again.take(np.arange(3)).extended(again).vectors.shape == (33, D)
    with pytest.raises(WrongBackbone):
        again.extended(AddBuffer.empty(4, D, "f" * 64))
