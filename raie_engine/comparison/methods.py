"""The methods of a comparison: each a strategy with the engine options in which it differs from the others."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raie.engine.config import EngineConfig, from_mapping, to_mapping
from raie.engine.errors import ConfigError
from raie.engine.strategies import STRATEGIES, Strategy, strategy_named

__all__ = ["ABLATIONS", "Method", "parse_methods"]

_ALL_KEPT = "edit.max_replay=1000000"  # or each number of regions would count in as many more old windows

ABLATIONS: Mapping[str, str] = {
    "without regions": f"raie[regions.regions=1,gate.policy=nearest,edit.shared_epochs=5,{_ALL_KEPT}]",
    "without routing gate": "raie[gate.policy=nearest]",
    "without replay": "raie[edit.replay_ratio=0,edit.shared_epochs=6,edit.epochs=4,edit.patience=4]",
    "without item rows": "raie[adapter.item_rank=0]",
    "without counts": "raie[mixture.parts=model]",
    "without shared delta": "raie[edit.shared_epochs=0,edit.epochs=5,edit.learning_rate=0.001]",
    "that keeps all windows": f"raie[{_ALL_KEPT}]",
    **{f"K = {k}": f"raie[regions.regions={k},{_ALL_KEPT}]" for k in (2, 4, 8, 16)},
}
"""RAIE with one part taken out, and with other numbers of regions, by the name that tables show.

Each sees as many training samples: without replay the new windows are seen twice, without regions or without the shared
adapter all are at the shared adapter's rate. Compare other numbers of regions with RAIE that keeps all windows.
"""

_SECTIONS = ("regions", "gate", "adapter", "edit", "mixture")
_SHARED = ("edit.holdout",)  # it decides which windows evaluate


@dataclass(frozen=True)
class Method:
    """name: as tables show it, once. strategy: its key. options: (dotted option, value) that differ from the others'."""

    name: str
    strategy: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def implementation(self) -> Strategy:
        """The strategy itself."""
        strategy = strategy_named(self.strategy)
        assert strategy is not None, "every method has a known strategy"
        return strategy

    @property
    def replays(self) -> bool:
        """Whether it trains on past windows too."""
        return self.implementation.replays and dict(self.options).get("edit.replay_ratio") != 0

    @property
    def folder_name(self) -> str:
        """A folder name that no other method has."""
        if not self.options:
            return self.strategy
        text = json.dumps(self.options, sort_keys=True, separators=(",", ":"))
        return f"{self.strategy}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def configured(self, config: EngineConfig) -> EngineConfig:
        """The comparison's configuration with this method's options.

        Args:
            config: the comparison's.

        Returns:
            The method's configuration.

        Raises:
            ConfigError: for options that are unknown or contradict each other.
        """
        values = to_mapping(config)
        for name, value in self.options:
            section, _, option = name.partition(".")
            values[section] = {**values[section], option: value}
        made: EngineConfig = from_mapping(values)
        return made


def parse_methods(asked: Sequence[str], *, ablations: bool = False) -> tuple[Method, ...]:
    """The methods that were asked for, each once, in their order.

    Args:
        asked: names, such as "raie", "replay+counts" or "raie[gate.policy=paper,edit.replay_ratio=0.5]"; "all" is
            every strategy.
        ablations: whether RAIE with one part taken out takes part too.

    Returns:
        The methods.

    Raises:
        ConfigError: for an unknown strategy, or an option that must be the same for all.
    """
    texts = [text for name in asked for text in (STRATEGIES if name == "all" else [name])]
    methods = [_parse_method(text) for text in texts]
    if ablations:
        methods += [_parse_method(text, f"RAIE {name}") for name, text in ABLATIONS.items()]
    by_folder: dict[str, Method] = {}
    for method in methods:
        by_folder.setdefault(method.folder_name, method)
    return tuple(by_folder.values())


def _parse_method(text: str, name: str | None = None) -> Method:
    match = re.fullmatch(r"\s*([\w+-]+)\s*(?:\[(.*)\])?\s*", text)
    strategy = strategy_named(match[1]) if match else None
    if not match or strategy is None:
        raise ConfigError(
            f"expected strategies among {', '.join(STRATEGIES)}, one that trains with counts beside it as replay+counts, "
            f"or one with options as raie[gate.policy=paper], found {text!r}"
        )
    key, given = match[1], [_option(part) for part in (match[2] or "").split(",") if part.strip()]
    options = tuple(sorted(dict(given).items()))
    if len(options) < len(given):
        raise ConfigError(
            f"expected every option of {key} once, found one twice in {text!r}; leave one of them out"
        )
    listed = ", ".join(f"{option}={value}" for option, value in options)
    shown = f"{strategy.name} [{listed}]" if options else strategy.name
    made = Method(name or shown, key, options)
    made.configured(EngineConfig())  # an unknown option fails now, not in the middle of a night's run
    return made


def _option(text: str) -> tuple[str, Any]:
    name, _, value = (part.strip() for part in text.partition("="))
    if name.partition(".")[0] not in _SECTIONS or name in _SHARED or not value:
        raise ConfigError(
            f"expected an option of {', '.join(_SECTIONS)} with a value, as gate.policy=paper, found {text!r}; "
            "windows, backbone and edit.holdout are the same for all that are compared"
        )
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name, value  # a bare word is text
