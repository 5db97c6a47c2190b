"""The mixture of every region that a setup or an edit touches, fitted on its validation windows.

Weights are fitted with counts of the rows before the validation windows. What is published counts those windows' rows
too: the newest rows are what the next users will follow. Validation windows come right after the rows that trained, and
the next users do not: an edit's weights are fitted on its new windows too, as the snapshot before it had to answer them.
Regions of the item space count by themselves too.
Legend: n windows, v item rows (row 0 is padding).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from raie.engine.config import EngineConfig
from raie.engine.data.interactions import Interactions, between
from raie.engine.data.windows import Windows
from raie.engine.edit.region_rows import RouteRows
from raie.engine.mixture.fit import Fitted, Validated, fit_mixture
from raie.engine.mixture.log_counts import LogCounts, count_rows, summed
from raie.engine.mixture.log_parts import LogParts
from raie.engine.mixture.mixture import Mixture
from raie.engine.mixture.region_counts import RegionCounts, count_regions, region_counts_summed
from raie.engine.mixture.region_parts import parts_of
from raie.engine.model import LOG_COUNTS, MIXTURE, REGION_COUNTS

__all__ = ["NewCounts", "RegionMixtures", "mix_regions", "new_counts"]


@dataclass(frozen=True, eq=False)
class NewCounts:
    """What a setup or an edit adds to the counts: rows up to the last one that trains, and the newer ones; of the whole
    log, and by region where regions count by themselves.
    """

    trained: LogCounts
    newest: LogCounts
    trained_regions: Mapping[int, RegionCounts] = field(default_factory=dict)
    newest_regions: Mapping[int, RegionCounts] = field(default_factory=dict)


def new_counts(
    rows: Interactions,
    after: int | None,
    train_until: int,
    items: int,
    half_life: float | None,
    counted: Interactions,
    route: RouteRows | None = None,
    trained: LogCounts | None = None,
) -> NewCounts:
    """The counts of new rows.

    Args:
        rows: the log up to the end of the setup or edit, in time order.
        after: epoch seconds; rows up to then are counted already. None for a setup.
        train_until: epoch seconds; later rows validate.
        items: the last item row.
        half_life: of the trend, in rows; None for a setup, which chooses it.
        counted: `rows` without those that nobody may learn.
        route: says which region a row is of; None where regions do not count by themselves.
        trained: the counts of the rows that train, where they are known already.

    Returns:
        The counts.
    """
    training = between(rows, None, train_until)
    trained = trained or count_rows(training, after, items, half_life)
    newest = count_rows(counted, train_until, items, trained.half_life)
    if route is None:
        return NewCounts(trained, newest)
    return NewCounts(
        trained,
        newest,
        count_regions(route(training, after), trained.half_life),
        count_regions(route(counted, train_until), trained.half_life),
    )


Asked = tuple[Windows, Callable[[Windows], Tensor]]
"""Validation windows of a region, and the model that serves them."""


@dataclass(frozen=True, eq=False)
class RegionMixtures:
    """blobs: of every region's entry, by role. counts: of all rows, for the next edit. fitted: the weights. measured: by
    region the mixture over the rows before the validation windows, by which they can be asked fairly.
    """

    blobs: Mapping[int, Mapping[str, bytes]]
    counts: bytes
    fitted: Fitted
    measured: Mapping[int, Mixture]


def mix_regions(
    validated: Mapping[int, Asked],
    before: LogCounts | None,
    new: NewCounts,
    config: EngineConfig,
    seed: int,
    own: Mapping[int, RegionCounts | None] | None = None,
    answered: Mapping[int, Validated] | None = None,
) -> RegionMixtures:
    """Fit the mixtures of some regions.

    Args:
        validated: by region its validation windows and its model.
        before: counts of the rows that were read before; None for a setup.
        new: of the new rows.
        config: the options.
        seed: of the samples.
        own: by region its counts of the rows that were read before, where it has some.
        answered: by region windows of the edit, with the model and the counts of the snapshot before it.

    Returns:
        The mixtures.
    """
    earlier = [] if before is None else [before]
    trained = summed([*earlier, new.trained])
    everything = summed([trained, new.newest])
    log, counts = LogParts(trained, trained.items + 1), everything.to_bytes()
    mine = _region_counts(validated, own or {}, new.trained_regions, trained) if config.counts_by_region else {}
    parts = {region: parts_of(mine.get(region), log) for region in validated}
    asked = {region: [Validated(windows, score, parts[region])] for region, (windows, score) in validated.items()}
    for region, before_edit in (answered or {}).items():
        asked.setdefault(region, []).append(before_edit)
    fitted = fit_mixture(asked, log.v - 1, names=config.parts, seed=seed)
    published = _region_counts(mine, mine, new.newest_regions, everything)
    return RegionMixtures(
        {
            region: {MIXTURE: weights.to_bytes(), LOG_COUNTS: counts}
            | ({REGION_COUNTS: published[region].to_bytes()} if region in published else {})
            for region, weights in fitted.regions.items()
            if region in validated
        },
        counts,
        fitted,
        {region: Mixture(weights, parts[region]) for region, weights in fitted.regions.items() if region in parts},
    )


def _region_counts(
    regions: Iterable[int],
    older: Mapping[int, RegionCounts | None],
    newer: Mapping[int, RegionCounts],
    log: LogCounts,
) -> dict[int, RegionCounts]:
    """The counts of these regions with those of newer rows; log: the counts of all rows, the newer ones included."""
    return {
        region: region_counts_summed(older.get(region), newer.get(region), log.rows, log.half_life)
        for region in regions
    }
