from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from raie.engine.backbones import ModelShape, SasRec
from raie.engine.data.windows import Windows
from raie.engine.evaluation.metrics import ranks
from raie.engine.training.batches import SORTED_BATCHES, epoch_batches, trimmed_ranks
from raie.engine.training.train_adapter import adapter_scores
from tests.raie_engine.world import random_windows

BATCH = 16


def lengths(count: int = 3_000) -> np.ndarray:
    """Mostly short, a few as long as a window can be, as in logs of shops."""
    return np.minimum(np.random.default_rng(0).geometric(0.15, count), 50)


def test_every_window_is_in_one_batch_of_an_epoch() -> None:
    for sizes in (lengths(), lengths(5), np.full(70, 10), np.ones(1, int)):
        rows = np.concatenate(epoch_batches(sizes, BATCH, seed=1, epoch=1))
        assert sorted(rows.tolist()) == list(range(len(sizes)))
    assert epoch_batches(np.zeros(0, int), BATCH, seed=1, epoch=1) == []


def test_batches_depend_on_the_seed_and_the_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        return [rows.tolist() for rows in epoch_batches(lengths(), BATCH, seed, epoch)]

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)


def test_hardly_any_position_of_a_batch_is_padding() -> None:
    sizes = lengths()
    batches = epoch_batches(sizes, BATCH, seed=1, epoch=1)
    computed = sum(len(rows) * sizes[rows].max() for rows in batches)
    assert computed < 1.15 * sizes.sum()
    assert len(sizes) * sizes.max() > 7 * sizes.sum()


def test_batches_are_as_much_work_each_and_as_many_as_without_sorting() -> None:
    sizes = lengths()
    batches = epoch_batches(sizes, BATCH, seed=1, epoch=1)
    work = np.array([sizes[rows].sum() for rows in batches])
    assert abs(len(batches) - len(sizes) / BATCH) <= len(sizes) / (BATCH * SORTED_BATCHES)
    assert work.max() < 1.5 * work.mean()
    assert work.min() > 0.5 * work.mean()


def test_batches_hold_as_many_targets_each_where_windows_say_how_many_they_have() -> None:
    sizes = lengths()
    targets = np.minimum(sizes, np.random.default_rng(1).integers(1, 26, len(sizes)))
    batches = epoch_batches(sizes, BATCH, seed=1, epoch=1, targets=targets)
    work = np.array([targets[rows].sum() for rows in batches])
    assert work.max() < 1.5 * work.mean()
    assert sum(len(rows) * sizes[rows].max() for rows in batches) < 1.2 * sizes.sum()
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(sizes)))


def test_short_windows_do_not_follow_one_another() -> None:
    sizes = lengths()
    longest = np.array([sizes[rows].max() for rows in epoch_batches(sizes, BATCH, seed=1, epoch=1)])
    assert abs(np.corrcoef(longest[:-1], longest[1:])[0, 1]) < 0.3


def test_windows_of_one_length_are_shuffled_and_cut_and_no_more() -> None:
    order = np.random.default_rng([3, 2]).permutation(70)
    batches = epoch_batches(np.full(70, 10), 16, seed=3, epoch=2)
    assert [rows.tolist() for rows in batches] == [
        order[start : start + 16].tolist() for start in range(0, 70, 16)
    ]


@pytest.mark.parametrize("times", [False, True])
def test_validation_ranks_are_those_of_whole_windows(times: bool) -> None:
    windows = random_windows(60, 8, 30, seed=2)
    if times:
        windows = Windows(**{**vars(windows), "times": windows.items.astype(np.int64) * 1000})
    model = SasRec.fresh(ModelShape(items=30, length=8, dim=16, layers=2, heads=2), seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5)
    score, widths = adapter_scores(model.eval(), None), list[int]()
    measured = trimmed_ranks(_recording(score, widths), windows, batch=16)
    assert (measured == ranks(score, windows)).all()
    assert widths == sorted(widths)
    assert widths[0] < 8


def _recording(score: Callable[[Windows], torch.Tensor], widths: list[int]) -> Callable[[Windows], torch.Tensor]:
    def recorded(windows: Windows) -> torch.Tensor:
        widths.append(windows.items.shape[1])
        return score(windows)

    return recorded
