"""An audit report as one HTML page: raie/pages/audit.html with what it shows."""

from __future__ import annotations

from typing import Any

from raie.pages.render import render
from raie.proofs.audit_report import AuditReport, Period
from raie.proofs.audit_words import (
    approval_lines,
    chain_line,
    check_lines,
    data_line,
    evaluation_lines,
    period_ends,
    policy_line,
    range_texts,
    signature_lines,
    span_line,
)

__all__ = ["audit_page"]


def audit_page(report: AuditReport) -> str:
    """The page of an audit report.

    Args:
        report: What it shows.

    Returns:
        One HTML document that loads nothing. The same report gives the same bytes.
    """
    return render(
        "audit.html",
        styles=("audit.css",),
        report=report,
        heading=f"{report.model} · {report.alias}",
        span=span_line(report),
        chain=chain_line(report),
        periods=[(period, _words(period)) for period in report.periods],
        data=[(data, *range_texts(data)) for data in report.data],
    )


def _words(period: Period) -> dict[str, Any]:
    start, end = period_ends(period)
    decision = period.decision
    shown: dict[str, Any] = {"start": start, "end": end, "data": data_line(period)}
    if decision is None:
        return shown
    return shown | {
        "policy": policy_line(decision),
        "checks": check_lines(decision),
        "approvals": approval_lines(decision),
        "signatures": signature_lines(decision),
        "evaluations": evaluation_lines(decision),
    }
