"""The model card of a snapshot in CycloneDX's layout, from what the registry knows; nothing is made up.

Source: CycloneDX 1.6, `modelCard`. Numbers are text there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from raie.proofs.data_used import DataOfEdit
from raie.registry import Edit, InvalidValue, Snapshot
from raie.registry.canonical import parse_json
from raie.registry.promotion.impact_report import Change, ImpactReport, read_report
from raie.registry.times import utc_text

__all__ = ["data_ref", "model_card", "performance_metrics"]

_METRIC = "Recall@10"
_SLICES = {
    "retention": "held-out setup windows",
    "adaptation": "new windows",
    "adaptation_known": "new windows of known items",
}
"""Part of an edit's report -> the windows that it is measured on."""


def data_ref(number: int) -> str:
    """How the bill of materials names the data of an edit."""
    return f"data/edit-{number}"


def model_card(snapshot: Snapshot, edit: Edit, setup: Edit, data: Iterable[DataOfEdit]) -> dict[str, Any]:
    """The model card of a snapshot.

    Args:
        snapshot: That is described.
        edit: That made it.
        setup: The first edit of its history.
        data: That it learned from.

    Returns:
        A JSON object.
    """
    used = tuple(data)
    regions = len(snapshot.content.regions)
    parameters: dict[str, Any] = {
        "approach": {"type": "self-supervised"},
        "task": "next-item recommendation",
        "modelArchitecture": f"frozen backbone, {regions} preference regions with a LoRA adapter each",
        "datasets": [{"ref": data_ref(known.edit.number)} for known in used],
        "inputs": [{"format": "interaction history of a user: item ids in time order"}],
        "outputs": [{"format": "item ids in order of their scores"}],
    }
    if (family := _family(setup)) is not None:
        parameters["architectureFamily"] = family
    report = _impact(edit)
    card: dict[str, Any] = {"modelParameters": parameters}
    if metrics := performance_metrics(edit):
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    return card | {"considerations": _considerations(used, report)}


def performance_metrics(edit: Edit) -> list[dict[str, Any]]:
    """What an edit measured.

    Args:
        edit: A setup has the metrics of its model, an edit those after it and their changes.

    Returns:
        An entry for each metric, in CycloneDX's layout; none where another client wrote the report.
    """
    report = _impact(edit)
    return [*_measured(edit), *([] if report is None else _changed(report))]


def _family(setup: Edit) -> str | None:
    """The kind of the backbone, as the setup's settings say; None where another client kept none."""
    try:
        kind = parse_json(setup.parameters["settings"])["engine"]["backbone"]["kind"]
    except (InvalidValue, KeyError, TypeError, AttributeError):
        return None
    return kind if isinstance(kind, str) else None


def _impact(edit: Edit) -> ImpactReport | None:
    try:
        return read_report(edit.report)
    except InvalidValue:  # another client wrote it
        return None


def _measured(edit: Edit) -> Iterator[dict[str, Any]]:
    """What a setup measured of its own model."""
    held_out = edit.report.get("holdout")
    if isinstance(held_out, Mapping):
        for name, value in sorted(held_out.items()):
            if isinstance(value, int | float):
                yield {"type": str(name), "value": f"{value:.6g}", "slice": "held-out setup windows"}


def _changed(report: ImpactReport) -> Iterator[dict[str, Any]]:
    """What an edit measured: each metric after it, and how much it changed."""
    for name, part in sorted(report.parts.items()):
        slice_ = _SLICES.get(name, name)
        for metric, value in sorted(part.after.items()):
            yield {"type": metric, "value": f"{value:.6g}", "slice": slice_}
        for metric, change in sorted(part.changes.items()):
            shown = {"type": f"{metric} change", "value": f"{change.mean:.6g}", "slice": slice_}
            yield shown | _interval(change)


def _interval(change: Change) -> dict[str, Any]:
    if change.low is None or change.high is None:
        return {}
    return {"confidenceInterval": {"lowerBound": f"{change.low:.6g}", "upperBound": f"{change.high:.6g}"}}


def _considerations(data: tuple[DataOfEdit, ...], report: ImpactReport | None) -> dict[str, Any]:
    limits = ["It never recommends an item that its catalogue does not hold."]
    if ends := [known.rows.until for known in data if known.rows is not None]:
        limits.append(f"It has learned from interactions up to {utc_text(max(ends))}.")
    value: dict[str, Any] = {
        "useCases": ["Recommending the next item to a user from the user's interaction history."],
        "technicalLimitations": limits,
    }
    changes = (
        {} if report is None else {name: report.change(name, _METRIC) for name in ("retention", "adaptation")}
    )
    if trade := [f"{_SLICES[name]} {change.mean:+.4f}" for name, change in changes.items() if change is not None]:
        value["performanceTradeoffs"] = [f"{_METRIC} against the edit's base: {', '.join(trade)}."]
    return value
