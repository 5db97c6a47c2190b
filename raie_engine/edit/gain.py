"""Does an edit gain anything beyond chance? What it shows decides: NDCG@10 on windows that it was not trained on.

An edit gains where the 95 % interval of the change, by user, lies above zero on its newest windows or on those that the
setup held out, and the changes of both, in equal parts, come to more than nothing, as an adapter is chosen. The newest
windows have chosen the adapters and flatter the edit; what it may lose besides is a question for the policy of an alias.
"""

from __future__ import annotations

from typing import Final, Literal

from raie.engine.edit.impact import ImpactReport, Part

__all__ = ["ANYWAY", "DECIDING", "GAIN", "Accept", "gains", "why_not"]

Accept = Literal["gain", "anyway"]
GAIN: Final = "gain"
ANYWAY: Final = "anyway"
DECIDING = "NDCG@10"
_PARTS = {"adaptation": "new windows", "retention": "setup windows"}


def gains(report: ImpactReport) -> bool:
    """Whether an edit gains anything beyond chance.

    Args:
        report: of its candidate against its parent.

    Returns:
        Whether the interval of a change lies above zero, and no more is lost than is gained.
    """
    parts = [report.parts[part] for part in _PARTS]
    return any(_low(part) > 0 for part in parts) and sum(map(_mean, parts)) > 0


def why_not(report: ImpactReport) -> str:
    """The changes of an edit that gains nothing, in one line.

    Args:
        report: of its candidate against its parent.

    Returns:
        The line, without a full stop.
    """
    return "expected a gain beyond chance, found " + "; ".join(
        f"{DECIDING} {_change(report.parts[part])} on {report.parts[part].windows:,} {words}"
        for part, words in _PARTS.items()
    )


def _low(part: Part) -> float:
    return part.changes[DECIDING].low if part.windows else 0.0


def _mean(part: Part) -> float:
    return part.changes[DECIDING].mean if part.windows else 0.0


def _change(part: Part) -> str:
    if not part.windows:
        return "unknown"
    change = part.changes[DECIDING]
    return f"{change.mean:+.4f} (95 % {change.low:+.4f} to {change.high:+.4f})"
