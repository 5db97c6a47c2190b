"""The reports that are kept with setups and edits, as lines for a person."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from raie.cli.ui.output import faint, short, table
from raie.cli.ui.records import flat
from raie.lines import known_line
from raie.registry.states import EditKind

if TYPE_CHECKING:
    from raie.registry import Edit

__all__ = ["impact_lines", "length_line", "mixture_lines", "report_lines"]

_WORTH = ("worth", "alone")
_DECIDING = "NDCG@10"
"""The metric by which an edit takes adapters, and is committed."""
_RECENT = 5
"""Ages of an earlier item that are summed up in one sentence: the last item, and those up to 16 back."""


def report_lines(edit: Edit) -> list[str]:
    """What a setup measured, or what an edit changed for whom.

    Args:
        edit: Closed, with its report; the report of another client is shown as plain names and numbers.

    Returns:
        Lines of text.
    """
    if edit.kind == EditKind.SETUP and "backbone" in edit.report:
        return _setup(edit.report)
    if edit.kind == EditKind.EDIT and "adaptation" in edit.report:
        return impact_lines(edit.report)
    return [f"{faint(name)}  {text}" for name, text in flat(edit.report)]


def length_line(choice: Mapping[str, Any]) -> str:
    """How many items a context holds, and why.

    Args:
        choice: A `LengthChoice` as plain values.

    Returns:
        One line.
    """
    shares = ", ".join(f"{float(share):.0%} with {length}" for length, share in choice["shares"].items())
    whole = f"; whole histories fit for {shares}" if shares else ""
    why = "an option" if choice["chosen_by"] == "option" else "chosen by the histories"
    return f"context   {choice['length']} items, {why}{whole}"


def _setup(report: Mapping[str, Any]) -> list[str]:
    windows, backbone, regions = report["windows"], report["backbone"], report["regions"]
    measured = [
        (
            choice["k"],
            f"{choice['silhouette']:.3f}",
            f"{choice['largest_share']:.0%}",
            f"{choice['smallest_share']:.0%}",
        )
        for choice in regions["measured"]
    ]
    return [
        f"windows   {report['interactions']:,} interactions in "
        f"{sum(windows.values()):,} windows ({windows['train']:,} train, {windows['validation']:,} validation, "
        f"{windows['holdout']:,} held out)",
        *([length_line(report["length"])] if "length" in report else []),
        f"backbone  {short(backbone['digest'])}, {backbone['epochs']} epochs, "
        f"validation NDCG@10 {max(backbone['validation']):.4f}",
        f"held out  Recall@10 {report['holdout']['Recall@10'] or 0:.4f}, NDCG@10 {report['holdout']['NDCG@10'] or 0:.4f}",
        f"regions   {regions['k']}, chosen by {regions['chosen_by']}: "
        + ", ".join(f"{weight:.0%}" for weight in regions["weights"]),
        *(
            f"          {line}"
            for line in table(("K", "criterion", "largest", "smallest"), measured, right=(0, 1, 2, 3))
            if measured
        ),
        *mixture_lines(report.get("mixture"), "scores    ", " " * 10),
    ]


def mixture_lines(mixture: Mapping[str, Any] | None, words: str, indent: str) -> list[str]:
    """What scores are made of, with what each part is worth, and how items count that a user had before.

    Args:
        mixture: Of a report; None where nothing is mixed.
        words: Before the first line.
        indent: Before every later one.

    Returns:
        Lines; none where nothing is mixed.
    """
    if not mixture:
        return []
    if not mixture["windows"]:
        return [f"{words}every part counts alike: no validation window says more"]
    parts = sorted(mixture["parts"].items(), key=lambda named: -(named[1]["worth"] or 0))
    rows = [
        (name, f"{part['power']:.2f}", *("-" if part[key] is None else f"{part[key]:.4f}" for key in _WORTH))
        for name, part in parts
    ]
    chosen = "" if mixture["chosen"] == "all" else f" ({mixture['chosen']} is better than all parts)"
    headers = ("part", "weight", "NDCG@10 lost without", "NDCG@10 alone")
    return [
        f"{words}fitted on {mixture['windows']:,} validation windows: NDCG@10 {mixture['NDCG@10']:.4f}{chosen}",
        *(f"{indent}{line}" for line in table(headers, rows, right=(1, 2, 3))),
        f"{indent}{_repeats(mixture['repeats'])}",
    ]


def _repeats(terms: Sequence[float]) -> str:
    """One sentence on items that a user had before; terms: what an item gains by age, the last item's first."""
    last, earlier = _again(terms[0]), _again(sum(terms[1:_RECENT]) / (_RECENT - 1))
    if last == earlier:
        return f"items a user had before: {last}"
    return f"items a user had before: the last one {last}, earlier ones {earlier}"


def _again(term: float) -> str:
    """What a term of a score, a logarithm of odds, says of an item."""
    if abs(term) < math.log(2):
        return "as often as others"
    return "more often than others" if term > 0 else "rarely again"


def impact_lines(report: Mapping[str, Any]) -> list[str]:
    """What an edit changed for whom, or would have changed.

    Args:
        report: Of an `ImpactReport`, as plain values.

    Returns:
        Lines of text.
    """
    rows = [
        (
            region["region"],
            region["adapter"] if region["accepted"] else faint("rejected"),
            _change(region, _DECIDING),
            _change(region, f"retained {_DECIDING}"),
            f"{region['passes']:,}",
            f"{region['seconds']:.1f}",
        )
        for region in report["regions"]
    ]
    untouched = ", ".join(map(str, report["untouched"])) or "none"
    lines = [
        *table(
            ("region", "adapter", f"{_DECIDING}, new", f"{_DECIDING}, setup", "samples seen", "seconds"),
            rows,
            right=(4, 5),
        ),
        "",
        _line("new windows, held out  ", report["adaptation"]),
        *([_line("  of known items       ", report["adaptation_known"])] if "adaptation_known" in report else []),
        _line("setup windows, held out", report["retention"]),
        f"untouched regions: {untouched}"
        + (" (every byte as before)" if report["untouched"] and report["untouched_identical"] else ""),
    ]
    lines += mixture_lines(report.get("mixture"), "what scores are made of, ", "  ")
    if "users" in report.get("known", {}):
        lines.append(known_line(report["known"]))
    if report["rejected"]:
        rejected = ", ".join(map(str, report["rejected"]))
        lines.append(f"added, and not accepted on held-out windows: {rejected}; their windows stay pending")
    return lines


def _change(region: Mapping[str, Any], name: str) -> str:
    before, after = region["before"].get(name), region["after"].get(name)
    return "-" if before is None or after is None else f"{before:.4f} → {after:.4f}"


def _line(words: str, compared: Mapping[str, Any]) -> str:
    if not compared["windows"]:
        return f"{words}: none"
    # A report of version 1 has the change of Recall@10 alone.
    metric = _DECIDING if "changes" in compared else "Recall@10"
    change = compared["changes"][metric] if "changes" in compared else compared[f"{metric} change"]
    return (
        f"{words}: {metric} {compared['before'][metric]:.4f} → {compared['after'][metric]:.4f} "
        f"({change['mean']:+.4f}, 95 % {change['low']:+.4f} to {change['high']:+.4f}, {compared['windows']:,} windows)"
    )
