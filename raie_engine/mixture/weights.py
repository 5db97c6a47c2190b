"""How parts join: a handful of numbers, fitted per edit and region, and stored with the region.

    score(i) = sum over parts of power log(1 + scale lift(i))  +  repeats[age of i] + again log(times of i)

lift: how many times as likely as by chance the part holds i to be. The last two terms are there for items that the user
had before. A part of power 0 says nothing.
Legend: n windows, v item rows (row 0 is padding).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from raie.engine.bytes.json import parse_json
from raie.engine.config import ALL_PARTS
from raie.engine.errors import DamagedArtifact
from raie.engine.mixture.repeats import AGES, EarlierItems

__all__ = ["MODEL", "MixtureWeights", "PartWeight"]

MODEL = "model"
_KIND = "mixture 1"


@dataclass(frozen=True)
class PartWeight:
    """power: the exponent of what a part says, 0 for nothing. scale: how much of a lift counts; above 0."""

    power: float
    scale: float


@dataclass(frozen=True)
class MixtureWeights:
    """parts: by name, of ALL_PARTS. repeats: by age, what an item gains or loses that the user had that long ago.
    again: what it gains with the logarithm of how often. items: the last item row that can be recommended.
    """

    parts: Mapping[str, PartWeight]
    repeats: tuple[float, ...]
    again: float
    items: int

    def score(self, lifts: Mapping[str, Tensor], earlier: EarlierItems, n: int) -> Tensor:
        """The joined scores.

        Args:
            lifts: [n, v] or [1, v] by part; those of power 0 may be missing.
            earlier: what the users of the windows had.
            n: windows.

        Returns:
            float32 [n, v].
        """
        return self.joined(self.said(lifts), earlier, n)

    def said(self, lifts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What each part adds to a score.

        Args:
            lifts: as of `score`.

        Returns:
            By part: float32 [n, v] or [1, v].
        """
        return {name: (part.scale * lifts[name]).log1p_().mul_(part.power) for name, part in self._speaking}

    def joined(self, said: Mapping[str, Tensor], earlier: EarlierItems, n: int) -> Tensor:
        """The joined scores.

        Args:
            said: by part, what these weights or others with the same part make of its lift.
            earlier: what the users of the windows had.
            n: windows.

        Returns:
            float32 [n, v].
        """
        scores, known = torch.zeros(n, self.items + 1), earlier.below(self.items + 1)
        for name, _ in self._speaking:
            scores += said[name]
        repeats = torch.tensor(self.repeats, dtype=torch.float32)
        scores[known.row, known.item] += repeats[known.age] + self.again * known.times
        return scores

    @property
    def _speaking(self) -> list[tuple[str, PartWeight]]:
        return [(name, part) for name, part in self.parts.items() if part.power]

    @property
    def spoken(self) -> tuple[str, ...]:
        """The parts that say anything."""
        return tuple(name for name, _ in self._speaking)

    def indifferent(self) -> MixtureWeights:
        """The same weights, to which it makes no difference what a user had before.

        Returns:
            The weights.
        """
        return replace(self, repeats=(0.0,) * AGES, again=0.0)

    def to_bytes(self) -> bytes:
        """Canonical JSON; equal weights give equal bytes."""
        return json.dumps({"kind": _KIND, **asdict(self)}, sort_keys=True, separators=(",", ":")).encode()

    @staticmethod
    def from_bytes(data: bytes) -> MixtureWeights:
        """The inverse of `to_bytes`.

        Args:
            data: the stored bytes.

        Returns:
            The value that was stored.

        Raises:
            DamagedArtifact: for bytes that hold no such value.
        """
        values = parse_json(data, "the weights of a mixture")
        try:
            kind, parts = values.pop("kind"), values.pop("parts")
            repeats = tuple(float(value) for value in values.pop("repeats"))
            weights = MixtureWeights(
                {
                    name: PartWeight(**{key: float(value) for key, value in part.items()})
                    for name, part in parts.items()
                },
                repeats,
                again=float(values.pop("again")),
                items=int(values.pop("items")),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DamagedArtifact(
                f"expected the weights of a mixture, found {data[:80]!r}; restore the blob"
            ) from error
        known = kind == _KIND and not values and set(parts) <= set(ALL_PARTS) and len(repeats) == AGES
        if not known or weights.items < 1 or any(p.scale <= 0 for p in weights.parts.values()):
            raise DamagedArtifact(f"expected the weights of a mixture, found {data[:80]!r}; restore the blob")
        return weights
