"""Train a backbone once, to convergence, and freeze it; give rows to items that appear later.

Legend: n windows, L positions, d hidden size, v item rows (row 0 is padding).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from raie.engine.backbones import Backbone, Contexts, ItemModel, backbone_class, require_contract
from raie.engine.backbones.backbone_file import foreign_code
from raie.engine.config import BackboneConfig
from raie.engine.data.sampling import keep_sample
from raie.engine.data.windows import Windows
from raie.engine.errors import NothingToEdit
from raie.engine.evaluation.metrics import leaving_out_context, mean_metrics
from raie.engine.training.batches import trimmed_ranks
from raie.engine.training.loop import Progress, Schedule, Trained, fit
from raie.engine.training.sampled_softmax import next_item_cross_entropy
from raie.engine.training.train_adapter import adapter_scores, sampled_negatives

__all__ = ["cold_item_rows", "configured_backbone_file", "configured_class", "train_backbone"]

_WINDOWS_AT_A_TIME = 4_096  # of which every item's row of the table is laid out

VALIDATED = 5_000
"""Most windows that are ranked after an epoch: with them NDCG@10 has a standard error near 0.004."""


def configured_class(config: BackboneConfig) -> type[ItemModel]:
    """The class of the backbone that is to be trained.

    Args:
        config: the options.

    Returns:
        The class.

    Raises:
        ConfigError: for a file that holds none.
    """
    return backbone_class(config.kind, configured_backbone_file(config))


def configured_backbone_file(config: BackboneConfig) -> Path | None:
    """The Python file of a backbone of the user's own; None for every other kind.

    Args:
        config: the options.

    Returns:
        The file.
    """
    return Path(config.path) if config.kind == "file" else None


def train_backbone(
    windows: Windows,
    validation: Windows,
    items: int,
    config: BackboneConfig,
    *,
    positions: int,
    seed: int,
    titles: Sequence[str] = (),
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> tuple[ItemModel, Trained]:
    """A frozen backbone trained on `windows` until NDCG@10 on the later `validation` windows stops rising.

    Args:
        windows: to train on.
        validation: later windows.
        items: catalogue size.
        config: the options.
        positions: last positions of a window the loss reads (the stride of the windows).
        seed: of everything random in it.
        titles: of the items, for a backbone that reads them.
        checkpoint: file of the training's checkpoint; None for none.
        progress: called after every epoch.

    Returns:
        The frozen backbone, and its training.

    Raises:
        NothingToEdit: without windows.
        ConfigError: for a model folder or a file of one's own that holds no backbone.

    Source: arXiv 2309.07602 (full cross-entropy at all positions, temporal early stopping).
    """
    if not len(windows):
        raise NothingToEdit("expected setup windows to train a backbone, found none; see `raie data describe`")
    chosen = configured_class(config)
    with foreign_code(f"backbone.kind {config.kind!r}"):
        model = chosen.begin(config, items, windows.items.shape[1], titles=titles, seed=seed)
    require_contract(model)
    negatives, sample = sampled_negatives(config, items), keep_sample(validation, VALIDATED, [seed])

    def loss(contexts: Contexts, target: Tensor) -> Tensor:
        states, following = model.train().examples(contexts, target, positions)
        return next_item_cross_entropy(states, model.item_table(), following, negatives=negatives)

    def validate() -> float:
        score = leaving_out_context(adapter_scores(model.eval(), None))
        return mean_metrics(trimmed_ranks(score, sample))["NDCG@10"]

    schedule = Schedule(
        config.epochs, config.batch, config.learning_rate, config.patience, config.weight_decay, seed
    )
    result = fit(
        {name: value for name, value in model.named_parameters() if value.requires_grad},
        loss,
        windows,
        schedule,
        validate=validate if len(validation) else None,
        checkpoint=checkpoint,
        identity=json.dumps([asdict(config), model.digest, positions, validation.digest]),
        progress=progress,
    )
    return model.from_bytes(*model.to_bytes()), result


def cold_item_rows(backbone: Backbone, windows: Windows, items: int, seed: int) -> Tensor:
    """Rows for items the backbone's table does not reach yet: the mean of their neighbours' rows.

    A neighbour is an item of the same window. Items without known neighbours get small random rows. Rows have the
    median norm of the table, so that no new item wins by its length.

    Args:
        backbone: the frozen backbone.
        windows: n of them.
        items: how many there are now.
        seed: of everything random in it.

    Returns:
        [new items, d].

    Source: idea 9 of the method (cold item rows from the mean of co-occurring neighbours).
    """
    table = backbone.item_table().detach().numpy()
    known = len(table) - 1
    total = np.zeros((items - known, table.shape[1]))
    for start in range(0, len(windows) if items > known else 0, _WINDOWS_AT_A_TIME):
        some = slice(start, start + _WINDOWS_AT_A_TIME)
        members = np.concatenate([windows.items[some], windows.target[some, None]], axis=1)  # [m, L + 1]
        members = members[(members > known).any(axis=1)]
        is_known = (members > 0) & (members <= known)
        mean = (table[np.where(is_known, members, 0)] * is_known[..., None]).sum(axis=1)  # [m, d]
        mean /= np.maximum(is_known.sum(axis=1), 1)[:, None]
        window, slot = np.nonzero(members > known)
        np.add.at(total, members[window, slot] - known - 1, mean[window])
    noise = np.random.default_rng(seed).normal(size=total.shape)
    total = np.where(np.abs(total).sum(axis=1, keepdims=True) > 0, total, noise)
    norm = np.median(np.linalg.norm(table[1:], axis=1))
    return torch.from_numpy(total / np.linalg.norm(total, axis=1, keepdims=True) * norm).float()
