"""Any strategy with what joins the scores of RAIE: the learned rule for repeats and, if asked for, counts of the log.

Every strategy has the rule for repeats. With the counts beside it, a strategy has all that RAIE has but its regions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from raie.engine.config import ALL_PARTS, REGION_PARTS
from raie.engine.data.interactions import Interactions
from raie.engine.data.windows import Windows, evaluation_windows
from raie.engine.edit.pipeline import MOST_ANSWERED, answered_sample
from raie.engine.evaluation.metrics import leaving_out_context
from raie.engine.mixture.fit import Validated, fit_mixture
from raie.engine.mixture.log_counts import LogCounts, count_rows
from raie.engine.mixture.log_parts import LogParts
from raie.engine.mixture.mixture import Mixture
from raie.engine.mixture.region_counts import NEAR, RegionCounts, RegionRows, count_regions, region_counts_summed
from raie.engine.mixture.region_parts import parts_of
from raie.engine.mixture.weights import MODEL, MixtureWeights
from raie.engine.model import LOG_COUNTS, MIXTURE, REGION_COUNTS
from raie.engine.strategies.task_data import LearnedState, Score, State, Strategy, TaskData

__all__ = ["with_counts", "with_repeats"]

Learn = Callable[[State, TaskData], LearnedState]

SPREAD, MIXTURE_OF, COUNTS_OF = "spread", f"{MIXTURE}/", f"{REGION_COUNTS}/"
SOME = 256
ALL_WINDOWS = 0
"""The region of every window, for a strategy without regions."""


def with_repeats(strategy: Strategy) -> Strategy:
    """The strategy, whose scores know what repeats are worth in this log.

    Args:
        strategy: any.

    Returns:
        The strategy under the same name.
    """
    return strategy if strategy.complete else _mixed(strategy, (MODEL,))


def with_counts(strategy: Strategy) -> Strategy:
    """The strategy, whose scores are joined with all parts of a mixture that RAIE's are joined with.

    Args:
        strategy: any whose scores are not joined yet.

    Returns:
        The strategy, named with "+ counts".
    """
    differs = "; ".join(filter(None, [strategy.differs, "counts of the log"]))
    return replace(_mixed(strategy, ALL_PARTS), name=f"{strategy.name} + counts", differs=differs)


def _mixed(strategy: Strategy, names: Sequence[str]) -> Strategy:
    def begin(state: State, task_data: TaskData) -> LearnedState:
        return _learned(strategy, names, strategy.begin, state, task_data)

    def learn(state: State, task_data: TaskData) -> LearnedState:
        return _learned(strategy, names, strategy.learn, state, task_data)

    def score(state: State, task_data: TaskData) -> Score:
        return _joined(strategy, state, task_data)

    return replace(strategy, begin=begin, learn=learn, score=score, complete=True)


def _learned(
    strategy: Strategy, names: Sequence[str], learn: Learn, state: State, task_data: TaskData
) -> LearnedState:
    """What the strategy learns, and the mixtures fitted on windows that it has not learned."""
    own, names = _own(state), task_data.config.allowed(names)
    learned = learn(own, task_data)
    if MIXTURE_OF + str(ALL_WINDOWS) in state and learned.state == own:
        return learned._replace(state=state)  # it has not moved, so what joins it does not either
    score, windows = strategy.score(learned.state, task_data), task_data.validating
    spread = _spread(score, windows) if strategy.counting else 1.0
    owner = _owner(strategy, learned.state, task_data, windows)
    with_pairs = set(names) - {MODEL} != set()
    trained, everything = (
        count_rows(rows, None, task_data.items, with_pairs=with_pairs)
        for rows in (task_data.rows, task_data.all_rows)
    )
    before, mine = (
        _region_counts(strategy, names, learned.state, task_data, rows, trained.half_life)
        for rows in (task_data.rows, task_data.all_rows)
    )
    log = LogParts(trained, trained.items + 1)
    asked = {
        region: [
            Validated(windows.take(owner == region), _scaled(score, spread), parts_of(before.get(region), log))
        ]
        for region in _regions(strategy, task_data)
    }
    for region, earlier in _answered(strategy, state, task_data):
        asked[region].append(earlier)
    fitted = fit_mixture(asked, log.v - 1, names=names, seed=task_data.seed)
    if strategy.counting:
        learned = learn(own, replace(task_data, rows=task_data.all_rows))
    mixtures = {MIXTURE_OF + str(region): weights.to_bytes() for region, weights in fitted.regions.items()}
    joined = {**mixtures, LOG_COUNTS: everything.to_bytes(), SPREAD: repr(spread).encode()}
    joined |= {COUNTS_OF + str(region): counts.to_bytes() for region, counts in mine.items()}
    return learned._replace(state={**learned.state, **joined})


def _answered(strategy: Strategy, state: State, task_data: TaskData) -> Iterator[tuple[int, Validated]]:
    """New windows as the state before had to answer them, by region, as an edit of RAIE has them."""
    previous = task_data.previous
    if previous is None or SPREAD not in state:
        return
    own, config = _own(state), task_data.config
    windows = answered_sample(
        task_data.all_rows, config.windows, previous.until, previous.items, MOST_ANSWERED, task_data.seed
    )
    owner = _owner(strategy, own, previous, windows)
    score = _scaled(strategy.score(own, previous), float(state[SPREAD]))
    counts, mine = LogCounts.from_bytes(state[LOG_COUNTS]), _stored_counts(state)
    log = LogParts(counts, counts.items + 1)
    for region in np.unique(owner).tolist():
        yield region, Validated(windows.take(owner == region), score, parts_of(mine.get(region), log))


def _stored_counts(state: State) -> dict[int, RegionCounts]:
    return {
        int(name.removeprefix(COUNTS_OF)): RegionCounts.from_bytes(data)
        for name, data in state.items()
        if name.startswith(COUNTS_OF)
    }


def _region_counts(
    strategy: Strategy,
    names: Sequence[str],
    state: State,
    task_data: TaskData,
    rows: Interactions,
    half_life: float,
) -> dict[int, RegionCounts]:
    """The counts of every region's rows, as RAIE's regions have them; {} where no region counts by itself."""
    if not set(names) & set(REGION_PARTS):
        return {}
    windows = evaluation_windows(rows, task_data.config.windows)
    windows = windows.take(windows.target <= task_data.items)
    last = windows.length[:, None] - 1 - np.arange(NEAR.context)
    before = np.take_along_axis(windows.items, np.maximum(last, 0), axis=1)
    age = len(rows) - np.searchsorted(rows.timestamp, windows.timestamp, side="right")
    routed = RegionRows(
        _owner(strategy, state, task_data, windows).astype(np.int32),
        windows.target,
        np.where((last >= 0) & (before <= task_data.items), before, 0),
        age,
    )
    counts = count_regions(routed, half_life)
    return {
        region: region_counts_summed(None, counts.get(region), len(rows), half_life)
        for region in _regions(strategy, task_data)
    }


def _joined(strategy: Strategy, state: State, task_data: TaskData) -> Score:
    own = _own(state)
    score = strategy.score(own, task_data)
    if SPREAD not in state:
        return leaving_out_context(score)
    weights = {
        int(name.removeprefix(MIXTURE_OF)): MixtureWeights.from_bytes(data)
        for name, data in state.items()
        if name.startswith(MIXTURE_OF)
    }
    counts = LogCounts.from_bytes(state[LOG_COUNTS])
    log = LogParts(counts, counts.items + 1)
    mine = _stored_counts(state)
    mixtures = {region: Mixture(part, parts_of(mine.get(region), log)) for region, part in weights.items()}
    scaled = _scaled(score, float(state[SPREAD]))

    def joined(windows: Windows) -> Tensor:
        scores, owner = scaled(windows), _owner(strategy, own, task_data, windows)
        for region in np.unique(owner).tolist():
            rows = np.flatnonzero(owner == region)
            where = torch.from_numpy(rows)
            scores[where] = mixtures[region].joined(scores[where], windows.take(rows))
        return scores

    return joined


def _own(state: State) -> State:
    """The part of a state that is the strategy's own."""
    return {
        name: data
        for name, data in state.items()
        if name not in (LOG_COUNTS, SPREAD) and not name.startswith((MIXTURE_OF, COUNTS_OF))
    }


def _owner(strategy: Strategy, state: State, task_data: TaskData, windows: Windows) -> np.ndarray:
    if strategy.regions is None:
        return np.full(len(windows), ALL_WINDOWS)
    return strategy.regions(state, task_data, windows)


def _regions(strategy: Strategy, task_data: TaskData) -> list[int]:
    regions: list[int] = task_data.base.region_map.ids.tolist()
    return [ALL_WINDOWS] if strategy.regions is None else regions


def _scaled(score: Score, spread: float) -> Score:
    return score if spread == 1.0 else lambda windows: score(windows) / spread


def _spread(score: Score, windows: Windows) -> float:
    """The standard deviation of finite scores within a window, on some: by it scores that are no logits become alike."""
    scores = score(windows.take(slice(0, SOME))).double()
    finite = torch.where(scores.isfinite(), scores, torch.nan)
    mean = finite.nanmean(dim=1, keepdim=True)
    spread = float((finite - mean).square().nanmean(dim=1).sqrt().nanmean()) if len(scores) else 1.0
    return spread if math.isfinite(spread) and spread > 0 else 1.0
