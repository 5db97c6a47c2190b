"""An audit report as markdown: what the page says, in the same order.

What users wrote stands in code spans: there neither markdown nor HTML means anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from raie.proofs.audit_report import AuditReport, Mark, Period
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
from raie.review.markdown import quoted

__all__ = ["audit_markdown"]


def audit_markdown(report: AuditReport) -> str:
    """The markdown of an audit report.

    Args:
        report: What it shows.

    Returns:
        Text that ends with a new line. The same report gives the same text.
    """
    sections = (_head(report), *map(_period, report.periods), _data(report))
    return "\n\n".join("\n".join(lines) for lines in map(list, sections)) + "\n"


def _head(report: AuditReport) -> Iterator[str]:
    yield f"## {quoted(f'{report.model} · {report.alias}')}: what served when, {span_line(report)}"
    yield ""
    yield f"- audit chain {chain_line(report)}"
    yield f"- chain head `{report.chain.report.head}`, registry `{report.registry}`"
    yield from (f"- **problem:** {quoted(problem)}" for problem in report.chain.report.problems)
    yield from _marks(report.marks)


def _marks(marks: Iterable[Mark]) -> Iterator[str]:
    return (f"- ▲ **{mark.kind}**: {quoted(mark.text)}" for mark in marks)


def _period(period: Period) -> Iterator[str]:
    start, end = period_ends(period)
    name = "nothing" if period.snapshot is None else f"`{period.snapshot.id}` (edit {period.snapshot.edit})"
    yield f"### {start} – {end}: {name}".replace("###  –", "### –")
    yield ""
    decision = period.decision
    if decision is not None:
        move = decision.move
        yield f"- moved by {quoted(move.actor)} (event {move.id}): {quoted(move.reason or 'no reason given')}"
        yield f"- policy: {quoted(policy_line(decision))}"
        for passed, summary in check_lines(decision):
            yield f"- {'✓ passed' if passed else '✗ failed'}: {quoted(summary)}"
        for line in (*approval_lines(decision), *signature_lines(decision), *evaluation_lines(decision)):
            yield f"- {quoted(line)}"
        if period.learned is not None:
            yield f"- data: {data_line(period)}"
    yield from _marks(period.marks)


def _data(report: AuditReport) -> Iterator[str]:
    yield "### The data"
    yield ""
    yield "| edit | kind | made by | sha256 of the log | rows | after | until |"
    yield "|---|---|---|---|---|---|---|"
    for data in report.data:
        edit = data.edit
        shown = (edit.number, edit.kind, quoted(edit.actor), f"`{edit.data_digest}`", *range_texts(data))
        yield f"| {' | '.join(map(str, shown))} |"
