"""The words of an audit report that its page and its markdown share.

Users' texts come as they are, to be escaped there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from raie.proofs.audit_report import AuditReport, Period
from raie.proofs.data_used import DataOfEdit
from raie.registry.promotion.decisions import Decision, Measured
from raie.registry.times import utc_text

__all__ = [
    "approval_lines",
    "chain_line",
    "check_lines",
    "data_line",
    "evaluation_lines",
    "period_ends",
    "policy_line",
    "range_texts",
    "signature_lines",
    "span_line",
]

METRIC = "Recall@10"


def span_line(report: AuditReport) -> str:
    """Which time the report is about."""
    start = "the first promotion" if report.start is None else utc_text(report.start)
    end = "now" if report.end is None else utc_text(report.end)
    return f"from {start} to {end}"


def chain_line(report: AuditReport) -> str:
    """What the verification of the audit chain came to."""
    verified = report.chain.report
    if report.chain.ok:
        kept = report.chain.in_store
        return f"whole: {verified.events:,} events, each hashed with the one before, {kept:,} kept heads hold"
    return f"broken: {len(verified.problems):,} problems in {verified.events:,} events"


def period_ends(period: Period) -> tuple[str, str]:
    """When it began and ended, as text."""
    return (
        "" if period.start is None else utc_text(period.start),
        "until now" if period.end is None else utc_text(period.end),
    )


def policy_line(decision: Decision) -> str:
    """Which policy decided, and who had set it when."""
    policy = decision.policy
    if policy is None or not policy.policy.protected:
        return "none"
    return f"version {policy.version}, set by {policy.actor}, {utc_text(policy.at)}"


def check_lines(decision: Decision) -> tuple[tuple[bool, str], ...]:
    """Each check: whether it was passed, and what it expected and found."""
    return tuple((check.passed, check.summary) for check in decision.checks)


def approval_lines(decision: Decision) -> tuple[str, ...]:
    """Each approval and withdrawal before the move."""
    return tuple(
        f"{'withdrawn' if given.withdrawn else 'approved'} by {given.actor}, {utc_text(given.at)}: {given.reason}"
        for given in decision.approvals
    )


def signature_lines(decision: Decision) -> tuple[str, ...]:
    """Each signature before the move."""
    return tuple(
        f"signed with key {then.signature.key[:12]} ({then.name or 'not trusted'}"
        f"{'' if then.valid else ', not valid'}), {then.signature.actor}, {utc_text(then.signature.at)}"
        for then in decision.signatures
    )


def evaluation_lines(decision: Decision) -> tuple[str, ...]:
    """Each evaluation against what was served, with its main numbers."""
    return tuple(
        f"{measured.evaluation.source} by {measured.by}, {utc_text(measured.at)}: "
        f"{'; '.join(_numbers(measured)) or 'no change measured'}"
        for measured in decision.evaluations
    )


def _numbers(measured: Measured) -> Iterator[str]:
    for name, part in measured.evaluation.report.parts.items():
        metric = METRIC if METRIC in part.changes else next(iter(part.changes), None)
        if metric is not None:
            change = part.changes[metric]
            ends = (
                "" if change.low is None or change.high is None else f" ({change.low:+.4f} to {change.high:+.4f})"
            )
            yield f"{name} {metric} {change.mean:+.4f}{ends}, {part.windows:,} windows"


def data_line(period: Period) -> str:
    """The edits whose data the snapshot rests on."""
    learned = period.learned
    if learned is None:
        return ""
    if not learned.edits:
        return "no log"
    held = [number for number in learned.edits if number not in learned.rolled_back]
    gone = [f"{number} by {by}" for number, by in learned.rolled_back.items()]
    return f"edits {_runs(held) or 'none'}" + (f" (rolled back: {', '.join(gone)})" if gone else "")


def _runs(numbers: Sequence[int]) -> str:
    """Sorted numbers, those that follow each other as one run: `1–5, 7`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in runs)


def range_texts(data: DataOfEdit) -> tuple[str, str, str]:
    """Rows, first time (excluded) and last time (included) of an edit's data."""
    rows = data.rows
    if rows is None:
        return "not kept", "", ""
    return f"{rows.rows:,}", "the first row" if rows.after is None else utc_text(rows.after), utc_text(rows.until)
