"""What a report says of a snapshot against another: typed, so that a policy can ask for any metric it has.

Version 2 has `"version": 2`, and in each part `"changes": {metric: {"mean", "low", "high"}}`. Version 1, which has no
version, has one key `"<metric> change"` for each metric. A part is any object with windows or changes; what else a
report holds is for people. In version 1 what is no number was not measured: other clients wrote such reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raie.registry.errors import InvalidValue

__all__ = ["Change", "ImpactReport", "Part", "read_report"]

_OLD = " change"
_LARGEST = 1e300


@dataclass(frozen=True)
class Change:
    """How much a metric changed: the mean over users, with the ends of its interval where they are known."""

    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Part:
    """One set of windows, measured under both snapshots.

    windows: how many.  before, after: metric -> value.  changes: metric -> its change.
    """

    windows: int
    before: Mapping[str, float]
    after: Mapping[str, float]
    changes: Mapping[str, Change]


@dataclass(frozen=True)
class ImpactReport:
    """A report of version 1 or 2.

    parts: name, such as "retention", "adaptation" and "adaptation_known" -> what was measured.  untouched: the regions
    that it says were left as they were; None where it does not say.
    """

    version: int
    parts: Mapping[str, Part]
    untouched: tuple[int, ...] | None = None

    def change(self, part: str, metric: str) -> Change | None:
        """The change of a metric on one part; None where it was not measured."""
        measured = self.parts.get(part)
        return None if measured is None else measured.changes.get(metric)


def read_report(value: Any) -> ImpactReport:
    """The report of a JSON object.

    Args:
        value: as `json.loads` gives it; of version 1 or 2.

    Returns:
        The report; a part that is not in it was not measured.

    Raises:
        InvalidValue: for anything but an object of a known version, and for a version 2 whose numbers are none.
    """
    if not isinstance(value, Mapping):
        raise InvalidValue(
            f"Expected an impact report as a JSON object, found {type(value).__name__}; measure again"
        )
    version = value.get("version", 1)
    if type(version) is not int or version not in (1, 2):
        raise InvalidValue(
            f"Expected an impact report of version 1 or 2, found version {version!r:.40}; upgrade raie or measure again"
        )
    read = _changes_v2 if version == 2 else _changes_v1
    parts = {name: _part(part, read(name, part)) for name, part in value.items() if _is_part(part)}
    return ImpactReport(version, parts, _untouched(value.get("untouched")))


def _is_part(value: Any) -> bool:
    return isinstance(value, Mapping) and (
        "windows" in value or "changes" in value or any(str(key).endswith(_OLD) for key in value)
    )


def _part(value: Mapping[str, Any], changes: dict[str, Change]) -> Part:
    windows = value.get("windows")
    return Part(
        windows if type(windows) is int else 0, _numbers(value, "before"), _numbers(value, "after"), changes
    )


def _changes_v1(_name: str, part: Mapping[str, Any]) -> dict[str, Change]:
    read = {key.removesuffix(_OLD): _change(value) for key, value in part.items() if key.endswith(_OLD)}
    return {metric: change for metric, change in read.items() if change is not None}


def _changes_v2(name: str, part: Mapping[str, Any]) -> dict[str, Change]:
    changes = part.get("changes", {})
    read = (
        {metric: _change(value) for metric, value in changes.items()}
        if isinstance(changes, Mapping)
        else {"": None}
    )
    for metric, change in read.items():
        if change is None:
            raise InvalidValue(
                f"Expected an impact report of version 2 with {{mean, low, high}} for each metric of {name!r:.40}, found "
                f"none for {metric!r:.40}; measure again"
            )
    return {metric: change for metric, change in read.items() if change is not None}


def _change(value: Any) -> Change | None:
    mean, low, high = (
        _number(value.get(key)) if isinstance(value, Mapping) else None for key in ("mean", "low", "high")
    )
    return None if mean is None else Change(mean, low, high)


def _numbers(part: Mapping[str, Any], key: str) -> dict[str, float]:
    values = part.get(key)
    read = {name: _number(value) for name, value in values.items()} if isinstance(values, Mapping) else {}
    return {name: value for name, value in read.items() if value is not None}


def _number(value: Any) -> float | None:
    # A comparison and not isfinite: that cannot take a whole number of hundreds of digits.
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST
    return float(value) if is_number else None


def _untouched(value: Any) -> tuple[int, ...] | None:
    return tuple(region for region in value if type(region) is int) if isinstance(value, list) else None
