"""The mixture of every region that a setup or an edit touches, fitted on its validation windows.

Weights are fitted with counts of the rows before the validation windows. What is published counts those windows' rows
too: the newest rows are what the next users will follow.
Legend: n windows, v item rows (row 0 is padding).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from raie.engine.config import EngineConfig
from raie.engine.data.interactions import Interactions, between
from raie.engine.mixture.fit import Fitted, Validated, fit_mixture
from raie.engine.mixture.log_counts import LogCounts, count_rows, summed
from raie.engine.mixture.log_parts import LogParts
from raie.engine.mixture.mixture import Mixture
from raie.engine.model import LOG_COUNTS, MIXTURE

__all__ = ["NewCounts", "RegionMixtures", "mix_regions", "new_counts"]


@dataclass(frozen=True, eq=False)
class NewCounts:
    """What a setup or an edit adds to the counts: rows up to the last one that trains, and the newer ones."""

    trained: LogCounts
    newest: LogCounts


def new_counts(
    rows: Interactions,
    after: int | None,
    train_until: int,
    items: int,
    half_life: float | None,
    counted: Interactions,
) -> NewCounts:
    """The counts of new rows.

    Args:
        rows: the log up to the end of the setup or edit, in time order.
        after: epoch seconds; rows up to then are counted already. None for a setup.
        train_until: epoch seconds; later rows validate.
        items: the last item row.
        half_life: of the trend, in rows; None for a setup, which chooses it.
        counted: `rows` without those that nobody may learn.

    Returns:
        The counts.
    """
    trained = count_rows(between(rows, None, train_until), after, items, half_life)
    return NewCounts(trained, count_rows(counted, train_until, items, trained.half_life))


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
    validated: Mapping[int, Validated],
    before: LogCounts | None,
    new: NewCounts,
    config: EngineConfig,
    seed: int,
) -> RegionMixtures:
    """Fit the mixtures of some regions.

    Args:
        validated: by region its validation windows and its model.
        before: counts of the rows that were read before; None for a setup.
        new: of the new rows.
        config: the options.
        seed: of the samples.

    Returns:
        The mixtures.
    """
    earlier = [] if before is None else [before]
    trained = summed([*earlier, new.trained])
    log = LogParts(trained, trained.items + 1)
    fitted = fit_mixture(validated, log, names=config.mixture.names, seed=seed)
    counts = summed([trained, new.newest]).to_bytes()
    return RegionMixtures(
        {region: {MIXTURE: weights.to_bytes(), LOG_COUNTS: counts} for region, weights in fitted.regions.items()},
        counts,
        fitted,
        {region: Mixture(weights, log) for region, weights in fitted.regions.items()},
    )
