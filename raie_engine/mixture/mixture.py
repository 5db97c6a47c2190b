"""A region's scores joined with what the log counts and with what the user had before.

Legend: n windows, v item rows (row 0 is padding).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from raie.engine.data.windows import Windows
from raie.engine.mixture.log_parts import LogParts
from raie.engine.mixture.repeats import earlier_items
from raie.engine.mixture.weights import MODEL, MixtureWeights

__all__ = ["Mixture", "lifts"]


def _model_lift(scores: Tensor, v: int) -> Tensor:
    """How many times as likely as by chance a model holds each item to be.

    An item that the model cannot recommend has a lift of 0.

    Args:
        scores: [n, w], logits; minus infinity for what the model cannot recommend.
        v: item rows wanted, at most w.

    Returns:
        float32 [n, v].
    """
    return (torch.softmax(scores[:, :v], dim=1) * (v - 1)).nan_to_num_(0.0)


@dataclass(frozen=True, eq=False)
class Mixture:
    """The weights of a region and the counts that they read."""

    weights: MixtureWeights
    log: LogParts

    def joined(self, scores: Tensor, windows: Windows, *, indifferent: bool = False) -> Tensor:
        """The mixture's scores in place of a model's.

        Each row depends on its own scores and window alone. An empty context gets what is popular, by recency.

        Args:
            scores: [n, w], a model's logits.
            windows: n of them.
            indifferent: whether it makes no difference what a user had before.

        Returns:
            [n, w]; minus infinity for padding and for items later than those of the weights.
        """
        weights, v = self.weights.indifferent() if indifferent else self.weights, self.weights.items + 1
        age, times = earlier_items(windows).ages(len(windows), v)
        joined = weights.score(lifts(scores, self.log, windows, weights.spoken), age, times)
        joined[torch.from_numpy(windows.length == 0)] = torch.log1p(
            self.log.trend
        )  # nothing is known: what is popular
        joined[:, 0] = float("-inf")
        later = scores.new_full((len(scores), scores.shape[1] - v), float("-inf"))
        return torch.cat([joined, later], dim=1)


def lifts(scores: Tensor, log: LogParts, windows: Windows, names: Collection[str]) -> dict[str, Tensor]:
    """The lifts of some parts, the model's among them.

    Args:
        scores: [n, w], a model's logits, w at least the item rows of the log's parts.
        log: the counts.
        windows: n of them.
        names: the parts wanted.

    Returns:
        By name: float32 [n, v] or [1, v].
    """
    model = {MODEL: _model_lift(scores, log.v)} if MODEL in names else {}
    return model | log.lifts(windows, names)
