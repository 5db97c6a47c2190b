"""LwF: one adapter that learns the new windows and keeps answering them as the frozen model before the edit did.

    loss = cross-entropy + T^2 KL(softmax(scores before / T) || softmax(scores / T)), T = 2

Source: Li and Hoiem, Learning without Forgetting, arXiv 1606.09282.
Departs from the comparison in RAIE's published code, which distils over two candidates: here over all items that the
model before the edit could recommend.
Legend: m windows, v items.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from raie.engine.backbones import Contexts
from raie.engine.strategies.global_adapter import evolved, score
from raie.engine.strategies.task_data import LearnedState, State, Strategy, TaskData
from raie.engine.strategies.tuning import adapter_of, item_scores
from raie.engine.training.adapter import Adapter
from raie.engine.training.loop import Loss
from raie.engine.training.train_adapter import next_item_loss

__all__ = ["LWF", "distilled"]

TEMPERATURE = 2.0


def distilled(scores: Tensor, before: Tensor) -> Tensor:
    """T^2 times the mean KL divergence of scores [m, v] from those of the model

    Args:
        scores: [m, v].
        before: [m, v], of the model before the edit.

    Returns:
        The loss.
    """
    now, then = (F.log_softmax(logits / TEMPERATURE, dim=1) for logits in (scores, before))
    return TEMPERATURE**2 * F.kl_div(now, then, reduction="batchmean", log_target=True)


def _learn(state: State, task_data: TaskData) -> LearnedState:
    backbone, teacher = task_data.backbone, adapter_of(state, task_data.backbone)
    known = backbone.known_items if teacher is None else teacher.vocab_size

    def loss(live: Adapter) -> Loss:
        plain = next_item_loss(backbone, live, task_data.config.windows.stride, negatives=task_data.negatives)

        def with_teacher(contexts: Contexts, target: Tensor) -> Tensor:
            now = item_scores(backbone, live, contexts)
            with torch.no_grad():
                then = item_scores(backbone, teacher, contexts)
            return plain(contexts, target) + distilled(now[:, :known], then[:, :known])

        return with_teacher

    return evolved(state, task_data, loss=loss)


LWF = Strategy(
    "LwF", "arXiv 1606.09282", _learn, score, differs="a second loss; the old model runs beside the new"
)
