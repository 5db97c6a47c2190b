"""What a user may choose about the engine: frozen dataclasses, read from and written to plain mappings (TOML).

Unknown keys are errors, so that a misspelt option never passes silently. The configuration a snapshot was set
up with is stored beside it, and every later edit reads it from there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from raie.engine.errors import ConfigError

__all__ = [
    "ALL_PARTS",
    "MIXTURE_PARTS",
    "REGION_PARTS",
    "AdapterConfig",
    "BackboneConfig",
    "EditConfig",
    "EngineConfig",
    "GateConfig",
    "MixtureConfig",
    "RegionConfig",
    "WindowConfig",
    "from_mapping",
    "to_mapping",
]

LENGTHS = (10, 20, 50)
"""What setup chooses windows.length from."""
PAPER_LENGTH = 10
MIXTURE_PARTS = ("model", "last", "short", "wide", "trend", "popularity")
REGION_PARTS = ("region_popularity", "region_short")
"""Parts that a region counts by itself; regions of the item space alone have them."""
ALL_PARTS = (*MIXTURE_PARTS, *REGION_PARTS)
BACKBONES = ("sasrec", "esasrec", "hstu", "bert4rec", "tisasrec", "causal_lm", "file")


@dataclass(frozen=True)
class WindowConfig:
    """How a user's history is cut into windows.

    length: context items per window; 0 lets setup choose it by the lengths of the histories (`window_length.py`).
    stride: the most targets of a training window; with "slice", items between the starts of two windows of one user. 0 is
        half of the length, rounded up.
    min_length: fewest items before a target. With "slice" it is the shortest context that still makes a window; equal
        to length, only full windows count.
    context: "history": every interaction is a target once, and its context reaches back before the watermark. "slice"
        slides windows inside the new rows alone (as the paper). Settings stored before "history" had this meaning hold
        "overlap": windows slide over the whole log.
    times: windows hold the times of their items; setup switches it on for a backbone that reads them.
    """

    length: int = 0
    stride: int = 0
    min_length: int = 1
    context: str = "history"
    times: bool = False

    def __post_init__(self) -> None:
        if self.context not in ("history", "slice", "overlap"):
            raise ConfigError(f'windows.context must be "history" or "slice", found {self.context!r}')
        if min(self.length, self.stride) < 0:
            raise ConfigError(
                "windows.length and windows.stride must be at least 1, or 0 to let setup choose, "
                f"found {self.length} and {self.stride}"
            )
        if not self.length and self.context != "history":
            object.__setattr__(self, "length", PAPER_LENGTH)
        if self.length and not self.stride:
            object.__setattr__(self, "stride", (self.length + 1) // 2)
        longest = self.length or max(LENGTHS)
        if not 1 <= self.min_length <= longest:
            raise ConfigError(f"windows.min_length must lie in [1, length={longest}], found {self.min_length}")
        if self.context == "history" and self.stride > longest:
            raise ConfigError(
                f"windows.stride must be at most windows.length = {longest}, found {self.stride}: an item without an "
                "item before it is no target"
            )


@dataclass(frozen=True)
class BackboneConfig:
    """The frozen next-item model and how it is trained.

    kind: "sasrec", "esasrec", "hstu", "bert4rec", "tisasrec", "causal_lm", or "file" for one of your own.
    dim: hidden size d.  layers, heads: of the transformer.  dropout: while the backbone trains. A causal_lm brings its
        own.
    batch: windows of a step, on average; every step has as many targets.
    negatives: items drawn beside the targets of a step, where the catalogue holds full_softmax_below items or more.
    epochs: upper limit; training stops after `patience` epochs without a better validation NDCG@10.
    mask_share: share of the places that may be masked that are (bert4rec).
    intervals: classes of time between two items (tisasrec).
    path: folder of the language model (causal_lm), or your Python file (file).
    prompt: text in front of every window (causal_lm).
    title_tokens: most tokens of an item's title, where the log has titles (causal_lm).
    freeze_decoder: the item rows alone train at setup (causal_lm).
    """

    kind: str = "sasrec"
    dim: int = 64
    layers: int = 2
    heads: int = 2
    dropout: float = 0.2
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    epochs: int = 200
    patience: int = 3
    full_softmax_below: int = 10_000
    negatives: int = 2_048
    mask_share: float = 0.2
    intervals: int = 64
    path: str = ""
    prompt: str = ""
    title_tokens: int = 8
    freeze_decoder: bool = False

    def __post_init__(self) -> None:
        if self.kind not in BACKBONES:
            raise ConfigError(f"backbone.kind must be one of {', '.join(BACKBONES)}, found {self.kind!r}")
        if bool(self.path) != (self.kind in ("causal_lm", "file")):
            raise ConfigError(
                'backbone.path must name a model folder (kind "causal_lm") or a Python file (kind "file"), and be empty '
                f"for every other kind; found kind {self.kind!r} with path {self.path!r}"
            )
        if min(self.dim, self.layers, self.heads, self.batch, self.negatives) < 1:
            raise ConfigError(
                "backbone.dim, layers, heads, batch and negatives must be at least 1, "
                f"found {self.dim}, {self.layers}, {self.heads}, {self.batch} and {self.negatives}"
            )
        if min(self.epochs, self.patience) < 0:
            raise ConfigError(
                "backbone.epochs and backbone.patience must be at least 0, "
                f"found {self.epochs} and {self.patience}"
            )
        if self.learning_rate <= 0 or self.weight_decay < 0:
            raise ConfigError(
                "backbone.learning_rate must be above 0 and backbone.weight_decay at least 0, "
                f"found {self.learning_rate} and {self.weight_decay}"
            )
        if self.dim % self.heads:
            raise ConfigError(f"backbone.dim = {self.dim} must be a multiple of backbone.heads = {self.heads}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"backbone.dropout must lie in [0, 1), found {self.dropout}")
        if not 0 < self.mask_share <= 1 or self.intervals < 2 or self.title_tokens < 0:
            raise ConfigError(
                "backbone.mask_share must lie in (0, 1], backbone.intervals be at least 2 and backbone.title_tokens at "
                f"least 0, found {self.mask_share}, {self.intervals} and {self.title_tokens}"
            )


@dataclass(frozen=True)
class RegionConfig:
    """How setup windows become regions.

    space: where windows are compared: "states", by what the backbone makes of them, or "items", by which items users take
        together.
    regions: K; 0 lets the recorded criterion choose between 2 and max_regions; of "items" it takes one for every
        rows_per_region rows of the setup, at least 2 and at most max_regions.
    min_share: smallest share of the windows a region may hold when another K avoids it ("states").
    quantile: q, the share of a region's setup windows inside its radius R_k (the paper: 0.9).
    max_quantile: the share inside R_max; a window farther out belongs nowhere (radius and posterior gates).
    slack: R_max is slack times R_k where that is larger and stays on this side of the nearest other region.
    remove_components: principal components taken out of the space of "states".
    """

    space: str = "states"
    regions: int = 0
    max_regions: int = 8
    rows_per_region: int = 2000
    min_share: float = 0.02
    quantile: float = 0.9
    max_quantile: float = 0.99
    slack: float = 1.1
    remove_components: int = 0
    restarts: int = 5
    points_per_centre: int = 1600

    def __post_init__(self) -> None:
        if self.space not in ("items", "states"):
            raise ConfigError(f'regions.space must be "items" or "states", found {self.space!r}')
        if self.regions < 0 or (self.regions == 0 and self.max_regions < 2):
            raise ConfigError(
                "regions.regions must be at least 0, and 0 needs regions.max_regions of at least 2; "
                f"found {self.regions} and {self.max_regions}"
            )
        if not 0 < self.quantile < 1 or not 0 < self.max_quantile <= 1:
            raise ConfigError(
                "regions.quantile must lie in (0, 1) and regions.max_quantile in (0, 1], "
                f"found {self.quantile} and {self.max_quantile}"
            )
        if self.max_quantile <= self.quantile:
            # R_max would equal R_k, so no window could ever be an Expand.
            raise ConfigError(
                f"regions.max_quantile = {self.max_quantile} makes Expand impossible: "
                f"it must be above regions.quantile = {self.quantile}"
            )
        if self.slack < 1 or not 0 <= self.min_share < 0.5:
            raise ConfigError(
                "regions.slack must be at least 1 and regions.min_share in [0, 0.5), "
                f"found {self.slack} and {self.min_share}"
            )
        if min(self.restarts, self.points_per_centre, self.rows_per_region) < 1 or self.remove_components < 0:
            raise ConfigError(
                "regions.restarts, regions.points_per_centre and regions.rows_per_region must be at least 1 and "
                "regions.remove_components at least 0"
            )


@dataclass(frozen=True)
class GateConfig:
    """Which gate decides Update, Expand or Add, its thresholds, and how an edit acts on the decisions.

    policy: "radius", "paper" or "posterior"; "nearest" decides nothing: every window updates its nearest region.
    temperature: tau of equation 3.  high: T, the least p* that is not Add (paper gate).
    margin: delta_min of equation 4 (paper and posterior gates).
    movement: rate of the moving averages of equations 5 and 6.
    prior_strength: n0; a region that n windows reached moves at the rate movement * n / (n + n0).
    min_windows: fewest windows that touch a region; with fewer the region stays exactly as it is.
    expand_share: a region expands when more than this share of its windows are Expand, beyond what chance makes of it,
        else it updates; 0.09 is the share that max_quantile - quantile leaves there at setup (radius gate).
    buffer: windows the Add buffer must hold before new regions are proposed.
    min_region: smallest new region, in windows.  max_added: most regions one edit adds.
    """

    policy: str = "radius"
    temperature: float = 0.05
    high: float = 0.5
    margin: float = 0.05
    movement: float = 0.2
    prior_strength: float = 5.0
    min_windows: int = 20
    expand_share: float = 0.09
    buffer: int = 200
    min_region: int = 50
    max_added: int = 4

    def __post_init__(self) -> None:
        if self.policy not in ("radius", "paper", "posterior", "nearest"):
            raise ConfigError(
                f'gate.policy must be "radius", "paper", "posterior" or "nearest", found {self.policy!r}'
            )
        if self.policy == "paper" and self.high >= (1 + self.margin) / 2:
            # p* >= T forces delta >= 2T - 1, so no window could ever be an Expand.
            raise ConfigError(
                f"gate.high = {self.high} with gate.margin = {self.margin} makes Expand impossible: "
                f"high must be below (1 + margin) / 2 = {(1 + self.margin) / 2:g}"
            )
        for name, low, high in (("high", 0, 1), ("margin", 0, 1), ("movement", 0, 1), ("expand_share", 0, 1)):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"gate.{name} must lie in [{low}, {high}], found {getattr(self, name)}")
        if self.temperature <= 0 or self.prior_strength < 0:
            raise ConfigError(
                "gate.temperature must be above 0 and gate.prior_strength at least 0, "
                f"found {self.temperature} and {self.prior_strength}"
            )
        if min(self.min_windows, self.min_region, self.buffer, self.max_added) < 1:
            raise ConfigError(
                "gate.min_windows, gate.min_region, gate.buffer and gate.max_added must "
                f"be at least 1, found {self.min_windows}, {self.min_region}, {self.buffer} and {self.max_added}"
            )
        if self.buffer < self.min_region:
            raise ConfigError(
                f"gate.buffer = {self.buffer} cannot hold a new region of {self.min_region} windows "
                "(gate.min_region)"
            )


@dataclass(frozen=True)
class AdapterConfig:
    """Size of a region's adapter.

    rank, alpha: of the LoRA. item_rank: of its item rows; 0 leaves them out. transition_weight: of the item
    transition counts in a score, beside the adapter; 0 counts nothing. They are there where mixture.parts is empty.
    """

    rank: int = 8
    alpha: int = 16
    item_rank: int = 64
    transition_weight: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.transition_weight < math.inf:
            raise ConfigError(f"adapter.transition_weight must be at least 0, found {self.transition_weight}")
        if min(self.rank, self.alpha) < 1 or self.item_rank < 0:
            raise ConfigError(
                "adapter.rank and adapter.alpha must be at least 1 and adapter.item_rank at least 0, "
                f"found {self.rank}, {self.alpha} and {self.item_rank}"
            )


@dataclass(frozen=True)
class EditConfig:
    """How an edit trains.

    First one adapter trains on the windows of all touched regions, shared_epochs at shared_learning_rate; then each
    region continues from it, or from its own, for epochs at learning_rate; one that is touched alone has had the first
    to itself and does not. patience: epochs without gain before either stops.
    replay_ratio: replayed windows per new window (the paper: 0.7).
    max_replay: windows a region keeps, to replay and to count in.
    holdout: share of the newest windows, of the setup and of every edit, that are kept for validation.
    max_validation: the most of them that validate, and at setup the most that are held out; a random sample of more. 0
        takes all.
    """

    shared_epochs: int = 3
    shared_learning_rate: float = 1e-3
    epochs: int = 2
    learning_rate: float = 3e-4
    batch: int = 64
    patience: int = 2
    replay_ratio: float = 1.0
    max_replay: int = 50_000
    holdout: float = 0.1
    max_validation: int = 5_000

    def __post_init__(self) -> None:
        if not 0 < self.holdout < 1:
            raise ConfigError(f"edit.holdout must lie in (0, 1), found {self.holdout}")
        if (
            min(self.shared_learning_rate, self.learning_rate) <= 0
            or min(self.patience, self.max_replay, self.max_validation) < 0
        ):
            raise ConfigError(
                "edit.shared_learning_rate and edit.learning_rate must be above 0, edit.patience, edit.max_replay and "
                f"edit.max_validation at least 0, found {self.shared_learning_rate}, {self.learning_rate}, "
                f"{self.patience}, {self.max_replay} and {self.max_validation}"
            )
        if min(self.shared_epochs, self.epochs) < 0 or self.batch < 1 or self.replay_ratio < 0:
            raise ConfigError(
                "edit.shared_epochs, edit.epochs and edit.replay_ratio must be at least 0 and edit.batch at least 1"
            )


@dataclass(frozen=True)
class MixtureConfig:
    """What scores are made of, beside the model that an edit trains.

    parts: names with commas between them, of "model", "last", "short", "wide", "trend", "popularity", "region_popularity"
    and "region_short"; "all" is every one. The last two are counts of a region's own, for regions.space = "items".
    Validation windows say how much each counts. "" leaves the model alone, with the transition counts of its adapter, and
    leaves out the items of a context.
    """

    parts: str = "all"

    def __post_init__(self) -> None:
        unknown = sorted(set(self.names) - set(ALL_PARTS))
        if unknown:
            raise ConfigError(
                f"mixture.parts must name some of {', '.join(ALL_PARTS)}, or be all or empty, found {unknown[0]!r}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The parts, each once, in their order."""
        asked = {name.strip() for name in self.parts.split(",")} - {""}
        return (
            ALL_PARTS
            if asked == {"all"}
            else (*(n for n in ALL_PARTS if n in asked), *sorted(asked - set(ALL_PARTS)))
        )


