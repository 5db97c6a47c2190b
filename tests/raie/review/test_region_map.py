"""The map of regions: where centres lie in two dimensions, the same every time and in both snapshots."""

from __future__ import annotations

import math

import numpy as np
import pytest

from raie.registry.promotion.impact_report import Change
from raie.review.charts import axis_of, interval_mark, map_marks, trade_marks
from raie.review.region_map import MapPoint, project, region_maps
from raie.snapshots.snapshot_diff import RegionState


def state(*centre: float, share: float = 0.5) -> RegionState:
    return RegionState(1, 1, "setup", 0.5, 20.0, 100, share, False, centre, {})


def test_a_region_that_did_not_move_has_one_place_in_both_maps_and_one_that_did_has_two() -> None:
    before = {0: state(1.0, 0.0, 0.0), 1: state(0.0, 1.0, 0.0), 2: state(0.0, 0.0, 1.0)}
    after = {0: before[0], 1: state(0.0, 0.6, 0.8), 3: before[2]}
    maps = region_maps(before, after, {1: "changed", 2: "removed", 3: "added"})
    assert maps is not None
    old, new = ({point.region: point for point in side} for side in (maps.before, maps.after))
    assert (old[0].x, old[0].y) == (new[0].x, new[0].y)
    assert (old[1].x, old[1].y) != (new[1].x, new[1].y)
    assert [point.mark for point in maps.after] == ["same", "changed", "added"]
    assert [point.mark for point in maps.before] == ["same", "changed", "removed"]


def test_centres_in_a_plane_keep_their_distances_and_the_map_says_that_it_shows_all() -> None:
    plane = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 2.0], [4.0, 2.0]])
    turned = plane @ np.array([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])  # the same plane, somewhere in three dimensions
    points, explained = project(turned.tolist())
    assert explained == pytest.approx(1.0)
    assert np.linalg.norm(points[1] - points[0]) == pytest.approx(
        2 * np.linalg.norm(points[2] - points[0]), abs=0.01
    )
    assert np.abs(points).max() == 1.0


def test_the_order_of_centres_turns_no_map() -> None:
    centres = np.random.default_rng(3).normal(size=(9, 16))
    points, _ = project(centres.tolist())
    reversed_points, _ = project(centres[::-1].tolist())
    assert points.tolist() == reversed_points[::-1].tolist()


def test_equal_centres_and_a_single_one_lie_in_the_middle() -> None:
    assert project([[1.0, 0.0]] * 3)[0].tolist() == [[0.0, 0.0]] * 3
    assert project([[0.6, 0.8]])[0].tolist() == [[0.0, 0.0]]


def test_without_centres_there_is_no_map() -> None:
    assert region_maps({}, {0: state()}, {}) is None
    assert region_maps({0: state(1.0, 0.0)}, {0: state(1.0, 0.0, 0.0)}, {}) is None


def test_every_shape_has_the_area_of_its_share_of_windows() -> None:
    marks = map_marks([MapPoint(n, 0.0, 0.0, 0.25, mark) for n, mark in enumerate(("same", "changed", "added"))])
    circle, *polygons = marks
    assert circle.shape == ""
    for mark in polygons:
        corners = [tuple(map(float, pair.split(","))) for pair in mark.shape.split()]
        twice = sum(a[0] * b[1] - a[1] * b[0] for a, b in zip(corners, corners[1:] + corners[:1], strict=True))
        assert abs(twice) / 2 == pytest.approx(math.pi * circle.radius**2, rel=0.02)
    half, whole = (map_marks([MapPoint(0, 0.0, 0.0, share, "same")])[0].radius for share in (0.5, 1.0))
    assert whole**2 == pytest.approx(2 * half**2, rel=0.01)


def test_what_differs_lies_over_the_rest_and_only_a_region_that_moved_shows_from_where() -> None:
    points = [MapPoint(0, 0.5, 0.5, 0.9, "changed"), MapPoint(1, 0.0, 0.0, 0.1, "same")]
    marks = map_marks(points, {0: MapPoint(0, -0.5, 0.5, 0.9, "changed"), 1: points[1]})
    assert [mark.region for mark in marks] == [1, 0]
    assert marks[0].moved_from is None
    assert marks[1].moved_from is not None
    assert marks[1].moved_from[0] < marks[1].x


def test_a_crowded_map_names_what_differs_and_a_very_crowded_one_nothing() -> None:
    def named(same: int, changed: int) -> set[str]:
        marks = ["same"] * same + ["changed"] * changed
        return {
            m.mark for m in map_marks([MapPoint(n, 0, 0, 0.01, mark) for n, mark in enumerate(marks)]) if m.named
        }

    assert named(38, 2) == {"same", "changed"}
    assert named(39, 2) == {"changed"}
    assert named(1, 41) == set()


def test_an_axis_holds_zero_and_every_end_of_an_interval() -> None:
    axis = axis_of([Change(0.1, 0.05, 0.2), Change(0.02)])
    assert (axis.low, axis.high) == (0.0, 0.2)
    at = interval_mark(Change(0.1, 0.05, 0.2), axis)
    assert at.zero < at.low < at.x < at.high
    unknown = interval_mark(Change(0.02), axis)
    assert unknown.low == unknown.x == unknown.high
    assert axis_of([]).at(0.0, 100.0) == 50.0


def test_regions_that_changed_alike_share_one_mark() -> None:
    marks = trade_marks({"1": (0.0, 0.1), "4": (0.0, 0.1), "5": (-0.1, 0.0)}, axis_of([Change(-0.1), Change(0.1)]))
    assert [mark.name for mark in marks] == ["1, 4", "5"]
    assert marks[1].x < marks[0].x
    assert marks[0].y < marks[1].y  # upwards is more
