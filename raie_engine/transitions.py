"""What followed what in the windows of an edit, and how that joins what an adapter says.

    p(i) = (1 - s) softmax(scores)_i + s q(i)
    q(i) = sum over d of FADE^(d - 1) C[x_d, i] / (C[x_d] + PRIOR), divided by the sum of FADE^(d - 1)

x_d: the item d places before the end of the context; C[x, i]: how often i came after x, one step more between them
counting FADE as much; C[x]: its sum over all i. Counts know at once what training needs many passes for.
Source: a cache beside a neural model, as arXiv 1612.04426 has it; the counts are those of a decayed Markov chain.
Legend: n windows, L positions, v item rows (row 0 is padding), p pairs of items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raie_engine.array_bytes import pack, unpack
from raie_engine.config import EngineConfig
from raie_engine.errors import DamagedArtifact
from raie_engine.windows import Windows, concatenate

__all__ = ["FADE", "REACH", "Transitions", "count_transitions", "transitions_of"]

REACH = 3
"""How many places apart two items may be to count as a pair."""
FADE = 0.7
"""What one step more between two items, or back in the context, leaves of a count."""
PRIOR = 5.0
"""An item that fewer pairs than this begin with says little."""
_FADES = sum(FADE**back for back in range(REACH))
_TYPES = {"start": np.int64, "following": np.int32, "weight": np.float32}
_AXES = {"start": "s", "following": "p", "weight": "p"}


@dataclass(frozen=True, eq=False)
class Transitions:
    """share: s. start: int64 [v + 1]. following: int32 [p], the items that came after x at start[x]:start[x + 1]; weight:
    float32 [p], C[x, i] / (C[x] + PRIOR) of them.
    """

    share: float
    start: NDArray[np.int64]
    following: NDArray[np.int32]
    weight: NDArray[np.float32]

    @property
    def rows(self) -> int:
        """v: the rows of the items they know, and padding."""
        return len(self.start) - 1

    def after(self, items: NDArray[np.int32]) -> Tensor:
        """q of contexts [n, L], as float32 [n, v]; items that the counts do not know say nothing."""
        n, v = len(items), self.rows
        back = (items != 0).sum(axis=1, keepdims=True) - 1 - np.arange(items.shape[1])  # places before the end
        row, place = np.nonzero((items > 0) & (items < v) & (back < REACH))
        first, fade = items[row, place], FADE ** back[row, place]
        size = self.start[first + 1] - self.start[first]
        entry = np.arange(size.sum()) + np.repeat(self.start[first] - np.cumsum(size) + size, size)
        cell = np.repeat(row * v, size) + self.following[entry]
        total = np.bincount(cell, np.repeat(fade, size) * self.weight[entry], minlength=n * v) / _FADES
        return torch.from_numpy(total.astype(np.float32)).view(n, v)

    def joined(self, scores: Tensor, items: NDArray[np.int32]) -> Tensor:
        """log p [n, v] of the scores [n, v] of contexts [n, L]; a score of minus infinity stays that."""
        p = (1 - self.share) * scores.softmax(dim=1) + self.share * self.after(items)
        return p.clamp_min(torch.finfo(p.dtype).tiny).log().masked_fill(scores.isneginf(), float("-inf"))

    def to_bytes(self) -> bytes:
        """Equal counts give equal bytes."""
        arrays = {name: getattr(self, name) for name in _TYPES}
        return pack({"kind": "transitions", "share": self.share}, arrays)

    @staticmethod
    def from_bytes(data: bytes) -> Transitions:
        """The inverse of `to_bytes`. Raises: DamagedArtifact."""
        header, arrays = unpack(data, "transitions", _TYPES, _AXES)
        share, start, following, weight = header.get("share"), *(arrays[name] for name in _TYPES)
        whole = (
            len(start) > 0 and start[0] == 0 and start[-1] == len(following) and bool((np.diff(start) >= 0).all())
        )
        inside = bool(((following > 0) & (following < len(start) - 1)).all())
        finite = bool((np.isfinite(weight) & (weight >= 0)).all())
        if not (whole and inside and finite and isinstance(share, float) and 0 < share < 1):
            raise DamagedArtifact(
                f"expected counts of {max(len(start) - 1, 0)} items that refer to one another and a share between 0 and "
                f"1, found others with share {share!r:.20}; restore the blob"
            )
        return Transitions(share, start, following, weight)


def count_transitions(windows: Windows, positions: int, share: float, v: int) -> Transitions:
    """The pairs of which the later item is one of the last `positions` of a window, its target included.

    positions: the windows' stride, so that of windows which overlap each item is read once. v: item rows.
    """
    length = windows.length
    whole = np.pad(windows.items, ((0, 0), (0, 1)))
    whole[np.arange(len(windows)), length] = windows.target
    last = length[:, None] - np.arange(positions)  # places of the second items [n, positions]
    keys, weights = [], []
    for apart in range(1, REACH + 1):
        row, column = np.nonzero(last - apart >= 0)
        second = last[row, column]
        keys.append(whole[row, second - apart].astype(np.int64) * v + whole[row, second])
        weights.append(np.full(len(row), FADE ** (apart - 1)))
    pairs, place = np.unique(np.concatenate(keys), return_inverse=True)
    count = np.bincount(place, np.concatenate(weights), minlength=len(pairs))
    first, following = pairs // v, (pairs % v).astype(np.int32)
    weight = count / (np.bincount(first, count, minlength=v) + PRIOR)[first]
    real = (first > 0) & (following > 0)  # a target that no model knows is PAD
    start = np.searchsorted(first[real], np.arange(v + 1))
    return Transitions(share, start.astype(np.int64), following[real], weight[real].astype(np.float32))


def transitions_of(parts: Sequence[Windows], config: EngineConfig, v: int) -> bytes | None:
    """The bytes of what followed what in all these windows; None where the configuration counts nothing."""
    share = config.adapter.transition_share
    if not share or not parts:
        return None
    return count_transitions(concatenate(parts), config.windows.stride, share, v).to_bytes()