@dataclass(frozen=True)
class EngineConfig:
    """All options of the engine, and the seed of everything random."""

    seed: int = 42
    windows: WindowConfig = field(default_factory=WindowConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    regions: RegionConfig = field(default_factory=RegionConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    edit: EditConfig = field(default_factory=EditConfig)
    mixture: MixtureConfig = field(default_factory=MixtureConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"seed must lie in [0, 2**32), found {self.seed}")

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of a mixture; a region counts by itself where routing asks items alone."""
        return self.allowed(self.mixture.names)

    @property
    def counts_by_region(self) -> bool:
        """Whether each region counts its own rows."""
        return bool(set(REGION_PARTS) & set(self.parts))

    def allowed(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of some parts that there are in this space.

        Args:
            names: of ALL_PARTS.

        Returns:
            The names.
        """
        return tuple(name for name in names if self.regions.space == "items" or name not in REGION_PARTS)


def from_mapping(values: Mapping[str, Any], kind: type[Any] = EngineConfig, path: str = "") -> Any:
    """Build a configuration of `kind` from nested plain values.

    Args:
        values: nested plain values.
        kind: the class to build.
        path: prefix of the option names, for messages.

    Returns:
        An instance of `kind`.

    Raises:
        ConfigError: for an unknown key or a value of the wrong type, naming both and what is known.
    """
    hints = get_type_hints(kind)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        known = {name: path + name for name in sorted(hints)}
        raise ConfigError(
            f"unknown option {path + unknown[0]!r}; known here: {', '.join(sorted(hints))}",
            unknown[0],
            known,
        )
    return kind(**{name: _coerce(value, hints[name], path + name) for name, value in values.items()})


def _coerce(value: Any, kind: type[Any], path: str) -> Any:
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise ConfigError(f"option {path!r} must be a table, found {value!r}")
        return from_mapping(value, kind, path + ".")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):  # TOML can write nan and inf; no option means them
        raise ConfigError(f"option {path!r} must be a finite number, found {value}")
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ConfigError(f"option {path!r} must be {kind.__name__}, found {value!r}")
    return value


def to_mapping(config: EngineConfig) -> dict[str, Any]:
    """The configuration as nested plain values; `from_mapping` gives it back.

    Args:
        config: the options.

    Returns:
        Nested plain values.
    """
    return dataclasses.asdict(config)
