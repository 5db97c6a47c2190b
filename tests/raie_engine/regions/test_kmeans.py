"""Spherical k-means on clusters with known answers, its repairs, and the criterion for K."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from raie.engine.errors import InputError
from raie.engine.regions.kmeans import (
    KChoice,
    choose_k,
    different_directions,
    nearest_centre,
    nearest_two,
    spherical_kmeans,
)

Floats = npt.NDArray[np.float32]


def groups(
    sizes: list[int], *, d: int = 16, spread: float = 0.1, seed: int = 0
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Unit vectors around the first axes, shuffled, with the group of each."""
    generator = np.random.default_rng(seed)
    truth = generator.permutation(np.repeat(np.arange(len(sizes)), sizes))
    vectors = np.eye(d)[truth] + spread * generator.standard_normal((len(truth), d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), truth


def test_clear_groups_are_found_whatever_their_sizes() -> None:
    vectors, truth = groups([900, 300, 40, 12])
    centres, labels = spherical_kmeans(vectors, 4, seed=1)
    assert len({(a, b) for a, b in zip(truth.tolist(), labels.tolist(), strict=True)}) == 4
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1.0, atol=1e-5)


def test_the_same_seed_gives_the_same_bytes_and_no_global_generator_is_used() -> None:
    vectors, _ = groups([200, 200, 200], spread=0.4)
    state = np.random.get_state()[1].copy()  # type: ignore[union-attr]
    first = spherical_kmeans(vectors, 5, seed=7)
    second = spherical_kmeans(vectors, 5, seed=7)
    assert first[0].tobytes() == second[0].tobytes()
    assert first[1].tobytes() == second[1].tobytes()
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # type: ignore[arg-type]


def test_the_assignment_is_the_nearest_centre_of_every_window_across_chunks() -> None:
    vectors, _ = groups([5000, 4000, 3000], spread=0.5)
    centres, labels = spherical_kmeans(vectors, 6, seed=0, points_per_centre=50)
    np.testing.assert_array_equal(labels, (vectors @ centres.T).argmax(axis=1))


def test_a_centre_is_the_mean_direction_of_its_windows() -> None:
    vectors, _ = groups([300, 300], spread=0.05)
    centres, labels = spherical_kmeans(vectors, 2, seed=0)
    for k in range(2):
        mean = vectors[labels == k].sum(axis=0)
        assert centres[k] @ (mean / np.linalg.norm(mean)) > 0.9999


def test_restarts_are_not_worse_than_a_single_start() -> None:
    vectors, _ = groups([100] * 12, spread=0.15)

    def quality(restarts: int) -> float:
        centres, labels = spherical_kmeans(vectors, 12, seed=3, restarts=restarts)
        return float((vectors * centres[labels]).sum(axis=1).mean())

    assert quality(8) >= quality(1) - 1e-3


def test_a_region_for_each_of_a_few_rare_directions_leaves_none_empty() -> None:
    vectors = np.repeat(np.eye(8, dtype=np.float32)[:3], [4000, 1, 1], axis=0)
    _, labels = spherical_kmeans(vectors, 3, seed=0, points_per_centre=100)
    assert np.bincount(labels, minlength=3).min() == 1


def test_more_regions_than_different_windows_are_refused_with_the_number_found() -> None:
    vectors = np.repeat(np.eye(8, dtype=np.float32)[:2], 50, axis=0)
    with pytest.raises(InputError, match="at least 3 different windows to make 3 regions, found 2"):
        spherical_kmeans(vectors, 3, seed=0)


def test_windows_without_a_direction_are_assigned_but_make_no_centre() -> None:
    vectors, _ = groups([50, 50])
    vectors = np.concatenate([vectors, np.zeros((200, 16), np.float32)])
    centres, labels = spherical_kmeans(vectors, 2, seed=0)
    assert len(labels) == 300
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1.0, atol=1e-5)
    with pytest.raises(InputError, match="windows or more that differ"):
        spherical_kmeans(np.zeros((10, 4), np.float32), 2, seed=0)


def test_of_equally_near_centres_the_first_wins() -> None:
    centres = np.array([[0, 1], [1, 0], [1, 0]], np.float32)
    vectors = np.array([[1, 0], [np.sqrt(0.5), np.sqrt(0.5)]], np.float32)
    assert nearest_centre(vectors, centres)[0].tolist() == [1, 0]


def test_the_runner_up_is_the_second_largest_cosine() -> None:
    vectors, _ = groups([300, 300, 300], spread=0.6)
    centres = spherical_kmeans(vectors, 5, seed=0)[0]
    ordered = np.sort(vectors @ centres.T, axis=1)
    _, first, second = nearest_two(vectors, centres)
    np.testing.assert_array_equal(first, ordered[:, -1])
    np.testing.assert_array_equal(second, ordered[:, -2])


@pytest.mark.parametrize("k", [2, 3, 5])
def test_the_criterion_finds_the_number_of_clear_groups_and_records_every_k(k: int) -> None:
    vectors, _ = groups([200] * k, spread=0.15)
    choice = choose_k(vectors, range(2, 8), seed=0)
    assert choice.k == k
    assert [m.k for m in choice.measured] == [2, 3, 4, 5, 6, 7]


def test_a_k_whose_largest_region_holds_nearly_everything_is_avoided() -> None:
    # Two groups on neighbouring axes and a far handful: K = 2 splits off the handful, which helps no one.
    vectors, truth = groups([480, 460, 60], spread=0.02)
    near = vectors.copy()
    near[truth == 1] += 4 * np.eye(16, dtype=np.float32)[0]
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    choice = choose_k(near, range(2, 4), seed=0, min_share=0.005)
    assert choice.measured[0].largest_share > 0.9
    assert choice.measured[0].silhouette > choice.measured[1].silhouette
    assert choice.k == 3


def test_a_region_below_the_minimum_share_is_avoided_and_admitted_only_if_every_k_has_one() -> None:
    vectors, _ = groups([500, 490, 10], spread=0.05)
    assert choose_k(vectors, range(2, 4), seed=0, min_share=0.0).k == 3
    assert choose_k(vectors, range(2, 4), seed=0, min_share=0.05).k == 2
    only = choose_k(vectors, [3], seed=0, min_share=0.05)
    assert only.k == 3


def test_windows_too_few_or_too_alike_to_choose_from_are_one_region() -> None:
    assert choose_k(np.eye(3, dtype=np.float32), range(2, 9), seed=0) == KChoice(1, ())
    alike = np.tile(np.eye(3, dtype=np.float32)[:1], (100, 1))
    assert choose_k(alike, range(2, 9), seed=0) == KChoice(1, ())


def test_directions_are_counted_as_far_as_asked() -> None:
    vectors = np.concatenate([np.eye(5), np.eye(5), np.zeros((3, 5))]).astype(np.float32)
    assert [different_directions(vectors, most) for most in (1, 3, 5, 9)] == [1, 3, 5, 5]
    assert different_directions(vectors[-3:], 4) == 1
