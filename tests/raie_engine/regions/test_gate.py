"""The gates against plain loops that follow the equations word for word, and the configurations they refuse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raie.engine.config import GateConfig
from raie.engine.errors import ConfigError, NotFinite, WrongBackbone
from raie.engine.regions.gate import (
    Action,
    GateDecisions,
    GatePolicy,
    NearestGate,
    PaperGate,
    PosteriorGate,
    RadiusGate,
    gate_from,
    gate_parameters,
)
from raie.engine.regions.region_map import RegionMap
from raie.engine.regions.von_mises_fisher import log_normaliser


def unit(rows: Any) -> np.ndarray:
    rows = np.asarray(rows, float)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def some_map(k: int, d: int, seed: int) -> RegionMap:
    generator = np.random.default_rng(seed)
    radius = generator.uniform(0.3, 1.2, k).astype(np.float32)
    return RegionMap(
        ids=(3 + 2 * np.arange(k)).astype(np.int32),
        centres=unit(generator.standard_normal((k, d))),
        radius=radius,
        max_radius=radius * np.float32(1.3),
        concentration=generator.uniform(2, 60, k).astype(np.float32),
        count=generator.integers(1, 1000, k),
        space="s",
    )


def some_vectors(region_map: RegionMap, n: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    k, d = region_map.centres.shape
    mix = region_map.centres[generator.integers(k, size=n)] + region_map.centres[generator.integers(k, size=n)]
    return unit(mix + generator.uniform(0.1, 1.5, (n, 1)) * generator.standard_normal((n, d)) / math.sqrt(d))


def radius_loop(region_map: RegionMap, z: np.ndarray) -> tuple[Action, int]:
    cosines = [float(z @ centre) for centre in region_map.centres]
    k = cosines.index(max(cosines))
    angle = np.float32(math.acos(max(-1.0, min(1.0, cosines[k]))))
    if angle <= region_map.radius[k]:
        return Action.UPDATE, int(region_map.ids[k])
    return (Action.EXPAND, int(region_map.ids[k])) if angle <= region_map.max_radius[k] else (Action.ADD, -1)


def paper_loop(region_map: RegionMap, z: np.ndarray, gate: PaperGate) -> tuple[Action, int]:
    exponents = [math.exp(float(z @ centre) / gate.temperature) for centre in region_map.centres]
    p = [e / sum(exponents) for e in exponents]
    first, second = sorted(p, reverse=True)[:2]
    if first < gate.high:
        return Action.ADD, -1
    region = int(region_map.ids[p.index(first)])
    return (Action.UPDATE if first - second >= gate.margin else Action.EXPAND), region


def posterior_loop(region_map: RegionMap, z: np.ndarray, margin: float) -> tuple[Action, int]:
    d = len(z)
    logs = [
        log_normaliser(float(kappa), d) + float(kappa) * float(z @ centre) + math.log(weight)
        for centre, kappa, weight in zip(
            region_map.centres, region_map.concentration, region_map.weights, strict=True
        )
    ]
    p = [math.exp(value - max(logs)) for value in logs]
    p = [value / sum(p) for value in p]
    k = p.index(max(p))
    angle = np.float32(math.acos(max(-1.0, min(1.0, float(z @ region_map.centres[k])))))
    if angle > region_map.max_radius[k]:
        return Action.ADD, -1
    first, second = sorted(p, reverse=True)[:2]
    inside = angle <= region_map.radius[k] and first - second >= margin
    return (Action.UPDATE if inside else Action.EXPAND), int(region_map.ids[k])


def agreement(decisions: GateDecisions, expected: list[tuple[Action, int]]) -> float:
    decided = zip(decisions.action.tolist(), decisions.region.tolist(), strict=True)
    return float(np.mean([f == e for f, e in zip(decided, expected, strict=True)]))


def test_the_radius_gate_decides_as_a_loop_over_windows_does() -> None:
    region_map = some_map(7, 16, 0)
    vectors = some_vectors(region_map, 6000, 1)
    decisions = RadiusGate().decide(region_map, vectors)
    assert all((decisions.action == action).sum() > 300 for action in Action)
    assert agreement(decisions, [radius_loop(region_map, z) for z in vectors]) > 0.9995


def test_the_paper_gate_decides_as_a_loop_over_windows_does() -> None:
    gate = PaperGate(temperature=0.3, high=0.35, margin=0.1)
    region_map = some_map(7, 16, 0)
    vectors = some_vectors(region_map, 6000, 1)
    decisions = gate.decide(region_map, vectors)
    assert all((decisions.action == action).sum() > 100 for action in Action)
    assert agreement(decisions, [paper_loop(region_map, z, gate) for z in vectors]) > 0.9995


def test_the_posterior_gate_decides_as_a_loop_over_windows_does() -> None:
    region_map = some_map(7, 16, 0)
    vectors = some_vectors(region_map, 6000, 1)
    decisions = PosteriorGate(margin=0.4).decide(region_map, vectors)
    assert all((decisions.action == action).sum() > 100 for action in Action)
    assert (decisions.region != decisions.nearest)[decisions.action != Action.ADD].any()
    assert agreement(decisions, [posterior_loop(region_map, z, 0.4) for z in vectors]) > 0.9995


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([RadiusGate(), PosteriorGate(), PaperGate(temperature=0.3, high=0.52, margin=0.1)]),
    st.integers(2, 6),
    st.integers(0, 40),
    st.integers(0, 1000),
)
def test_every_window_gets_one_action_and_only_add_names_no_region(
    gate: GatePolicy, k: int, n: int, seed: int
) -> None:
    region_map = some_map(k, 5, seed)
    vectors = some_vectors(region_map, n, seed + 1)
    decisions = gate.decide(region_map, vectors)
    assert len(decisions) == n
    assert np.isin(decisions.action, list(Action)).all()
    np.testing.assert_array_equal(decisions.region == -1, decisions.action == Action.ADD)
    assert np.isin(decisions.region, [-1, *region_map.ids]).all()
    assert np.isin(decisions.nearest, region_map.ids).all()
    assert ((decisions.angle >= 0) & (decisions.angle <= np.float32(np.pi))).all()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=8))
def test_the_algebra_of_the_paper_gate_holds_for_every_distribution(weights: list[float]) -> None:
    p = sorted((weight / sum(weights) for weight in weights), reverse=True)
    assert p[0] - p[1] >= 2 * p[0] - 1 - 1e-12


def test_a_paper_gate_that_can_never_expand_is_refused() -> None:
    for make in (lambda: PaperGate(high=0.7, margin=0.05), lambda: GateConfig(policy="paper", high=0.7)):
        with pytest.raises(ConfigError, match="makes Expand impossible"):
            make()


def test_a_paper_gate_that_can_never_add_or_update_with_this_many_regions_is_refused() -> None:
    vectors = unit([[1, 0, 0]])
    with pytest.raises(ConfigError, match="makes Add impossible with 2 regions"):
        PaperGate(high=0.5).decide(some_map(2, 3, 0), vectors)
    with pytest.raises(ConfigError, match="makes Add impossible with 1 regions"):
        PaperGate(high=0.9, margin=0.95).decide(some_map(1, 3, 0), vectors)
    with pytest.raises(ConfigError, match="makes Update impossible with 7 regions"):
        PaperGate(temperature=10.0, high=0.5).decide(some_map(7, 3, 0), vectors)


def test_windows_on_the_edge_are_inside() -> None:
    centres = np.eye(2, dtype=np.float32)
    edge = np.arccos(np.float32(0.8))
    region_map = RegionMap(
        ids=np.array([0, 1], np.int32),
        centres=centres,
        radius=np.full(2, edge, np.float32),
        max_radius=np.full(2, np.arccos(np.float32(0.75)), np.float32),
        concentration=np.ones(2, np.float32),
        count=np.array([5, 5]),
        space="s",
    )
    vectors = np.array([[0.8, 0.6], [0.75, math.sqrt(1 - 0.75**2)], [0.7, -math.sqrt(1 - 0.49)]], np.float32)
    decisions = RadiusGate().decide(region_map, vectors)
    assert decisions.action.tolist() == [Action.UPDATE, Action.EXPAND, Action.ADD]


def test_a_window_as_near_to_two_regions_goes_to_the_lower_id_in_every_gate() -> None:
    region_map = RegionMap(
        ids=np.array([4, 9], np.int32),
        centres=np.eye(2, dtype=np.float32),
        radius=np.full(2, 1.0, np.float32),
        max_radius=np.full(2, 1.2, np.float32),
        concentration=np.full(2, 5, np.float32),
        count=np.array([5, 5]),
        space="s",
    )
    middle = np.full((1, 2), math.sqrt(0.5), np.float32)
    assert RadiusGate().decide(region_map, middle).region.tolist() == [4]
    contested = PosteriorGate().decide(region_map, middle)
    assert (contested.region.tolist(), contested.action.tolist()) == ([4], [Action.EXPAND])


def test_without_the_normaliser_the_most_concentrated_region_would_take_its_neighbours_windows() -> None:
    # Two regions of equal weight, one ten times as concentrated, and windows drawn around the wide one.
    generator = np.random.default_rng(0)
    d = 32
    centres = unit([np.eye(d)[0], np.eye(d)[0] + np.eye(d)[1]])
    region_map = RegionMap(
        ids=np.array([0, 1], np.int32),
        centres=centres,
        radius=np.array([1.3, 0.3], np.float32),
        max_radius=np.array([1.5, 0.5], np.float32),
        concentration=np.array([30, 300], np.float32),
        count=np.array([5, 5]),
        space="s",
    )
    vectors = unit(centres[0] + 0.18 * generator.standard_normal((500, d)))
    bare = (vectors @ centres.T * region_map.concentration).argmax(axis=1)
    assert (bare == 1).mean() > 0.9
    assert (PosteriorGate().decide(region_map, vectors).region == 0).mean() > 0.95


def test_the_nearest_gate_updates_what_the_radius_gate_finds_nearest() -> None:
    region_map = some_map(4, 8, 5)
    vectors = some_vectors(region_map, 300, 6)
    nearest, radius = (
        gate_from(GateConfig(policy="nearest")).decide(region_map, vectors),
        RadiusGate().decide(region_map, vectors),
    )
    assert (nearest.action == Action.UPDATE).all()
    assert (nearest.region == radius.nearest).all()
    assert (nearest.angle == radius.angle).all()
    assert (radius.action == Action.ADD).any()


@pytest.mark.parametrize("gate", [RadiusGate(), PosteriorGate(), PaperGate(high=0.51), NearestGate()])
def test_every_gate_refuses_vectors_that_it_cannot_compare(gate: GatePolicy) -> None:
    region_map = some_map(3, 4, 0)
    with pytest.raises(WrongBackbone):
        gate.decide(region_map, np.zeros((1, 5), np.float32))
    with pytest.raises(NotFinite, match="1 of 2"):
        gate.decide(region_map, np.array([[1, 0, 0, 0], [np.nan, 0, 0, 0]], np.float32))


def test_the_configuration_names_the_gate_and_its_thresholds() -> None:
    assert gate_from(GateConfig()) == RadiusGate()
    assert gate_parameters(gate_from(GateConfig())) == {}
    paper = gate_from(GateConfig(policy="paper", high=0.51, margin=0.1, temperature=0.2))
    assert gate_parameters(paper) == {"temperature": 0.2, "high": 0.51, "margin": 0.1}
    assert gate_from(GateConfig(policy="posterior", margin=0.3)) == PosteriorGate(0.3)


@pytest.mark.parametrize(
    "options",
    [
        {"policy": "coin"},
        {"margin": 1.5},
        {"movement": -0.1},
        {"expand_share": 2.0},
        {"temperature": 0.0},
        {"prior_strength": -1.0},
        {"min_windows": 0},
        {"max_added": 0},
        {"buffer": 10, "min_region": 20},
    ],
)
def test_gate_options_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"gate\."):
        GateConfig(**options)


def test_a_posterior_margin_that_no_window_reaches_is_refused() -> None:
    with pytest.raises(ConfigError, match="Update never happens"):
        PosteriorGate(margin=1.1)
