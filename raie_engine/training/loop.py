"""One training loop for the backbone, for region adapters and for every strategy they are compared with.

The loop knows parameters, a loss over a batch and a validation score. An epoch's shuffle and dropout depend on the
seed and the epoch alone, so a run resumed from its checkpoint ends with the same bytes as one never stopped. Parts of a
batch may pass side by side on several threads; the sum of their gradients is the same on any number of them.
Legend: n windows, L positions.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.optim.adamw import adamw

from raie.engine.backbones.protocol import Contexts
from raie.engine.data.windows import Windows
from raie.engine.errors import NotFinite
from raie.engine.training.batches import epoch_batches

__all__ = ["Schedule", "Trained", "fit"]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    patience: epochs without a better validation score before training stops; 0, or no validation, never stops early.
    batch: windows of a batch; on average, where their lengths differ, so that batches are as much work each.
    part: windows of a batch that pass at a time, on average too; 0 for all of them.
    """

    epochs: int
    batch: int
    learning_rate: float
    patience: int = 0
    weight_decay: float = 0.0
    seed: int = 0
    part: int = 0


@dataclass(frozen=True)
class Trained:
    """Best parameters, the validation score of every epoch and the training samples seen.

    scores: epoch 0 is before training; all are 0 where nothing validates.
    """

    parameters: Mapping[str, Tensor]
    scores: tuple[float, ...]
    samples_seen: int


Progress = Callable[[int, float], None]
"""Called after every epoch with its number and its validation score."""

Loss = Callable[[Contexts, Tensor], Tensor]
"""The mean loss of contexts and the items [n] after them."""


