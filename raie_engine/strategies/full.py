"""All of the backbone: fine-tuned on every edit, or trained again on everything that has come."""

from __future__ import annotations

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from raie.engine.backbones import Backbone, load_backbone
from raie.engine.data.windows import concatenate
from raie.engine.strategies.task_data import LearnedState, Score, State, Strategy, TaskData
from raie.engine.strategies.tuning import count, tune
from raie.engine.training.train_adapter import adapter_scores, next_item_loss
from raie.engine.training.train_backbone import train_backbone

__all__ = ["FULL", "JOINT"]

APPENDED = "appended item rows"


def _restored(state: State, task_data: TaskData) -> tuple[nn.Module, Tensor]:
    """The backbone with the state's weights, and the rows of the items that came since the setup."""
    model = load_backbone(*task_data.base.backbone_bytes, task_data.base.backbone_file)
    assert isinstance(model, nn.Module), "only a module has weights to fine-tune"
    tuned = load_tensors(state["weights"]) if state else {}
    learned = tuned.pop(APPENDED, task_data.item_rows[:0])
    model.load_state_dict(tuned, strict=False)
    return model, torch.cat([learned, task_data.item_rows[len(learned) :]])


def _fine_tune(state: State, task_data: TaskData) -> LearnedState:
    model, rows = _restored(state, task_data)
    model.requires_grad_(True)
    parameters = {**dict(model.named_parameters()), APPENDED: rows.clone().requires_grad_()}
    live: Backbone = model.with_item_rows(parameters[APPENDED], task_data.titles)  # type: ignore[operator]
    loss = next_item_loss(live, None, task_data.config.windows.stride, negatives=task_data.negatives)
    score = adapter_scores(live, None, vocab_size=task_data.items)
    samples_seen = tune(parameters, loss, score, task_data, task_data.new, retained=False)
    kept = {name: value.detach().contiguous() for name, value in parameters.items()}
    return LearnedState({"weights": save_tensors(kept)}, samples_seen, count(kept))


def _fine_tuned_score(state: State, task_data: TaskData) -> Score:
    if not state:
        return adapter_scores(task_data.backbone, None)
    model, rows = _restored(state, task_data)
    live: Backbone = model.with_item_rows(rows, task_data.titles)  # type: ignore[operator]
    return adapter_scores(live, None, vocab_size=task_data.items)


def _retrain(state: State, task_data: TaskData) -> LearnedState:
    config = task_data.config
    model, trained = train_backbone(
        concatenate([task_data.past, task_data.new]),
        concatenate([task_data.retained, task_data.validation]),
        task_data.items,
        config.backbone,
        positions=config.windows.stride,
        seed=config.seed,
        titles=task_data.interactions.catalogue.titles[: task_data.items],
    )
    settings, weights = model.to_bytes()
    return LearnedState(
        {"config": settings, "weights": weights}, trained.samples_seen, count(dict(model.named_parameters()))
    )


def _retrained_score(state: State, task_data: TaskData) -> Score:
    if not state:
        return adapter_scores(task_data.backbone, None)
    return adapter_scores(load_backbone(state["config"], state["weights"], task_data.base.backbone_file), None)


FULL = Strategy(
    "full fine-tune",
    "all weights, on the new windows",
    _fine_tune,
    _fine_tuned_score,
    differs="trains the item table itself",
)
JOINT = Strategy(
    "joint retraining",
    "the ceiling",
    _retrain,
    _retrained_score,
    replays=True,
    differs="all windows so far, as a setup trains, until it stops improving",
)
