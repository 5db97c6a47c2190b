"""E-BPR: one adapter that puts the item a user took above the ten that the model would recommend instead.

    loss = - mean over the ten of log sigmoid(score of the target - score of the other)

Source: Lai et al., Recommendation Editing, arXiv 2406.04553 (the editing form of BPR, arXiv 1205.2618).
Departs from it: there a complaint names the item to push down, and the others of the list are the positives; a log
holds no complaints, so each new window says that its target should have stood above the list. As in every list, items
of the context are left out.
Legend: n windows, L positions, v item rows (row 0 is padding).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from raie.engine.backbones import Contexts
from raie.engine.strategies.global_adapter import evolved, score
from raie.engine.strategies.task_data import LearnedState, State, Strategy, TaskData
from raie.engine.strategies.tuning import item_scores
from raie.engine.training.adapter import Adapter
from raie.engine.training.loop import Loss

__all__ = ["E_BPR", "editing_loss"]

LIST_LENGTH = 10


def editing_loss(scores: Tensor, context: Tensor, target: Tensor) -> Tensor:
    """How far the target stands below the list that is recommended instead of it.

    Args:
        scores: [n, v] of all item rows.
        context: [n, L], item rows; row 0, the padding, is never listed.
        target: [n], item rows.

    Returns:
        The mean loss.
    """
    padding, own = target.new_zeros(len(target), 1), target.unsqueeze(1)
    others = scores.scatter(1, torch.cat([padding, context, own], dim=1), float("-inf"))
    listed = others.topk(min(LIST_LENGTH, scores.shape[1] - 2), dim=1).values  # [n, list]
    return -F.logsigmoid(scores.gather(1, own) - listed).mean()


def _learn(state: State, task_data: TaskData) -> LearnedState:
    def loss(live: Adapter) -> Loss:
        def edit(contexts: Contexts, target: Tensor) -> Tensor:
            scores = F.pad(item_scores(task_data.backbone, live, contexts), (1, 0))  # a column for the padding
            return editing_loss(scores, contexts.items, target)

        return edit

    return evolved(state, task_data, loss=loss)


E_BPR = Strategy("E-BPR", "arXiv 2406.04553", _learn, score, differs="pairwise loss, at the last position alone")
