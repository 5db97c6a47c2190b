"""One training loop for the backbone, for region adapters and for every strategy they are compared with.

The loop knows parameters, a loss over a batch and a validation score. An epoch's shuffle and dropout depend on the
seed and the epoch alone, so a run resumed from its checkpoint ends with the same bytes as one never stopped.
Legend: n windows, L positions, d hidden size, v item rows (row 0 is padding), m real positions of a batch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from raie_engine.errors import NotFinite
from raie_engine.windows import Windows

__all__ = ["Schedule", "Trained", "fit", "sampled_cross_entropy", "successors"]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train; patience 0 trains every epoch and keeps the last."""

    epochs: int
    batch: int
    learning_rate: float
    patience: int = 0
    weight_decay: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Trained:
    """Best parameters, the validation score of every epoch (epoch 0 is before training) and the windows passed."""

    parameters: Mapping[str, Tensor]
    scores: tuple[float, ...]
    passes: int


Progress = Callable[[int, float], None]
"""Called after every epoch with its number and its validation score."""


def successors(items: Tensor, target: Tensor) -> Tensor:
    """What each position should predict: the next item of the window, then its target; 0 after that. [n, L]."""
    following = F.pad(items[:, 1:], (0, 1))
    following[torch.arange(len(items)), (items != 0).sum(dim=1) - 1] = target
    return following


def sampled_cross_entropy(states: Tensor, table: Tensor, target: Tensor, negatives: Tensor) -> Tensor:
    """Mean cross-entropy of `target` [m] among itself and the shared `negatives` [s], all item rows of table [v, d].

    Source: arXiv 2309.07602. Departs from it: the positions of one step share their negatives.
    """
    own = (states * table[target]).sum(dim=1, keepdim=True)  # [m, 1]
    others = states @ table[negatives].T  # [m, s]
    others = others.masked_fill(negatives == target.unsqueeze(1), float("-inf"))
    return F.cross_entropy(torch.cat([own, others], dim=1), torch.zeros(len(own), dtype=torch.long))


def fit(
    parameters: Mapping[str, Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    windows: Windows,
    schedule: Schedule,
    *,
    validate: Callable[[], float] | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train `parameters` in place on `loss(items [n, L], target [n])` and return the best of them.

    validate: higher is better; None keeps the last epoch. checkpoint: written after every epoch, removed at the end.

    Raises: NotFinite when the loss stops being a number; the parameters are then worthless.
    """
    optimiser = torch.optim.AdamW(
        parameters.values(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay, foreach=True
    )
    state = _State.start(parameters, optimiser, validate, checkpoint)
    while not state.finished(schedule):
        epoch = len(state.scores)
        _train_epoch(loss, optimiser, windows, schedule, epoch)
        state.advance(parameters, validate)
        if checkpoint is not None:
            state.save(parameters, optimiser, checkpoint)
        if progress is not None:
            progress(epoch, state.scores[-1])
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(state.best[name])
    return Trained(state.best, tuple(state.scores), (len(state.scores) - 1) * len(windows.target))


def _train_epoch(
    loss: Callable[[Tensor, Tensor], Tensor],
    optimiser: torch.optim.Optimizer,
    windows: Windows,
    schedule: Schedule,
    epoch: int,
) -> None:
    items, target = torch.from_numpy(windows.items).long(), torch.from_numpy(windows.target).long()
    order = torch.from_numpy(np.random.default_rng([schedule.seed, epoch]).permutation(len(target)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(schedule.seed * 1_000_003 + epoch)
        for rows in order.split(schedule.batch):
            value = loss(items[rows], target[rows])
            if not torch.isfinite(value):
                raise NotFinite(f"expected a finite training loss, found {value.item()}; lower the learning rate")
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            optimiser.step()


@dataclass
class _State:
    """Where a run stands: the scores so far and the best parameters."""

    scores: list[float]
    best: dict[str, Tensor]

    @classmethod
    def start(
        cls,
        parameters: Mapping[str, Tensor],
        optimiser: torch.optim.Optimizer,
        validate: Callable[[], float] | None,
        checkpoint: Path | None,
    ) -> _State:
        if checkpoint is not None and checkpoint.exists():
            resumed = _load(parameters, optimiser, checkpoint)
            if resumed is not None:
                return resumed
        return cls([validate() if validate else 0.0], _copy(parameters))

    def finished(self, schedule: Schedule) -> bool:
        done = len(self.scores) - 1
        stale = done - int(np.argmax(self.scores))
        return done >= schedule.epochs or (schedule.patience > 0 and stale >= schedule.patience)

    def advance(self, parameters: Mapping[str, Tensor], validate: Callable[[], float] | None) -> None:
        self.scores.append(validate() if validate else 0.0)
        if validate is None or self.scores[-1] > max(self.scores[:-1]):
            self.best = _copy(parameters)

    def save(self, parameters: Mapping[str, Tensor], optimiser: torch.optim.Optimizer, path: Path) -> None:
        moments = {
            f"moment.{name}.{key}": value
            for name, parameter in parameters.items()
            for key, value in optimiser.state[parameter].items()
        }
        now = {f"now.{name}": value.detach() for name, value in parameters.items()}
        best = {f"best.{name}": value for name, value in self.best.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        save_file({**now, **best, **moments}, partial, metadata={"scores": json.dumps(self.scores)})
        os.replace(partial, path)  # a checkpoint is whole or is not there


def _copy(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in parameters.items()}


def _load(parameters: Mapping[str, Tensor], optimiser: torch.optim.Optimizer, path: Path) -> _State | None:
    try:
        with safe_open(path, framework="pt") as saved, torch.no_grad():
            scores = json.loads(saved.metadata()["scores"])
            best = {name: saved.get_tensor(f"best.{name}") for name in parameters}
            for name, parameter in parameters.items():
                parameter.copy_(saved.get_tensor(f"now.{name}"))
                prefix = f"moment.{name}."
                keys = [key for key in saved.keys() if key.startswith(prefix)]  # noqa: SIM118
                optimiser.state[parameter] = {key.removeprefix(prefix): saved.get_tensor(key) for key in keys}
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError):
        path.unlink()  # a checkpoint only saves time: an unreadable one is trained again
        return None
    return _State(scores, best)
