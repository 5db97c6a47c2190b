"""LSAT: a long-term LoRA that goes on with the past, a short-term one that begins anew in every edit; served merged.

    merged = w long + (1 - w) short, on every layer and on the item rows

Source: Shi et al., arXiv 2312.15599 (LoRA fusion by task arithmetic).
Departs from it: w is chosen on the validation windows, among three.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from raie.engine.evaluation.metrics import leaving_out_context, mean_metrics, ranks
from raie.engine.strategies.global_adapter import train_one
from raie.engine.strategies.task_data import LearnedState, Score, State, Strategy, TaskData
from raie.engine.strategies.tuning import adapter_of, count
from raie.engine.training.adapter import Adapter
from raie.engine.training.train_adapter import adapter_scores

__all__ = ["LSAT", "merged"]

WEIGHTS = (0.5, 0.25, 0.75)


def merged(long: Adapter, short: Adapter, weight: float) -> Adapter:
    """weight x long + (1 - weight) x short, as one adapter of both ranks together.

    Args:
        long: the long-term adapter.
        short: the short-term adapter.
        weight: of the long-term one, in [0, 1].

    Returns:
        The adapter; its item updates are of both's items.
    """
    parts = ((long, weight), (short, 1 - weight))
    item_ids = torch.unique(torch.cat([long.item_ids, short.item_ids]))
    item_slots = [torch.searchsorted(item_ids, adapter.item_ids) for adapter, _ in parts]
    lora = {}
    for name in long.lora:
        down = name.endswith("lora_A.weight")
        blocks = [adapter.lora[name] * (1.0 if down else share) for adapter, share in parts]
        lora[name] = torch.cat(blocks, dim=0 if down else 1)
    item_lora_a = [torch.zeros(len(item_ids), adapter.item_lora_a.shape[1]) for adapter, _ in parts]
    bias = torch.zeros(len(item_ids))
    for (adapter, share), slots, rows in zip(parts, item_slots, item_lora_a, strict=True):
        rows[slots] = adapter.item_lora_a * share
        bias[slots] += adapter.bias * share
    return replace(
        long,
        rank=long.rank + short.rank,
        alpha=long.alpha + short.alpha,  # of two equally shaped adapters: the scaling stays
        lora=lora,
        item_ids=item_ids,
        item_lora_a=torch.cat(item_lora_a, dim=1),
        item_lora_b=torch.cat([long.item_lora_b, short.item_lora_b]),
        bias=bias,
        vocab_size=short.vocab_size,
    )


def _learn(state: State, task_data: TaskData) -> LearnedState:
    start = adapter_of(_part(state, "long"), task_data.backbone)
    share = len(task_data.new) / (len(task_data.new) + len(task_data.replay))
    long, first = train_one(
        task_data, start, task_data.replay, rows=task_data.replay, retained=True, share=1 - share
    )
    short, second = train_one(task_data, None, task_data.new, share=share)

    def validation_score(adapter: Adapter) -> float:
        return mean_metrics(
            ranks(leaving_out_context(adapter_scores(task_data.backbone, adapter)), task_data.validation)
        )["NDCG@10"]

    best = max((merged(long, short, weight) for weight in WEIGHTS), key=validation_score)
    blobs = {f"long/{role}": data for role, data in long.to_blobs().items()}
    blobs |= {f"merged/{role}": data for role, data in best.to_blobs().items()}
    return LearnedState(blobs, first + second, count(long.parameters()) + count(short.parameters()))


def _part(state: State, name: str) -> State:
    return {role.removeprefix(f"{name}/"): data for role, data in state.items() if role.startswith(f"{name}/")}


def _score(state: State, task_data: TaskData) -> Score:
    return adapter_scores(task_data.backbone, adapter_of(_part(state, "merged"), task_data.backbone))


LSAT = Strategy(
    "LSAT",
    "arXiv 2312.15599",
    _learn,
    _score,
    replays=True,
    differs="two adapters: one on the past, one on the new",
)
