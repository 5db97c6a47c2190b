"""Fit the weights of a mixture on windows that nothing was trained on, for all of them and then for each region.

The loss is about the top: a generalised cross-entropy among candidates, which are what some part ranks high and what the
user had lately. Windows whose target is none of them are left out, because no weights bring it to the top; with them, or
with plain cross-entropy, the weights care for items far from the top and recommend worse (docs/research.md). A region's
weights are drawn to those of all regions, the more so the fewer windows it has.
Source: a listwise softmax over candidates, as in ListNet (Cao et al. 2007), with the loss of arXiv 1805.07836, of a
log-linear mixture with a prior.
Legend: n windows, v item rows (row 0 is padding), c candidates of a window, f parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raie.engine.data.windows import Windows
from raie.engine.evaluation.metrics import mean_metrics, target_ranks
from raie.engine.mixture.log_parts import LogParts
from raie.engine.mixture.mixture import lifts
from raie.engine.mixture.repeats import AGES, earlier_items
from raie.engine.mixture.weights import MixtureWeights, PartWeight
from raie.engine.training.train_adapter import one_thread

__all__ = ["Fitted", "Judged", "fit_mixture"]

ALL = "all"

MOST_WINDOWS = 2000
"""Windows that weights are fitted on, a sample of them where there are more."""
BATCH = 256
HIGH = 48
"""Items of each part that are candidates, the highest of it."""
RECENT_AGES = 5
"""What the user had up to so many ages ago is a candidate too."""
TOP = 0.4
"""q: at 0 the loss is cross-entropy; the larger, the less a target counts that is far from the top whatever is done."""
ITERATIONS = 60
TOWARDS_SILENCE = 1e-3
"""How strongly powers and logarithms of scales are drawn to 0."""
TOWARDS_NOTHING = 1e-4
"""How strongly the terms of earlier items are drawn to 0."""
TOWARDS_ALL = 15.0
"""How strongly a region's weights are drawn to those of all windows, against each of its windows."""


@dataclass(frozen=True, eq=False)
class _Evidence:
    """What candidates of n windows look like to every part.

    lifts: float64 [n, c, f]. age: int64 [n, c]. times: float64 [n, c]. none: bool [n, c], where no candidate is. The
    target is candidate 0.
    """

    lifts: Tensor
    age: Tensor
    times: Tensor
    none: Tensor

    def of_part(self, number: int) -> _Evidence:
        """The evidence for one part alone.

        Args:
            number: of the part.

        Returns:
            The evidence.
        """
        return replace(self, lifts=self.lifts[:, :, number : number + 1])

    @staticmethod
    def together(parts: Sequence[_Evidence]) -> _Evidence:
        """The evidence of all parts.

        Args:
            parts: one after the other.

        Returns:
            The evidence.
        """
        names = ("lifts", "age", "times", "none")
        return _Evidence(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True, eq=False)
class Judged:
    """The windows of one region, and the model that serves them: from windows to logits [n, w]."""

    windows: Windows
    score: Callable[[Windows], Tensor]

    def batches(self, log: LogParts, names: Sequence[str]) -> Iterator[tuple[Windows, dict[str, Tensor]]]:
        """Some windows at a time, and the lifts of the parts for them."""
        for start in range(0, len(self.windows), BATCH):
            part = self.windows.take(slice(start, start + BATCH))
            yield part, lifts(self.score(part), log, part, names)


def _evidence(judged: Judged, log: LogParts, names: Sequence[str]) -> _Evidence:
    """What the windows of one region say about the weights."""
    parts = [
        _candidates([found[name].expand(len(part), log.v) for name in names], part, log.v)
        for part, found in judged.batches(log, names)
    ]
    return _Evidence.together(parts)


def _candidates(found: Sequence[Tensor], windows: Windows, v: int) -> _Evidence:
    """The candidates of the windows whose target is one; found: the lifts [n, v] of each part."""
    target = torch.from_numpy(windows.target).long().unsqueeze(1)
    age, times = earlier_items(windows).ages(len(windows), v)
    wanted = (age > 0) & (age <= RECENT_AGES)
    for lift in found:
        wanted.scatter_(1, lift.topk(min(HIGH, v), dim=1).indices, True)
    wanted[:, 0] = False
    reached = wanted.gather(1, target).squeeze(1)
    wanted.scatter_(1, target, False)
    most = min(v, HIGH * len(found) + 2**RECENT_AGES)  # the same for every batch
    high = wanted[reached].to(torch.uint8).topk(most, dim=1).indices
    columns = torch.cat([target[reached], high], dim=1)
    none = torch.cat(
        [columns.new_zeros(len(columns), 1, dtype=torch.bool), ~wanted[reached].gather(1, high)], dim=1
    )
    taken = [lift[reached].gather(1, columns) for lift in found]
    return _Evidence(
        torch.stack(taken, dim=2).double(),
        age[reached].gather(1, columns),
        times[reached].gather(1, columns).double(),
        none,
    )