def fit(
    parameters: Mapping[str, Tensor],
    loss: Loss,
    windows: Windows,
    schedule: Schedule,
    *,
    validate: Callable[[], float] | None = None,
    checkpoint: Path | None = None,
    identity: str = "",
    progress: Progress | None = None,
    threads: int = 1,
) -> Trained:
    """Train parameters in place and keep the best of them. Without windows nothing is trained.

    Args:
        parameters: by name; they require gradients.
        loss: the mean loss of a batch.
        windows: n of them.
        schedule: how long and how fast.
        validate: the validation score, higher is better; None keeps the last epoch.
        checkpoint: written after every epoch and left to whoever named it, so that a finished training is not done
            again; one of another training, or an unreadable one, is not used.
        identity: what the loss and the score depend on besides the parameters, so that another training's checkpoint
            is known as such.
        progress: called after every epoch.
        threads: how many parts of a batch pass side by side.

    Returns:
        The best parameters, the scores and the training samples seen.

    Raises:
        NotFinite: when the loss or a parameter stops being a number; the parameters are then worthless.
    """
    schedule = schedule if len(windows) else replace(schedule, epochs=0)
    optimiser = _AdamW(parameters, schedule.learning_rate, schedule.weight_decay)
    run = "" if checkpoint is None else _digest(parameters, windows, schedule, identity)
    state = None if checkpoint is None else _load(parameters, optimiser, checkpoint, run)
    if state is None:
        state = _State([validate() if validate else 0.0], _copy(parameters))
    while not state.finished(schedule, validated=validate is not None):
        epoch = len(state.scores)
        _train_epoch(loss, optimiser, windows, schedule, epoch, threads)
        state.advance(parameters, validate)
        if checkpoint is not None:
            state.save(parameters, optimiser, checkpoint, run)
        if progress is not None:
            progress(epoch, state.scores[-1])
    # The loss is read before each step, so only this sees where the last one led.
    if not all(bool(value.isfinite().all()) for value in state.best.values()):
        raise NotFinite(
            "expected finite parameters, found NaN or infinity after training; lower the learning rate"
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(state.best[name])
    return Trained(state.best, tuple(state.scores), (len(state.scores) - 1) * len(windows.target))


class _AdamW:
    """AdamW by torch's own function: its class imports torch's compiler first, which takes a second.

    moments: of every parameter what AdamW remembers, under the names that torch gives it.
    """

    def __init__(self, parameters: Mapping[str, Tensor], learning_rate: float, weight_decay: float) -> None:
        self.parameters = list(parameters.values())
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.moments = {
            name: {
                "step": torch.tensor(0.0),
                "exp_avg": torch.zeros_like(value),
                "exp_avg_sq": torch.zeros_like(value),
            }
            for name, value in parameters.items()
        }

    @torch.no_grad()
    def step(self, gradients: list[Tensor]) -> None:
        remembered = self.moments.values()
        adamw(
            self.parameters,
            gradients,
            [moment["exp_avg"] for moment in remembered],
            [moment["exp_avg_sq"] for moment in remembered],
            [],
            [moment["step"] for moment in remembered],
            fused=True,  # one pass over each parameter instead of eight
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            eps=1e-8,
            maximize=False,
        )


def _train_epoch(
    loss: Loss,
    optimiser: _AdamW,
    windows: Windows,
    schedule: Schedule,
    epoch: int,
    threads: int,
) -> None:
    contexts, target = Contexts.of(windows), torch.from_numpy(windows.target).long()
    batches = epoch_batches(windows.length, schedule.batch, schedule.seed, epoch, targets=windows.targets)
    counts = torch.ones(len(target)) if windows.targets is None else torch.from_numpy(windows.targets).float()
    parts_of_batch = math.ceil(schedule.batch / (schedule.part or schedule.batch))

    def gradients(rows: Tensor, share: float) -> Sequence[Tensor]:
        value = loss(contexts.take(rows).trimmed(), target[rows])
        if not torch.isfinite(value):
            raise NotFinite(f"expected a finite training loss, found {value.item()}; lower the learning rate")
        return torch.autograd.grad(value * share, optimiser.parameters, materialize_grads=True)

    with (
        torch.random.fork_rng(devices=[]),
        ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        torch.manual_seed((schedule.seed * 1_000_003 + epoch) % 2**63)  # torch takes no longer seed
        side_by_side = False
        for rows in map(torch.from_numpy, batches):
            before, parts = torch.get_rng_state(), rows.split(math.ceil(len(rows) / parts_of_batch))
            apply = pool.map if side_by_side else map
            shares = [float(counts[part].sum() / counts[rows].sum()) for part in parts]
            part_gradients = apply(gradients, parts, shares)
            optimiser.step([sum(rest, first) for first, *rest in zip(*part_gradients, strict=True)])
            # Parts that draw from torch's generator do so one after the other; the first batch shows whether they do.
            side_by_side = threads > 1 and torch.equal(before, torch.get_rng_state())


@dataclass
class _State:
    """Where a run stands: the scores so far and the best parameters."""

    scores: list[float]
    best: dict[str, Tensor]

    def finished(self, schedule: Schedule, *, validated: bool) -> bool:
        done = len(self.scores) - 1
        stale = done - int(np.argmax(self.scores)) if validated else 0
        return done >= schedule.epochs or (schedule.patience > 0 and stale >= schedule.patience)

    def advance(self, parameters: Mapping[str, Tensor], validate: Callable[[], float] | None) -> None:
        self.scores.append(validate() if validate else 0.0)
        if validate is None or self.scores[-1] > max(self.scores[:-1]):
            self.best = _copy(parameters)

    def save(self, parameters: Mapping[str, Tensor], optimiser: _AdamW, path: Path, run: str) -> None:
        moments = {
            f"moment.{name}.{key}": value
            for name, remembered in optimiser.moments.items()
            for key, value in remembered.items()
        }
        now = {f"now.{name}": value.detach() for name, value in parameters.items()}
        best = {f"best.{name}": value for name, value in self.best.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        facts = {"scores": json.dumps(self.scores), "run": run}
        data = save({**now, **best, **moments}, metadata=facts)
        try:
            partial.write_bytes(data)  # not save_file, which has an error of its own for a full disk
            os.replace(partial, path)  # a checkpoint is whole or is not there
        except OSError as error:
            with suppress(OSError):  # where nothing can be written nothing can be removed either
                partial.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(path)) from error


def _copy(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in parameters.items()}


def _digest(parameters: Mapping[str, Tensor], windows: Windows, schedule: Schedule, identity: str) -> str:
    """sha256 of what a run starts from; a checkpoint of another run must never be taken for this one's."""
    digest = hashlib.sha256(json.dumps([asdict(schedule), windows.digest, identity]).encode())
    for name, parameter in parameters.items():
        digest.update(f"{name} {tuple(parameter.shape)}".encode())
        digest.update(parameter.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _load(parameters: Mapping[str, Tensor], optimiser: _AdamW, path: Path, run: str) -> _State | None:
    """Where the run of this digest stood; parameters and optimiser are set only when all of it can be read."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as saved:
            facts = saved.metadata()
            scores = json.loads(facts["scores"]) if facts["run"] == run else None
            tensors = {key: saved.get_tensor(key) for key in saved.keys()}  # noqa: SIM118
        now, best = ({name: tensors[f"{which}.{name}"] for name in parameters} for which in ("now", "best"))
        moments = {
            name: {key: tensors[f"moment.{name}.{key}"] for key in remembered}
            for name, remembered in optimiser.moments.items()
        }
    except (SafetensorError, KeyError, TypeError, ValueError):
        scores = None
    if scores is None:
        path.unlink()  # a checkpoint only saves time: an unreadable one is trained again
        return None
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(now[name])
    optimiser.moments = moments
    return _State(scores, best)
