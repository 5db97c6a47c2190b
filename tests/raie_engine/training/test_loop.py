from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from raie.engine.backbones import Contexts
from raie.engine.errors import NotFinite
from raie.engine.training.loop import Schedule, Trained, fit
from tests.raie_engine.world import random_windows

ITEMS, LENGTH, DIM = 20, 4, 5
WINDOWS = random_windows(37, LENGTH, ITEMS)
SCHEDULE = Schedule(epochs=5, batch=8, learning_rate=0.05, seed=3)


class Toy:
    """A bag of items with dropout: the smallest model whose training depends on order and on random numbers."""

    def __init__(self, dropout: float = 0.3) -> None:
        self.dropout = dropout
        generator = torch.Generator().manual_seed(0)
        self.table = torch.randn(ITEMS + 1, DIM, generator=generator).requires_grad_()
        self.scale = torch.ones(DIM).requires_grad_()

    @property
    def parameters(self) -> dict[str, Tensor]:
        return {"table": self.table, "scale": self.scale}

    def loss(self, contexts: Contexts, target: Tensor) -> Tensor:
        real = (contexts.items != 0).unsqueeze(2)
        mean = (self.table[contexts.items] * real).sum(dim=1) / contexts.lengths.unsqueeze(1)
        states = F.dropout(mean * self.scale, self.dropout, training=True)
        return F.cross_entropy(states @ self.table.T, target)

    def score(self) -> float:
        """Higher is better, and it goes up and down."""
        return float(torch.sin(10 * self.table.detach().sum()))

    def fit(
        self, schedule: Schedule = SCHEDULE, *, validated: bool = True, path: Path | None = None, **more: object
    ) -> Trained:
        validate = self.score if validated else None
        return fit(self.parameters, self.loss, WINDOWS, schedule, validate=validate, checkpoint=path, **more)


class Killed(Exception):
    """Stands for the end of the process between two epochs."""


def killer(at: int) -> Callable[[int, float], None]:
    def progress(epoch: int, score: float) -> None:
        if epoch == at:
            raise Killed

    return progress


def assert_same(first: Trained, second: Trained) -> None:
    assert first.scores == second.scores
    assert first.samples_seen == second.samples_seen
    assert all(torch.equal(first.parameters[name], second.parameters[name]) for name in first.parameters)


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("epoch", range(1, 6))
def test_training_killed_after_any_epoch_ends_with_the_same_bits(
    epoch: int, validated: bool, tmp_path: Path
) -> None:
    uninterrupted = Toy().fit(validated=validated)
    path = tmp_path / "deeper" / "checkpoint.safetensors"
    with pytest.raises(Killed):
        Toy().fit(validated=validated, path=path, progress=killer(epoch))
    assert path.exists()
    resumed: list[int] = []
    model = Toy()
    result = model.fit(validated=validated, path=path, progress=lambda number, _: resumed.append(number))
    assert resumed == list(range(epoch + 1, 6))
    assert_same(result, uninterrupted)
    assert torch.equal(model.table.detach(), uninterrupted.parameters["table"])


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    path, epochs = tmp_path / "checkpoint", []
    once = Toy().fit(path=path)
    assert_same(Toy().fit(path=path, progress=lambda number, _: epochs.append(number)), once)
    assert epochs == []


