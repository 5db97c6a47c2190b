"""Options of the engine in raie.toml beside those that the model pinned at setup, which count.

A model's options are pinned at setup: other ones would be another model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raie.engine.config import EngineConfig, from_mapping, to_mapping
from raie.lines import leaves

__all__ = ["contradictions"]

_CHOSEN = ("windows.length", "windows.stride")  # 0 lets setup choose, so whatever it chose is no contradiction
_PLACES = ("backbone.path",)  # where a file lies differs from one machine to the next


def contradictions(table: Mapping[str, Any], engine: EngineConfig) -> tuple[str, ...]:
    """The options of raie.toml that differ from those pinned at setup.

    Args:
        table: The [engine] table.
        engine: What the model was set up with.

    Returns:
        One line per option.

    Raises:
        ConfigError: An option of the table is unknown or of the wrong type.
    """
    said, counts = dict(leaves(to_mapping(from_mapping(dict(table))))), dict(leaves(to_mapping(engine)))
    named = [name for name, _ in leaves(table) if name not in _PLACES]
    return tuple(
        f"raie.toml has engine.{name} = {_toml(said[name])}, but this model was set up with {_toml(counts[name])}, "
        "which counts"
        for name in named
        if said[name] != counts[name] and (said[name] or name not in _CHOSEN)
    )


def _toml(value: Any) -> str:
    return (
        str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)
    )
