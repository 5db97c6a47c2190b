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
from torch.nn import functional

from raie.engine.data.windows import Windows
from raie.engine.evaluation.metrics import mean_metrics, paired_difference, target_ranks
from raie.engine.mixture.log_parts import LogParts
from raie.engine.mixture.mixture import lifts, rows_at_a_time
from raie.engine.mixture.region_parts import RegionParts
from raie.engine.mixture.repeats import AGES, earlier_items
from raie.engine.mixture.weights import MixtureWeights, PartWeight
from raie.engine.training.train_adapter import one_thread

__all__ = ["Fitted", "Validated", "fit_mixture"]

ALL = "all"

MOST_WINDOWS = 4000
"""Windows that weights are fitted on, a sample of them where there are more."""
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
class _Candidates:
    """What candidates of n windows look like to every part.

    lifts: float64 [f, n, c]. age: int64 [n, c]. times: float64 [n, c]. none: bool [n, c], where no candidate is. The
    target is candidate 0.
    """

    lifts: Tensor
    age: Tensor
    times: Tensor
    none: Tensor

    def __len__(self) -> int:
        return len(self.none)

    def of_part(self, number: int) -> _Candidates:
        """The candidates under one part alone.

        Args:
            number: of the part.

        Returns:
            The candidates.
        """
        return replace(self, lifts=self.lifts[number : number + 1])

    @staticmethod
    def together(parts: Sequence[_Candidates]) -> _Candidates:
        """The candidates of all parts.

        Args:
            parts: one after the other.

        Returns:
            The candidates.
        """
        c = max(part.none.shape[1] for part in parts)
        wide = [part.widened(c) for part in parts]
        others = (torch.cat([getattr(part, name) for part in wide]) for name in ("age", "times", "none"))
        return _Candidates(torch.cat([part.lifts for part in wide], dim=1), *others)

    def widened(self, c: int) -> _Candidates:
        """The same candidates, and places for more.

        Args:
            c: at least as many as there are.

        Returns:
            The candidates.
        """
        more = (0, c - self.none.shape[1])
        lifts, age, times = (functional.pad(array, more) for array in (self.lifts, self.age, self.times))
        return _Candidates(lifts, age, times, functional.pad(self.none, more, value=True))

    def narrowed(self) -> _Candidates:
        """The same candidates, no wider than the window with the most candidates.

        Returns:
            The candidates.
        """
        c = int((~self.none).sum(dim=1).max()) if len(self) else 1
        others = (array[:, :c].contiguous() for array in (self.age, self.times, self.none))
        return _Candidates(self.lifts[:, :, :c].contiguous(), *others)


@dataclass(frozen=True, eq=False)
class Validated:
    """Windows of one region, the model that serves them, from windows to logits [n, w], and what the rows before them
    say: of the log and, where regions count by themselves, of the region.
    """

    windows: Windows
    score: Callable[[Windows], Tensor]
    parts: LogParts | RegionParts

    def batches(self, names: Sequence[str]) -> Iterator[tuple[Windows, dict[str, Tensor]]]:
        """Some windows at a time, and the lifts of the parts for them."""
        rows = rows_at_a_time(self.parts.v)
        for start in range(0, len(self.windows), rows):
            part = self.windows.take(slice(start, start + rows))
            yield part, lifts(self.score(part), self.parts, part, names)


def _candidates_of(validated: Sequence[Validated], names: Sequence[str]) -> _Candidates:
    """What the windows of one region say about the weights."""
    parts = [
        _candidates([by_part[name] for name in names], part, some.parts.v)
        for some in validated
        for part, by_part in some.batches(names)
    ]
    return _Candidates.together(parts)