@dataclass(frozen=True, eq=False)
class _Numbers:
    """The numbers of a mixture of f parts, float64 [2 f + AGES + 1]: powers, logarithms of scales, repeats and again."""

    values: Tensor

    @property
    def parts(self) -> int:
        return (len(self.values) - AGES - 1) // 2

    @staticmethod
    def start(parts: int) -> _Numbers:
        """Where a fit begins: every part says half of what it says, and earlier items are as any others."""
        return _Numbers(torch.cat([torch.full((parts,), 0.5), torch.zeros(parts + AGES + 1)]).double())

    def score(self, found: _Evidence) -> Tensor:
        """The joined scores [n, c] of candidates."""
        f = self.parts
        power, scale = self.values[:f], self.values[f : 2 * f].exp()
        repeats = torch.cat([self.values.new_zeros(1), self.values[2 * f : -1]])
        earlier = repeats[found.age] + self.values[-1] * found.times
        return (torch.log1p(found.lifts * scale) * power).sum(dim=2) + earlier

    def loss(self, found: _Evidence) -> Tensor:
        """The mean loss (1 - p^q) / q of the targets' probabilities p among the candidates; 0 without windows."""
        scores = self.score(found).masked_fill(found.none, float("-inf"))
        own = scores[:, 0] - torch.logsumexp(scores, dim=1)
        return ((1 - torch.exp(TOP * own)) / TOP).sum() / max(len(own), 1)

    def weights(self, names: Sequence[str], items: int) -> MixtureWeights:
        f, numbers = self.parts, self.values.tolist()
        scales = self.values[f : 2 * f].exp().tolist()
        parts = {name: PartWeight(numbers[k], scales[k]) for k, name in enumerate(names)}
        return MixtureWeights(parts, tuple(numbers[2 * f : -1]), numbers[-1], items)


