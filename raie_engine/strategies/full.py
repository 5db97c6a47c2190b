"""All of the backbone: fine-tuned on every edit, or trained again on everything that has come."""

from __future__ import annotations

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from raie.engine.backbones import Backbone, load_backbone
from raie.engine.data.windows import concatenate
from raie.engine.strategies.task_data import Learnt, Lesson, Score, State, Strategy
from raie.engine.strategies.tuning import count, tune
from raie.engine.training.train_adapter import adapter_scores, next_item_loss
from raie.engine.training.train_backbone import train_backbone

__all__ = ["FULL", "JOINT"]

APPENDED = "appended item rows"


def _restored(state: State, lesson: Lesson) -> tuple[nn.Module, Tensor]:
    """The backbone with the state's weights, and the rows of the items that came since the set-up."""
    model = load_backbone(*lesson.base.backbone_bytes, lesson.base.own)
    assert isinstance(model, nn.Module), "only a module has weights to fine-tune"
    tuned = load_tensors(state["weights"]) if state else {}
    learnt = tuned.pop(APPENDED, lesson.item_rows[:0])
    model.load_state_dict(tuned, strict=False)
    return model, torch.cat([learnt, lesson.item_rows[len(learnt) :]])


def _fine_tune(state: State, lesson: Lesson) -> Learnt:
    model, rows = _restored(state, lesson)
    model.requires_grad_(True)
    parameters = {**dict(model.named_parameters()), APPENDED: rows.clone().requires_grad_()}
    live: Backbone = model.with_item_rows(parameters[APPENDED], lesson.titles)  # type: ignore[operator]
    loss = next_item_loss(live, None, lesson.config.windows.stride)
    score = adapter_scores(live, None, visible=lesson.items)
    passes = tune(parameters, loss, score, lesson, lesson.new, retained=False)
    kept = {name: value.detach().contiguous() for name, value in parameters.items()}
    return Learnt({"weights": save_tensors(kept)}, passes, count(kept))


def _fine_tuned_score(state: State, lesson: Lesson) -> Score:
    if not state:
        return adapter_scores(lesson.backbone, None)
    model, rows = _restored(state, lesson)
    live: Backbone = model.with_item_rows(rows, lesson.titles)  # type: ignore[operator]
    return adapter_scores(live, None, visible=lesson.items)


def _retrain(state: State, lesson: Lesson) -> Learnt:
    config = lesson.config
    model, trained = train_backbone(
        concatenate([lesson.past, lesson.new]),
        concatenate([lesson.retained, lesson.validation]),
        lesson.items,
        config.backbone,
        positions=config.windows.stride,
        seed=config.seed,
        titles=lesson.interactions.catalogue.titles[: lesson.items],
    )
    settings, weights = model.to_bytes()
    return Learnt({"config": settings, "weights": weights}, trained.passes, count(dict(model.named_parameters())))


def _retrained_score(state: State, lesson: Lesson) -> Score:
    if not state:
        return adapter_scores(lesson.backbone, None)
    return adapter_scores(load_backbone(state["config"], state["weights"], lesson.base.own), None)


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
    differs="all windows so far, as a set-up trains, until it stops improving",
)
