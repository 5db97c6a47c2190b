"""Every error the engine raises on purpose.

EngineError
├── InputError            the interaction log cannot be used as it is
│   └── UnknownItem       an item id that the catalogue does not hold
├── ConfigError           a configuration that is unknown, contradictory or can never act
├── WrongBackbone         an adapter, space or snapshot of another backbone
├── DamagedArtifact       bytes that do not parse as what they should be
├── NotFinite             NaN or infinity where numbers were expected
├── NothingToEdit         the log holds no window after the watermark
└── WorkerLost            a training process died

A message says what was expected, what was found and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "ConfigError",
    "DamagedArtifact",
    "EngineError",
    "GainedNothing",
    "InputError",
    "NotFinite",
    "NothingToEdit",
    "UnknownItem",
    "WorkerLost",
    "WrongBackbone",
]


class EngineError(Exception):
    """The root of the engine's errors; its text is meant to be shown to a user as it is."""


class InputError(EngineError):
    """The interaction log cannot be used as it is."""


class UnknownItem(InputError):
    """An external item id that the catalogue does not hold."""


class ConfigError(EngineError):
    """A configuration key or value that is unknown, contradictory or can never act.

    asked: a key that is unknown, "" where none is.  known: the keys that there are -> what to type for each.
    """

    def __init__(self, message: str, asked: str = "", known: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.asked = asked
        self.known = dict(known or {})


class WrongBackbone(EngineError):
    """An adapter, routing space or snapshot that belongs to another backbone."""


class DamagedArtifact(EngineError):
    """Bytes that do not parse as the artifact they should be."""


class NotFinite(EngineError):
    """NaN or infinity where finite numbers were expected."""


class NothingToEdit(EngineError):
    """The log holds no new window after the snapshot's watermark."""


class GainedNothing(NothingToEdit):
    """A trained edit that gains nothing beyond chance, and was closed without a result.

    Attributes:
        number: The edit's.
        report: What it would have changed, as plain values.
    """

    def __init__(self, message: str, number: int, report: dict[str, object]) -> None:
        super().__init__(message)
        self.number = number
        self.report = report


class WorkerLost(EngineError):
    """A training process died before it gave its result; what others gave is kept."""