def _minimised(start: _Numbers, penalty: Callable[[Tensor], Tensor], found: _Evidence) -> _Numbers:
    """The numbers with the least loss and penalty, by L-BFGS in double precision."""
    values = start.values.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([values], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimiser.zero_grad()
        loss = _Numbers(values).loss(found) + penalty(values)
        loss.backward()
        return float(loss.detach())

    optimiser.step(closure)
    return _Numbers(values.detach())


def _fit_all(found: _Evidence) -> _Numbers:
    """The numbers for all windows of the evidence together."""
    start = _Numbers.start(found.lifts.shape[2])
    strength = torch.full_like(start.values, TOWARDS_NOTHING)
    strength[: 2 * start.parts] = TOWARDS_SILENCE
    return _minimised(start, lambda values: (strength * values**2).sum(), found)


def _fit_region(everywhere: _Numbers, found: _Evidence) -> _Numbers:
    """The numbers for the windows of one region, drawn to those for all."""
    pull = TOWARDS_ALL / max(found.lifts.shape[0], 1)
    return _minimised(everywhere, lambda values: pull * ((values - everywhere.values) ** 2).sum(), found)


@dataclass(frozen=True)
class Fitted:
    """Weights and what they are worth on the windows they were fitted on.

    weights: for all windows. regions: those of each region. windows: how many. quality: NDCG@10 of the weights for all.
    worth: what NDCG@10 falls by without each part. alone: NDCG@10 of each part with what a user had before. chosen:
    "all", or the better of what is less than all: "wide alone", "without trend".
    """

    weights: MixtureWeights
    regions: Mapping[int, MixtureWeights]
    windows: int
    quality: float
    worth: Mapping[str, float]
    alone: Mapping[str, float]
    chosen: str

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for a report."""
        parts = {
            name: asdict(part) | {"worth": self.worth.get(name), "alone": self.alone.get(name)}
            for name, part in self.weights.parts.items()
        }
        return {
            "windows": self.windows,
            "NDCG@10": self.quality,
            "chosen": self.chosen,
            "parts": parts,
            "repeats": list(self.weights.repeats),
            "again": self.weights.again,
        }


def fit_mixture(judged: Mapping[int, Judged], log: LogParts, *, names: Sequence[str], seed: int = 0) -> Fitted:
    """Fit the weights of a mixture on windows that nothing was trained on.

    Args:
        judged: by region, its windows and its model; those whose target no part knows say nothing and are left out.
        log: counts of rows before the windows.
        names: the parts that may take part.
        seed: of the sample.

    Returns:
        The weights of every region. Without windows, what the model alone says.
    """
    sample = _sample(judged, log, seed)
    items, total = log.v - 1, sum(len(region.windows) for region in sample.values())
    if not total:
        weights = _plain(names, items)
        return Fitted(weights, dict.fromkeys(judged, weights), 0, math.nan, {}, {}, "")
    with one_thread():  # sums on several threads differ in the last bits
        found = {region: _evidence(part, log, names) for region, part in sample.items() if len(part.windows)}
        together = _Evidence.together(list(found.values()))
        everywhere = _fit_all(together)
        weights = everywhere.weights(names, items)
        variants = {ALL: weights, **_variants(together, weights, names)}
        measured = _qualities(sample, log, names, variants)
        best = max(variants, key=lambda name: (measured[name], name == ALL))
        regions = {
            region: _fit_region(everywhere, found[region]).weights(names, items)
            if best == ALL and region in found
            else variants[best]
            for region in judged
        }
    return Fitted(
        variants[best],
        regions,
        total,
        measured[best],
        {name: measured[ALL] - measured[f"without {name}"] for name in names if f"without {name}" in measured},
        {name: measured[f"{name} alone"] for name in names if f"{name} alone" in measured},
        best,
    )


def _sample(judged: Mapping[int, Judged], log: LogParts, seed: int) -> dict[int, Judged]:
    """The windows whose target is known, of each region the same share where they are too many."""
    counted = np.zeros(log.v, bool)  # an item that no row held yet tells nothing of the parts
    counted[: log.counts.items + 1] = log.counts.popularity > 0
    known = {
        region: np.flatnonzero((part.windows.target < log.v) & counted[np.minimum(part.windows.target, log.v - 1)])
        for region, part in judged.items()
    }
    share = min(1.0, MOST_WINDOWS / max(sum(map(len, known.values())), 1))
    generator, sample = np.random.default_rng(seed), {}
    for region, rows in sorted(known.items()):
        kept = generator.permutation(rows)[: math.ceil(share * len(rows))]
        sample[region] = replace(judged[region], windows=judged[region].windows.take(np.sort(kept)))
    return sample


def _variants(found: _Evidence, weights: MixtureWeights, names: Sequence[str]) -> dict[str, MixtureWeights]:
    """The mixture without each part, and each part alone, with terms for earlier items of its own."""
    if len(names) == 1:
        return {}
    alone = {
        f"{name} alone": _fit_all(found.of_part(number)).weights([name], weights.items)
        for number, name in enumerate(names)
    }
    return alone | {f"without {name}": _without(weights, name) for name in names}


def _plain(names: Sequence[str], items: int) -> MixtureWeights:
    """What is taken where nothing can be fitted: the model and what followed, and nothing that the user had."""
    parts = {name: PartWeight(1.0, 1.0) for name in names}
    return MixtureWeights(parts, (-10.0,) * AGES, 0.0, items)


def _without(weights: MixtureWeights, name: str) -> MixtureWeights:
    return replace(weights, parts={other: part for other, part in weights.parts.items() if other != name})


def _qualities(
    judged: Mapping[int, Judged], log: LogParts, names: Sequence[str], variants: Mapping[str, MixtureWeights]
) -> dict[str, float]:
    """NDCG@10 of each variant on the windows; the parts are computed once for all of them."""
    ranks: dict[str, list[np.ndarray]] = {name: [] for name in variants}
    for region in judged.values():
        for part, found in region.batches(log, names):
            age, times = earlier_items(part).ages(len(part), log.v)
            target = torch.from_numpy(part.target).long()
            for name, weights in variants.items():
                joined = weights.score(found, age, times)
                joined[:, 0] = float("-inf")
                ranks[name].append(target_ranks(joined, target).numpy())
    return {name: mean_metrics(np.concatenate(parts))["NDCG@10"] for name, parts in ranks.items()}