def _candidates(by_part: Sequence[Tensor], windows: Windows, v: int) -> _Candidates:
    """The candidates of the windows whose target is one; by_part: the lifts [n, v] or [1, v] of each part."""
    target = torch.from_numpy(windows.target).long().unsqueeze(1)
    age, times = earlier_items(windows).ages(len(windows), v)
    wanted = (age > 0) & (age <= RECENT_AGES)
    for lift in by_part:
        wanted.scatter_(1, lift.topk(min(HIGH, v), dim=1).indices.expand(len(windows), -1), True)
    wanted[:, 0] = False
    reached = wanted.gather(1, target).squeeze(1)
    wanted = wanted.scatter_(1, target, False)[reached]
    most = min(v, HIGH * len(by_part) + 2**RECENT_AGES)
    high = wanted.to(torch.uint8).topk(most, dim=1).indices
    columns = torch.cat([target[reached], high], dim=1)
    none = torch.cat([wanted.new_zeros(len(columns), 1), ~wanted.gather(1, high)], dim=1)
    rows = reached.nonzero()
    taken = [lift.expand(len(windows), -1)[rows, columns] for lift in by_part]
    return _Candidates(torch.stack(taken).double(), age[rows, columns], times[rows, columns].double(), none)


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

    def loss(self, candidates: _Candidates) -> tuple[float, Tensor]:
        """The mean of (1 - p^q) / q for the targets' shares p among the candidates, and its slope; 0 without windows."""
        f = self.parts
        power, scale = self.values[:f], self.values[f : 2 * f].exp()
        repeats = torch.cat([self.values.new_zeros(1), self.values[2 * f : -1]])
        scaled = candidates.lifts * scale[:, None, None]
        says = torch.log1p(scaled)
        scores = (
            torch.einsum("f,fnc->nc", power, says) + repeats[candidates.age] + self.values[-1] * candidates.times
        )
        log_shares = scores.masked_fill_(candidates.none, float("-inf")).log_softmax(dim=1)
        wrong = log_shares.exp()  # by how much each candidate is held too likely
        wrong[:, 0] -= 1
        reached = torch.exp(TOP * log_shares[:, 0])  # p^q, as much as each window counts
        wrong *= reached.unsqueeze(1)
        flat, windows = wrong.ravel(), max(len(candidates), 1)
        slopes = (
            says.view(f, -1) @ flat,
            power * ((scaled / (1 + scaled)).view(f, -1) @ flat),
            torch.zeros_like(repeats).index_add_(0, candidates.age.ravel(), flat)[1:],
            (candidates.times.ravel() @ flat).unsqueeze(0),
        )
        return float(((1 - reached) / TOP).sum() / windows), torch.cat(slopes) / windows

    def weights(self, names: Sequence[str], items: int) -> MixtureWeights:
        f, numbers = self.parts, self.values.tolist()
        scales = self.values[f : 2 * f].exp().tolist()
        parts = {name: PartWeight(numbers[k], scales[k]) for k, name in enumerate(names)}
        return MixtureWeights(parts, tuple(numbers[2 * f : -1]), numbers[-1], items)


def _drawn(start: _Numbers, towards: Tensor, strength: Tensor | float, candidates: _Candidates) -> _Numbers:
    """The numbers with the least loss that are drawn to others, in double precision by L-BFGS-B."""

    def function(values: Tensor) -> tuple[float, Tensor]:
        loss, slope = _Numbers(values).loss(candidates)
        away = values - towards
        return loss + float((strength * away**2).sum()), slope + 2 * strength * away

    # Not by torch's optimisers: the first of them imports a compiler, which takes longer than the fit of a small log.
    from scipy.optimize import minimize

    def of_array(values: np.ndarray) -> tuple[float, np.ndarray]:
        loss, slope = function(torch.from_numpy(values.copy()))
        return loss, slope.numpy()

    options = {"maxiter": ITERATIONS}
    best = minimize(of_array, start.values.numpy(), jac=True, method="L-BFGS-B", options=options)
    return _Numbers(torch.from_numpy(np.array(best.x, np.float64)))


def _fit_all(candidates: _Candidates) -> _Numbers:
    """The numbers for all windows together."""
    start = _Numbers.start(len(candidates.lifts))
    strength = torch.full_like(start.values, TOWARDS_NOTHING)
    strength[: 2 * start.parts] = TOWARDS_SILENCE
    return _drawn(start, torch.zeros_like(start.values), strength, candidates)


def _fit_region(everywhere: _Numbers, candidates: _Candidates) -> _Numbers:
    """The numbers for the windows of one region, drawn to those for all."""
    return _drawn(everywhere, everywhere.values, TOWARDS_ALL / max(len(candidates), 1), candidates)


