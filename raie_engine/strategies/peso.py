"""PESO: one evolving LoRA that is held near its own last state.

    loss = cross-entropy + 2 sum over modules g of KL(softmax(v_g) || softmax(v_g before))

Source: Yoo et al., arXiv 2510.25093: a softmax-KL proximal term per module, with the weight 2 of their code.
Departs from it: the item rows are modules too, because here an adapter has them.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from raie.engine.strategies.global_adapter import evolved, score
from raie.engine.strategies.task_data import LearnedState, State, Strategy, TaskData
from raie.engine.training.adapter import Adapter
from raie.engine.training.loop import Loss
from raie.engine.training.train_adapter import next_item_loss

__all__ = ["PESO", "proximal"]

WEIGHT = 2.0


def proximal(live: dict[str, Tensor], before: dict[str, Tensor]) -> Tensor:
    """Sum over modules of KL(softmax(now) || softmax(before)), each module's numbers as one distribution.

    Args:
        live: parameters by name.
        before: the same before the edit.

    Returns:
        The loss.
    """
    terms = [
        F.kl_div(
            before[name].flatten().log_softmax(0), value.flatten().log_softmax(0), reduction="sum", log_target=True
        )
        for name, value in live.items()
        if value.numel()
    ]
    return sum(terms, start=next(iter(live.values())).new_zeros(()))


def _learn(state: State, task_data: TaskData) -> LearnedState:
    def loss(live: Adapter) -> Loss:
        before = {name: value.detach().clone() for name, value in live.parameters().items()}
        plain = next_item_loss(
            task_data.backbone, live, task_data.config.windows.stride, negatives=task_data.negatives
        )
        return lambda contexts, target: plain(contexts, target) + WEIGHT * proximal(live.parameters(), before)

    return evolved(state, task_data, loss=loss)


PESO = Strategy("PESO", "arXiv 2510.25093", _learn, score)
