"""The result of a comparison as one value: each method's scores with intervals, its cost, what it left untouched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from raie.engine.bytes.stored_names import STORED, to_stored
from raie.engine.comparison.choice import CHOICE_METRIC, Candidate, Choice, choose
from raie.engine.comparison.methods import Method
from raie.engine.comparison.protocol import ComparisonProtocol
from raie.engine.comparison.scoring import DRAWS, Measured, Totals, measured, prequential_differences, totals
from raie.engine.comparison.step_results import StepFiles, StepResult
from raie.engine.data.readers.timestamps import iso
from raie.engine.evaluation.metrics import COMPARED_METRICS, Difference, paired_difference

__all__ = ["ComparisonResult", "Cost", "MethodResult", "Origin", "RegionGain", "comparison_result"]


@dataclass(frozen=True, eq=False)
class Origin:
    """What was compared on. log: its file's name. digest: of its interactions. engine: the options that all share, as
    plain values; a seed is not among them, because every seed of the comparison takes its place.
    """

    log: str
    digest: str
    engine: Mapping[str, Any]


@dataclass(frozen=True)
class Cost:
    """Per edit, the mean over edits and seeds: seconds of one core, training samples seen, trainable parameters."""

    seconds: float
    samples_seen: float
    parameters: float


@dataclass(frozen=True)
class RegionGain:
    """One region of an edit's map: the windows of the next slice that fell into it, and the gain there over the backbone
    that is never edited, in one metric.
    """

    region: int
    windows: int
    metric: str
    gain: Difference


@dataclass(frozen=True, eq=False)
class MethodResult:
    """One method. by_seed: the same measures of every seed alone. untouched: of held-out windows in regions that an
    edit did not touch, how many there were and how many of their ranks changed; None without regions.
    regions: of the first seed. catalogue_coverage: share of the items that had come which stand in anybody's top 10, the
    mean over slices and seeds; final_coverage: on the last slice alone.
    """

    method: Method
    measured: Measured
    by_seed: tuple[Measured, ...]
    cost: Cost
    untouched: tuple[int, int] | None
    regions: tuple[RegionGain, ...]
    catalogue_coverage: float
    final_coverage: float


@dataclass(frozen=True, eq=False)
class ComparisonResult:
    """All methods in their order. reference: the name of the one that the others are compared with. choice: which of them
    a user of this log should take.
    """

    origin: Origin
    protocol: ComparisonProtocol
    seeds: tuple[int, ...]
    reference: str
    method_results: tuple[MethodResult, ...]
    choice: Choice

    @property
    def evaluated(self) -> tuple[int, int] | None:
        """How many interactions after the setup are evaluated, and how many there are; None where nobody counted them."""
        slices = getattr(self.protocol, "coverage", ())[-(self.protocol.edits + 1) :]
        if not slices:
            return None
        return sum(part.evaluated for part in slices), sum(part.interactions for part in slices)

    def to_mapping(self) -> dict[str, Any]:
        """Plain values; NaN where a measure does not exist."""
        return {
            "log": self.origin.log,
            "log_digest": self.origin.digest,
            "engine": dict(self.origin.engine),
            "seeds": list(self.seeds),
            "reference": self.reference,
            "slices": _slices(self.protocol),
            "evaluated": None
            if self.evaluated is None
            else dict(zip(("evaluated", "interactions"), self.evaluated, strict=True)),
            "choice": {"strategy": self.choice.chosen, "best": self.choice.best, "line": self.choice.line},
            "strategies": [_mapping(result) for result in self.method_results],
        }


def comparison_result(
    origin: Origin,
    protocol: ComparisonProtocol,
    methods: Sequence[Method],
    seeds: Sequence[int],
    work: Path,
    *,
    never: str,
    joint: str | None,
    reference: str,
    metric: str,
) -> ComparisonResult:
    """Read every step result and measure.

    Args:
        origin: of the log.
        protocol: of the comparison.
        methods: in the order of the tables.
        seeds: of the runs.
        work: the work folder.
        never: name of the method that is never edited.
        joint: name of joint retraining, None where it takes no part.
        reference: name of the method that others are compared with.
        metric: of the regions' gains.

    Returns:
        The result.
    """
    step_results_of = {
        method.name: [_step_results(protocol, work, method, seed) for seed in seeds] for method in methods
    }

    def sums_of(by_name: Mapping[str, Sequence[Sequence[StepResult]]]) -> dict[str, Totals]:
        return {name: totals(protocol, step_results) for name, step_results in by_name.items()}

    names: _Names = {"never": never, "joint": joint, "reference": reference}
    sums = sums_of(step_results_of)
    together = measured(sums, **names, draws=DRAWS)
    alone = [
        measured(
            sums_of({name: [of_seeds[index]] for name, of_seeds in step_results_of.items()}), **names, draws=0
        )
        for index in range(len(seeds))
    ]
    method_results = tuple(
        MethodResult(
            method,
            together[method.name],
            tuple(seed[method.name] for seed in alone),
            _cost(step_results_of[method.name]),
            _untouched(protocol, step_results_of[method.name]),
            _gains(protocol, step_results_of[method.name][0], step_results_of[never][0], metric),
            float(np.mean([step.catalogue_coverage for steps in step_results_of[method.name] for step in steps])),
            float(np.mean([steps[-1].catalogue_coverage for steps in step_results_of[method.name]])),
        )
        for method in methods
    )
    choice = _choice(method_results, sums)
    return ComparisonResult(origin, protocol, tuple(seeds), reference, method_results, choice)


class _Names(TypedDict):
    """Names of methods that others are measured against."""

    never: str
    joint: str | None
    reference: str


def _choice(method_results: Sequence[MethodResult], sums: Mapping[str, Totals]) -> Choice:
    candidates = {
        result.method.name: Candidate(
            result.measured.value[CHOICE_METRIC]["prequential"].mean, result.cost.seconds, result.cost.parameters
        )
        for result in method_results
    }
    best = max(candidates, key=lambda name: np.nan_to_num(candidates[name].score, nan=-1.0))
    return choose(candidates, prequential_differences(sums, best, CHOICE_METRIC, DRAWS), best)


def _step_results(protocol: ComparisonProtocol, work: Path, method: Method, seed: int) -> list[StepResult]:
    return [StepFiles.of(work, method, seed).read(edit) for edit in range(protocol.edits + 1)]


def _cost(step_results: Sequence[Sequence[StepResult]]) -> Cost:
    later = [step_result for of_seed in step_results for step_result in of_seed[1:]]
    return Cost(
        *(
            float(np.mean([getattr(step_result, name) for step_result in later]))
            for name in ("seconds", "samples_seen", "parameters")
        )
    )


def _untouched(
    protocol: ComparisonProtocol, step_results: Sequence[Sequence[StepResult]]
) -> tuple[int, int] | None:
    """Windows whose region was the same before and after an edit that did not touch it, and those that rank anew.

    Only windows of items that were known before the edit: others did not read the same before. An item that a region
    never recommends stands behind all items, however many there are.
    """
    if not len(step_results[0][0].regions):
        return None
    count = changed = 0
    held_out = np.flatnonzero(protocol.held_out)
    highest = np.maximum(protocol.windows.items.max(axis=1), protocol.windows.target)[held_out]
    for edit in range(1, protocol.edits + 1):
        known = protocol.items_by(edit - 1)
        here = [np.isin(protocol.scored_rows(step), held_out) for step in (edit - 1, edit)]
        for of_seed in step_results:
            before, after = of_seed[edit - 1], of_seed[edit]
            region, rank = after.regions[here[1]], after.ranks[here[1]]
            left = (before.regions[here[0]] == region) & ~np.isin(region, after.touched) & (highest <= known)
            moved = np.minimum(before.ranks[here[0]], known + 1) != np.minimum(rank, known + 1)
            count += int(left.sum())
            changed += int(moved[left].sum())
    return count, changed


def _gains(
    protocol: ComparisonProtocol, step_results: Sequence[StepResult], never: Sequence[StepResult], metric: str
) -> tuple[RegionGain, ...]:
    if not len(step_results[0].regions):
        return ()
    parts = []
    for edit in range(1, protocol.edits + 1):
        rows = protocol.scored_rows(edit)
        next_slice = protocol.slice[rows] == edit + 1
        users = protocol.windows.user[rows[next_slice]]
        parts.append(
            (
                step_results[edit].regions[next_slice],
                never[edit].ranks[next_slice],
                step_results[edit].ranks[next_slice],
                users,
            )
        )
    region, before, after, user = (np.concatenate(column) for column in zip(*parts, strict=True))
    return tuple(
        RegionGain(int(region_id), int(here.sum()), metric, difference)
        for region_id in np.unique(region)
        for here in [region == region_id]
        for difference in [paired_difference(before[here], after[here], user[here], metric=metric)]
    )


def _slices(protocol: ComparisonProtocol) -> list[dict[str, Any]]:
    return [
        {
            "slice": number,
            "until": iso(end),
            "until_epoch": end,
            "windows": int((protocol.slice == number).sum()),
            STORED["slice"]["held_out"]: int((protocol.held_out & (protocol.slice == number)).sum()),
        }
        for number, end in enumerate(protocol.ends)
    ]


def _mapping(result: MethodResult) -> dict[str, Any]:
    strategy = result.method.implementation
    return {
        "name": result.method.name,
        "strategy": result.method.strategy,
        "options": dict(result.method.options),
        "source": strategy.source,
        "replays": strategy.replays,
        "differs": strategy.differs,
        "measures": _nested(result.measured.value),
        "change": _nested(result.measured.change),
        "by_seed": [
            {
                metric: {name: difference.mean for name, difference in values.items()}
                for metric, values in seed.value.items()
            }
            for seed in result.by_seed
        ],
        "matrix": {
            metric: result.measured.matrix[number].tolist() for number, metric in enumerate(COMPARED_METRICS)
        },
        STORED["method result"]["prequential"]: {
            metric: result.measured.prequential[number].tolist() for number, metric in enumerate(COMPARED_METRICS)
        },
        "cost": to_stored("cost", asdict(result.cost)),
        "catalogue_coverage": result.catalogue_coverage,
        "final_catalogue_coverage": result.final_coverage,
        "untouched": None
        if result.untouched is None
        else dict(zip(("windows", "changed"), result.untouched, strict=True)),
        "regions": [asdict(difference) for difference in result.regions],
    }


def _nested(values: Any) -> dict[str, Any]:
    return {
        metric: {name: asdict(difference) for name, difference in by_measure.items()}
        for metric, by_measure in values.items()
    }