def test_training_killed_twice_ends_with_the_same_bits(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    for epoch in (2, 4):
        with pytest.raises(Killed):
            Toy().fit(path=path, progress=killer(epoch))
    assert_same(Toy().fit(path=path), Toy().fit())


@pytest.mark.parametrize("damage", [lambda data: data[:-5], lambda data: b"", lambda data: b"not a checkpoint"])
def test_a_checkpoint_that_cannot_be_read_is_trained_again_from_the_start(
    damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        Toy().fit(path=path, progress=killer(3))
    path.write_bytes(damage(path.read_bytes()))
    epochs: list[int] = []
    result = Toy().fit(path=path, progress=lambda number, _: epochs.append(number))
    assert epochs == [1, 2, 3, 4, 5]
    assert_same(result, Toy().fit())


@pytest.mark.parametrize(
    "changed",
    [replace(SCHEDULE, seed=4), replace(SCHEDULE, learning_rate=0.1), replace(SCHEDULE, batch=9)],
    ids=["seed", "learning rate", "batch"],
)
def test_the_checkpoint_of_another_training_is_never_taken_for_ones_own(changed: Schedule, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        Toy().fit(changed, path=path, progress=killer(3))
    assert_same(Toy().fit(path=path), Toy().fit())


def test_the_checkpoint_of_other_starting_values_is_not_used(tmp_path: Path) -> None:
    path, moved = tmp_path / "checkpoint", Toy()
    with torch.no_grad():
        moved.table.add_(1)
    with pytest.raises(Killed):
        moved.fit(path=path, progress=killer(3))
    assert_same(Toy().fit(path=path), Toy().fit())


def test_the_checkpoint_of_another_loss_is_not_used_where_both_are_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        Toy().fit(path=path, identity="one loss", progress=killer(3))
    assert_same(Toy().fit(path=path, identity="another"), Toy().fit())


def test_without_windows_nothing_is_trained() -> None:
    model = Toy()
    before = model.table.detach().clone()
    result = fit(model.parameters, model.loss, WINDOWS.take(slice(0, 0)), SCHEDULE, validate=model.score)
    assert torch.equal(result.parameters["table"], before)
    assert (result.samples_seen, len(result.scores)) == (0, 1)


def test_the_best_epoch_is_kept_and_not_the_last() -> None:
    states, scores, model = list[Tensor](), iter([0.1, 0.2, 0.9, 0.3, 0.9, 0.5]), Toy()
    result = fit(
        model.parameters,
        model.loss,
        WINDOWS,
        SCHEDULE,
        validate=lambda: next(scores),
        progress=lambda *_: states.append(model.table.detach().clone()),
    )
    assert torch.equal(result.parameters["table"], states[1])
    assert torch.equal(model.table.detach(), states[1])


def test_training_that_never_helps_changes_nothing() -> None:
    model, scores = Toy(), iter([1.0, 0.9, 0.8, 0.7, 0.6, 0.5])
    before = model.table.detach().clone()
    result = fit(model.parameters, model.loss, WINDOWS, SCHEDULE, validate=lambda: next(scores))
    assert torch.equal(model.table.detach(), before)
    assert result.scores == (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)


def test_without_validation_the_last_epoch_is_kept() -> None:
    model, states = Toy(), list[Tensor]()
    model.fit(validated=False, progress=lambda *_: states.append(model.table.detach().clone()))
    assert torch.equal(model.table.detach(), states[-1])
    assert not torch.equal(states[-1], states[-2])


@pytest.mark.parametrize(("patience", "epochs"), [(1, 2), (2, 5), (0, 6)])
def test_training_stops_after_as_many_epochs_without_gain_as_it_has_patience(patience: int, epochs: int) -> None:
    scores = iter([0.1, 0.2, 0.2, 0.3, 0.1, 0.3, 0.3])
    model = Toy()
    schedule = replace(SCHEDULE, epochs=6, patience=patience)
    result = fit(model.parameters, model.loss, WINDOWS, schedule, validate=lambda: next(scores))
    assert len(result.scores) - 1 == epochs
    assert result.samples_seen == epochs * len(WINDOWS)


def test_patience_stops_nothing_where_nothing_validates() -> None:
    result = Toy().fit(replace(SCHEDULE, patience=1), validated=False)
    assert len(result.scores) - 1 == SCHEDULE.epochs


def test_no_epoch_trains_nothing() -> None:
    model = Toy()
    before = model.table.detach().clone()
    result = model.fit(replace(SCHEDULE, epochs=0))
    assert torch.equal(result.parameters["table"], before)
    assert result.samples_seen == 0


def test_a_loss_that_is_no_number_stops_the_training() -> None:
    model = Toy()

    def loss(contexts: Contexts, target: Tensor) -> Tensor:
        return model.loss(contexts, target) / 0

    with pytest.raises(NotFinite, match="lower the learning rate"):
        fit(model.parameters, loss, WINDOWS, SCHEDULE)


def test_parameters_that_the_last_step_ruined_are_not_returned() -> None:
    weight = torch.zeros(3).requires_grad_()

    def loss(contexts: Contexts, target: Tensor) -> Tensor:
        return weight.square().sum().sqrt()  # 0, with a gradient of 0 / 0

    schedule = Schedule(epochs=1, batch=len(WINDOWS), learning_rate=0.1)
    with pytest.raises(NotFinite, match="expected finite parameters"):
        fit({"weight": weight}, loss, WINDOWS, schedule)


def test_the_process_keeps_its_random_state() -> None:
    torch.manual_seed(5)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    Toy().fit()
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


def test_a_seed_decides_everything_and_another_seed_changes_it() -> None:
    torch.manual_seed(1)
    first = Toy().fit(validated=False)
    torch.manual_seed(2)
    assert_same(Toy().fit(validated=False), first)
    reseeded = Toy().fit(replace(SCHEDULE, seed=4), validated=False)
    assert not torch.equal(first.parameters["table"], reseeded.parameters["table"])


def test_a_region_of_the_largest_seed_can_train() -> None:
    # 2**32 - 1 is the largest seed of the configuration; a region's own is 10,007 times as large.
    Toy().fit(replace(SCHEDULE, epochs=1, seed=(2**32 - 1) * 10_007 + 1_000))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("part", [1, 3, 8, 100])
def test_parts_of_a_batch_give_the_same_bits_on_any_number_of_threads(part: int, dropout: float) -> None:
    schedule = replace(SCHEDULE, part=part)
    single = Toy(dropout).fit(schedule)
    for threads in (2, 3):
        assert_same(single, Toy(dropout).fit(schedule, threads=threads))


@pytest.mark.parametrize("part", [1, 3, 5])
def test_a_batch_in_parts_teaches_what_the_whole_batch_does(part: int) -> None:
    whole, parts = (Toy(0.0).fit(replace(SCHEDULE, part=size), validated=False) for size in (0, part))
    for name, value in whole.parameters.items():
        torch.testing.assert_close(parts.parameters[name], value, rtol=1e-3, atol=1e-4)


def test_parts_pass_side_by_side_unless_they_draw_at_random() -> None:
    def threads_of(dropout: float) -> set[str]:
        model, seen = Toy(dropout), set()

        def loss(contexts: Contexts, target: Tensor) -> Tensor:
            seen.add(threading.current_thread().name)
            time.sleep(0.01)  # long enough for another thread to take the other part
            return model.loss(contexts, target)

        fit(model.parameters, loss, WINDOWS, replace(SCHEDULE, epochs=1, part=4), threads=2)
        return seen

    assert len(threads_of(0.3)) == 1
    assert len(threads_of(0.0)) == 3  # this one with the first batch, and then two


def test_a_loss_that_is_no_number_is_an_error_from_any_thread() -> None:
    def loss(contexts: Contexts, target: Tensor) -> Tensor:
        return contexts.items.sum() * model.scale.sum() * (float("nan") if next(calls) > 6 else 1.0)

    model, calls = Toy(), itertools.count()
    with pytest.raises(NotFinite, match="lower the learning rate"):
        fit(model.parameters, loss, WINDOWS, replace(SCHEDULE, part=4), threads=2)