@dataclass(frozen=True)
class Fitted:
    """Weights and what they are worth on the windows they were fitted on.

    weights: for all windows. regions: those of each region. windows: how many. quality: NDCG@10 of the weights for all.
    worth: what NDCG@10 falls by without each part. alone: NDCG@10 of each part with what a user had before. chosen:
    "all", or what is less than all and better beyond chance: "wide alone", "without trend".
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


def fit_mixture(
    validated: Mapping[int, Sequence[Validated]], items: int, *, names: Sequence[str], seed: int = 0
) -> Fitted:
    """Fit the weights of a mixture on windows that nothing was trained on.

    Args:
        validated: by region, windows of it with the model and the counts before them; those whose target no part knows
            say nothing and are left out.
        items: the last item row that can be recommended.
        names: the parts that may take part.
        seed: of the sample.

    Returns:
        The weights of every region. Without windows, what the model alone says.
    """
    sample = _sample(validated, seed)
    asked = [some for region in sample.values() for some in region]
    total = sum(len(some.windows) for some in asked)
    with one_thread():  # sums on several threads differ in the last bits
        candidates = {
            region: _candidates_of(some, names)
            for region, some in sample.items()
            if any(len(part.windows) for part in some)
        }
        if not sum(map(len, candidates.values())):
            weights = _plain(names, items)
            return Fitted(weights, dict.fromkeys(validated, weights), 0, math.nan, {}, {}, "")
        together = _Candidates.together(list(candidates.values())).narrowed()
        everywhere = _fit_all(together)
        weights = everywhere.weights(names, items)
        variants = {ALL: weights, **_variants(together, weights, names)}
        ranked = _ranks(asked, names, variants)
        measured = {name: mean_metrics(rank)["NDCG@10"] for name, rank in ranked.items()}
        best = _best(ranked, measured, np.concatenate([some.windows.user for some in asked]), seed)
        regions = {
            region: _fit_region(everywhere, candidates[region].narrowed()).weights(names, items)
            if best == ALL and region in candidates
            else variants[best]
            for region in validated
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


def _sample(validated: Mapping[int, Sequence[Validated]], seed: int) -> dict[int, list[Validated]]:
    """The windows whose target is known, of each region the same share where they are too many."""
    known = {region: [_known_rows(some) for some in parts] for region, parts in validated.items()}
    share = min(1.0, MOST_WINDOWS / max(sum(len(rows) for parts in known.values() for rows in parts), 1))
    generator, sample = np.random.default_rng(seed), {}
    for region, parts in sorted(known.items()):
        kept = [np.sort(generator.permutation(rows)[: math.ceil(share * len(rows))]) for rows in parts]
        pairs = zip(validated[region], kept, strict=True)
        sample[region] = [replace(some, windows=some.windows.take(rows)) for some, rows in pairs]
    return sample


def _known_rows(some: Validated) -> np.ndarray:
    """Numbers of the windows whose target some row held; another says nothing of the parts."""
    counts, v, target = some.parts.counts, some.parts.v, some.windows.target
    counted = np.zeros(v, bool)
    counted[: counts.items + 1] = counts.popularity > 0
    return np.flatnonzero((target < v) & counted[np.minimum(target, v - 1)])


def _variants(candidates: _Candidates, weights: MixtureWeights, names: Sequence[str]) -> dict[str, MixtureWeights]:
    """The mixture without each part, and each part alone, with terms for earlier items of its own."""
    if len(names) == 1:
        return {}
    alone = {
        f"{name} alone": _fit_all(candidates.of_part(number)).weights([name], weights.items)
        for number, name in enumerate(names)
    }
    return alone | {f"without {name}": _without(weights, name) for name in names}


def _plain(names: Sequence[str], items: int) -> MixtureWeights:
    """What is taken where nothing can be fitted: the model and what followed, and nothing that the user had."""
    parts = {name: PartWeight(1.0, 1.0) for name in names}
    return MixtureWeights(parts, (-10.0,) * AGES, 0.0, items)


def _without(weights: MixtureWeights, name: str) -> MixtureWeights:
    return replace(weights, parts={kept: part for kept, part in weights.parts.items() if kept != name})


def _best(ranked: Mapping[str, np.ndarray], measured: Mapping[str, float], users: np.ndarray, seed: int) -> str:
    """All parts, unless less than all is better beyond chance; on few windows the best of many is best by chance."""
    best = max(ranked, key=lambda name: (measured[name], name == ALL))
    gain = paired_difference(ranked[ALL], ranked[best], users, metric="NDCG@10", seed=seed)
    return best if gain.low > 0 else ALL


def _ranks(
    asked: Sequence[Validated], names: Sequence[str], variants: Mapping[str, MixtureWeights]
) -> dict[str, np.ndarray]:
    """Ranks [n] of the targets under each variant; the parts are computed once for all of them."""
    ranks: dict[str, list[np.ndarray]] = {name: [] for name in variants}
    for some in asked:
        known = {name: replace(weights, items=some.parts.v - 1) for name, weights in variants.items()}
        for part, by_part in some.batches(names):
            earlier, target = earlier_items(part), torch.from_numpy(part.target).long()
            together = known[ALL].said(by_part)
            for name, weights in known.items():
                shared = all(weights.parts[part] == known[ALL].parts[part] for part in weights.parts)
                joined = weights.joined(together if shared else weights.said(by_part), earlier, len(part))
                joined[:, 0] = float("-inf")
                ranks[name].append(target_ranks(joined, target).numpy())
    return {name: np.concatenate(parts) for name, parts in ranks.items()}
