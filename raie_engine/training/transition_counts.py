"""Item transition counts of the windows of an edit, and how they join the scores of an adapter.

    p(i) is proportional to exp(score_i) (1 + w v q(i))
    q(i) = sum over d of FADE^(d - 1) C[x_d, i] / (C[x_d] + PRIOR), divided by the sum of FADE^(d - 1)

x_d: the item d places before the end of the context; C[x, i]: how often i came after x, one step more between them
counting FADE as much, and the other way round BACK as much; C[x]: its sum over all i. v q(i): how many times as likely
as by chance the counts hold i to be. Counts know at once what training needs many samples for.
Source: a cache beside a neural model, as arXiv 1612.04426 has it; the counts are those of a decayed Markov chain. Departs
from it: probabilities are multiplied, not mixed, which ranks better (docs/research.md).
Legend: n windows, L positions, v item rows (row 0 is padding), p pairs of items.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raie.engine.bytes.arrays import pack, unpack
from raie.engine.config import EngineConfig
from raie.engine.data.windows import Windows, concatenate
from raie.engine.errors import DamagedArtifact

__all__ = [
    "FADE",
    "REACH",
    "TransitionCounts",
    "count_transitions",
    "faded_sums",
    "sums_by_pair",
    "transitions_of",
]

REACH = 4
"""How many places apart two items may be to count as a pair."""
FADE = 0.6
"""What one step more between two items, or back in the context, leaves of a count."""
BACK = 0.3
"""What a pair counts in the order in which it did not come: items of one visit often could have come in either."""
PRIOR = 5.0
"""An item that fewer pairs than this begin with says little."""
_FADES = sum(FADE**back for back in range(REACH))
_TYPES = {"start": np.int64, "following": np.int32, "share": np.float32}
_AXES = {"start": "s", "following": "p", "share": "p"}


@dataclass(frozen=True, eq=False)
class TransitionCounts:
    """weight: w. start: int64 [v + 1]. following: int32 [p], the items that came after x at start[x]:start[x + 1]; share:
    float32 [p], C[x, i] / (C[x] + PRIOR) of them.
    """

    weight: float
    start: NDArray[np.int64]
    following: NDArray[np.int32]
    share: NDArray[np.float32]

    @property
    def rows(self) -> int:
        """v: the rows of the items they know, and padding."""
        return len(self.start) - 1

    def after(self, items: NDArray[np.int32]) -> Tensor:
        """q of contexts; items that the counts do not know say nothing.

        Args:
            items: item rows [n, L].

        Returns:
            float32 [n, v].
        """
        total = faded_sums(items, self.start, self.following, self.share, REACH) / _FADES
        return torch.from_numpy(total.astype(np.float32))

    def joined(self, scores: Tensor, items: NDArray[np.int32]) -> Tensor:
        """Scores multiplied, as probabilities, by the counts; a score of minus infinity stays that.

        Args:
            scores: [n, v], logits.
            items: item rows [n, L].

        Returns:
            [n, v].
        """
        return scores + torch.log1p(self.weight * self.rows * self.after(items))

    def to_bytes(self) -> bytes:
        """Equal counts give equal bytes."""
        arrays = {name: getattr(self, name) for name in _TYPES}
        return pack({"kind": "transitions", "weight": self.weight}, arrays)

    @staticmethod
    def from_bytes(data: bytes) -> TransitionCounts:
        """The inverse of `to_bytes`.

        Args:
            data: the stored bytes.

        Returns:
            The value that was stored.

        Raises:
            DamagedArtifact: for bytes that hold no such value.
        """
        header, arrays = unpack(data, "transitions", _TYPES, _AXES)
        weight, start, following, share = header.get("weight"), *(arrays[name] for name in _TYPES)
        whole = (
            len(start) > 0 and start[0] == 0 and start[-1] == len(following) and bool((np.diff(start) >= 0).all())
        )
        inside = bool(((following > 0) & (following < len(start) - 1)).all())
        shares = bool(((share >= 0) & (share <= 1)).all())
        if not (whole and inside and shares and isinstance(weight, float) and 0 < weight < math.inf):
            raise DamagedArtifact(
                f"expected counts of {max(len(start) - 1, 0)} items that refer to one another and a weight above 0, "
                f"found others with weight {weight!r:.20}; restore the blob"
            )
        return TransitionCounts(weight, start, following, share)


def count_transitions(windows: Windows, positions: int, weight: float, v: int) -> TransitionCounts:
    """The pairs of which the later item is a target of a window.

    Args:
        windows: n of them.
        positions: where the windows do not say what their targets are, as many of the last items as this, the window's
            target included; the windows' stride, so that of windows which overlap each item is read once.
        weight: w.
        v: item rows.

    Returns:
        The counts.
    """
    length = windows.length
    whole = np.pad(windows.items, ((0, 0), (0, 1)))
    whole[np.arange(len(windows)), length] = windows.target
    back = np.arange(positions if windows.targets is None else windows.targets.max(initial=1))
    last = length[:, None] - back  # places of the second items [n, positions]
    if windows.targets is not None:
        last = np.where(back < windows.targets[:, None], last, -1)
    keys, values = [], []
    for apart in range(1, REACH + 1):
        row, column = np.nonzero(last - apart >= 0)
        second = last[row, column]
        earlier, later = whole[row, second - apart].astype(np.int64), whole[row, second].astype(np.int64)
        fade = np.full(len(row), FADE ** (apart - 1))
        keys += [earlier * v + later, later * v + earlier]
        values += [fade, BACK * fade]
    pairs, count = sums_by_pair(keys, values)
    first, following = pairs // v, (pairs % v).astype(np.int32)
    share = count / (np.bincount(first, count, minlength=v) + PRIOR)[first]
    real = (first > 0) & (following > 0)  # a target that no model knows is PAD
    start = np.searchsorted(first[real], np.arange(v + 1))
    return TransitionCounts(weight, start.astype(np.int64), following[real], share[real].astype(np.float32))


def sums_by_pair(
    keys: Sequence[NDArray[np.int64]], weights: Sequence[NDArray[np.float64]]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The distinct pairs of items and the sum of the weights of each.

    Args:
        keys: of each group of pairs `first x v + second`, int64.
        weights: of each group what its pairs count, float64.

    Returns:
        The pairs, ascending int64 [p], and their sums, float64 [p].
    """
    pairs, slot = np.unique(np.concatenate(keys), return_inverse=True)
    sums = np.bincount(slot, np.concatenate(weights), minlength=len(pairs))
    return pairs, np.asarray(sums, np.float64)


