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
from raie.engine.mixture.region_parts import RegionParts
from raie.engine.mixture.repeats import earlier_items
from raie.engine.mixture.weights import MODEL, MixtureWeights

__all__ = ["Mixture", "lifts", "rows_at_a_time"]

AT_A_TIME, MOST_ROWS = 2**20, 256
"""Scores, and windows, that are joined at a time."""


def _model_lift(scores: Tensor, v: int) -> Tensor:
    """How many times as likely as by chance a model holds each item to be.

    An item that the model cannot recommend has a lift of 0.

    Args:
        scores: [n, w], logits; minus infinity for what the model cannot recommend.
        v: item rows wanted, at most w.

    Returns:
        float32 [n, v].
    """
    return torch.softmax(scores[:, :v], dim=1).mul_(v - 1).nan_to_num_(0.0)


@dataclass(frozen=True, eq=False)
class Mixture:
    """The weights of a region and the counts that they read."""

    weights: MixtureWeights
    log: LogParts | RegionParts

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
        joined, rows = torch.full_like(scores, float("-inf")), rows_at_a_time(v)
        for start in range(0, len(windows), rows):
            part = slice(start, start + rows)
            members = windows.take(part)
            by_part = lifts(scores[part], self.log, members, weights.spoken)
            joined[part, :v] = weights.score(by_part, earlier_items(members), len(members))
        joined[torch.from_numpy(windows.length == 0), :v] = torch.log1p(self.log.trend)  # all that is known
        joined[:, 0] = float("-inf")
        return joined


def rows_at_a_time(v: int) -> int:
    """How many windows are joined at a time: scores in the processor's cache are joined in half the time.

    Args:
        v: item rows.

    Returns:
        Windows, one or more.
    """
    return max(1, min(MOST_ROWS, AT_A_TIME // v))


def lifts(
    scores: Tensor, log: LogParts | RegionParts, windows: Windows, names: Collection[str]
) -> dict[str, Tensor]:
    """The lifts of some parts, the model's among them.

    Args:
        scores: [n, w], a model's logits, w at least the item rows of the log's parts.
        log: the counts, a region's among them where it has some.
        windows: n of them.
        names: the parts wanted.

    Returns:
        By name: float32 [n, v] or [1, v].
    """
    model = {MODEL: _model_lift(scores, log.v)} if MODEL in names else {}
    return model | log.lifts(windows, names)
