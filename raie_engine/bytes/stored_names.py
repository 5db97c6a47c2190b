"""Names in stored bytes and JSON that differ from the names in the code.

Stored names never change, so that every snapshot, checkpoint and report of an earlier version reads as before. This is
the only place that knows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["STORED", "from_stored", "to_stored"]

STORED: Mapping[str, Mapping[str, str]] = {
    "adapter": {"item_ids": "touched", "item_lora_a": "a", "item_lora_b": "b", "vocab_size": "visible"},
    "adapter parameters": {"item_lora_a": "item.a", "item_lora_b": "item.b", "bias": "item.bias"},
    "cost": {"samples_seen": "passes"},
    "drift report": {"false_positive_rate": "false_alarms"},
    "impact report": {"pending": "waiting", "samples_seen": "passes"},
    "method result": {"prequential": "ahead"},
    "prepared edit": {"train_until": "judged_after"},
    "region facts": {"samples_seen": "passes"},
    "slice": {"held_out": "judging"},
    "step result": {"samples_seen": "passes"},
    "strategy state": {"item transition counts": "what followed what"},
    "trained region": {"samples_seen": "passes"},
}
"""By value: the name in the code -> the stored name. A name that is not listed is stored as it is."""


def to_stored(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values under their stored names.

    Args:
        kind: a key of STORED.
        values: by the names of the code.

    Returns:
        The same values in the same order.
    """
    return {STORED[kind].get(name, name): value for name, value in values.items()}


def from_stored(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `to_stored`.

    Args:
        kind: a key of STORED.
        values: by stored names.

    Returns:
        The same values in the same order, by the names of the code.
    """
    names = {stored: name for name, stored in STORED[kind].items()}
    return {names.get(name, name): value for name, value in values.items()}