def faded_sums(
    items: NDArray[np.int32],
    start: NDArray[np.int64],
    following: NDArray[np.int32],
    share: NDArray[np.floating],
    reach: int,
) -> NDArray[np.float64]:
    """What the items of contexts say of the next item: their shares, each position further back fading by FADE.

    Args:
        items: [n, L], left-justified, 0 behind the last.
        start: int64 [v + 1]. The items that came after x stand at start[x]:start[x + 1].
        following: int32 [p], those items.
        share: [p], of x's count.
        reach: how many positions from the end are read.

    Returns:
        Sums [n, v].
    """
    n, v = len(items), len(start) - 1
    back = (items != 0).sum(axis=1, keepdims=True) - 1 - np.arange(items.shape[1])  # positions before the end
    row, slot = np.nonzero((items > 0) & (items < v) & (back < reach))
    first, fade = items[row, slot], FADE ** back[row, slot]
    size = start[first + 1] - start[first]
    entry = np.arange(size.sum()) + np.repeat(start[first] - np.cumsum(size) + size, size)
    target = np.repeat(row * v, size) + following[entry]
    sums = np.bincount(target, np.repeat(fade, size) * share[entry], minlength=n * v)
    return np.asarray(sums, np.float64).reshape(n, v)


def transitions_of(parts: Sequence[Windows], config: EngineConfig, v: int) -> bytes | None:
    """The bytes of the item transition counts of all these windows; None where the configuration counts nothing.

    Args:
        parts: one after the other.
        config: of the engine.
        v: item rows.

    Returns:
        The bytes.
    """
    weight = config.adapter.transition_weight
    if not weight or not parts or config.mixture.names:  # a mixture counts rows, and weighs what it counts
        return None
    return count_transitions(concatenate(parts), config.windows.stride, weight, v).to_bytes()
