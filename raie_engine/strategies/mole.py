"""MoLE: LoRA experts side by side in every layer, mixed by a gate that is learned with them.

    delta(x) = sum over experts e of g_e(x) B_e A_e x,   g = softmax(W x)

Source: Wu et al., Mixture of LoRA Experts, arXiv 2404.13628: a gate per layer, and a loss that keeps it from choosing one
expert alone.
Departs from it: the experts are trained here, together with the gate, instead of being taken from other tasks; the gate
reads the layer's input at each position. (RAIE's published code trains neither.)
Legend: n windows, L positions, d hidden size, e experts, r rank of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from raie.engine.backbones import Backbone, Contexts
from raie.engine.strategies.task_data import LearnedState, Score, State, Strategy, TaskData
from raie.engine.strategies.tuning import adapter_of, count, tune
from raie.engine.training.adapter import Adapter, fresh_adapter, rows_read
from raie.engine.training.train_adapter import adapter_scores, next_item_loss, touched_items, trainable

__all__ = ["MOLE", "MixedDelta"]

BALANCE = 0.01
"""Weight of the balance loss: enough to keep every expert in use, too little to level them."""


@dataclass(frozen=True, eq=False)
class MixedDelta:
    """What the mixture changes inside a backbone; an adapter of rank e r holds all experts, one below the other.

    gates: [e, inputs] by layer. shares: receives each layer's mean use of every expert, [e].
    """

    adapter: Adapter
    gates: Mapping[str, Tensor]
    shares: list[Tensor] | None = None

    def linear(self, name: str, layer: nn.Module, inputs: Tensor) -> Tensor:
        share = F.linear(inputs, self.gates[name]).softmax(dim=-1)  # [n, .., e]
        if self.shares is not None:
            self.shares.append(share.flatten(0, -2).mean(dim=0))
        down = F.linear(inputs, self.adapter.lora[f"{name}.lora_A.weight"])  # [n, .., e r]
        experts = down.unflatten(-1, (share.shape[-1], -1)) * share.unsqueeze(-1)  # [n, .., e, r]
        up = self.adapter.lora[f"{name}.lora_B.weight"] * self.adapter.scaling
        out: Tensor = layer(inputs) + F.linear(experts.flatten(-2), up)
        return out

    def read(self, items: Tensor) -> Tensor:
        """The update of the rows that are read for items; the experts share it.

        Args:
            items: item rows [n, L].

        Returns:
            [n, L, d].
        """
        return rows_read(self.adapter, items)


def _learn(state: State, task_data: TaskData) -> LearnedState:
    live, gates = _begun(state, task_data)
    shares: list[Tensor] = []
    plain = next_item_loss(
        task_data.backbone,
        live,
        task_data.config.windows.stride,
        MixedDelta(live, gates, shares),
        negatives=task_data.negatives,
    )

    def loss(contexts: Contexts, target: Tensor) -> Tensor:
        shares.clear()
        value = plain(contexts, target)
        use = torch.stack(shares)  # [layers, e], each row sums to 1
        return value + BALANCE * (len(use[0]) * (use**2).sum(dim=1) - 1).mean()

    parameters = {**live.parameters(), **{f"gate {name}": gate for name, gate in gates.items()}}
    score = adapter_scores(task_data.backbone, live, delta=MixedDelta(live, gates))
    samples_seen = tune(parameters, loss, score, task_data, task_data.new, retained=False)
    learned = live.with_parameters({name: value.detach() for name, value in live.parameters().items()})
    kept = {"gates": save_tensors({name: gate.detach() for name, gate in gates.items()})}
    return LearnedState({**learned.to_blobs(), **kept}, samples_seen, count(parameters))


def _begun(state: State, task_data: TaskData) -> tuple[Adapter, dict[str, Tensor]]:
    """Live experts and gates: those of the state, or as many fresh experts as the setup has regions."""
    experts, size = len(task_data.base.content.regions), task_data.config.adapter
    config = replace(size, rank=size.rank * experts, alpha=size.alpha * experts)
    start, gates = _read(state, task_data.backbone)
    if not gates:
        generator = torch.Generator().manual_seed(task_data.seed)
        gates = {
            name: 0.02 * torch.randn(experts, shape.inputs, generator=generator)
            for name, shape in task_data.backbone.lora_targets.items()
        }
    adapter = fresh_adapter(task_data.backbone, config, touched_items(task_data.new), task_data.seed, start)
    return trainable(adapter), {name: gate.clone().requires_grad_() for name, gate in gates.items()}


def _read(state: State, backbone: Backbone) -> tuple[Adapter | None, dict[str, Tensor]]:
    return adapter_of(state, backbone), load_tensors(state["gates"]) if state else {}


def _score(state: State, task_data: TaskData) -> Score:
    adapter, gates = _read(state, task_data.backbone)
    return adapter_scores(task_data.backbone, adapter, delta=MixedDelta(adapter, gates) if adapter else None)


MOLE = Strategy("MoLE", "arXiv 2404.13628", _learn, _score)
