"""`raie audit report`: what an alias served when, who let it through, and on which data."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raie.cli.errors import INTEGRITY
from raie.cli.ui.output import JsonOutput, Output, accent, json_option, times
from raie.cli.ui.workspace_option import in_workspace
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.proofs.audit_report import AuditReport, Mark, Period
    from raie.proofs.data_used import DataOfEdit
    from raie.registry.promotion.decisions import Decision

__all__ = ["report"]

_PAGE = Path("audit.html")


class _Instant(click.ParamType[float]):
    """A date or a time in ISO 8601, UTC where it says no zone; in epoch seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse what was typed."""
        try:
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            self.fail(f"expected a date or a time such as 2026-05-01 or 2026-05-01T12:00:00Z, found {value!r}")


@click.command()
@click.option(
    "--alias", metavar="NAME", default="production", show_default=True, help="The alias that is reported on."
)
@click.option("--from", "start", type=_Instant(), metavar="T", help="From this time on.  [its first promotion]")
@click.option("--to", "end", type=_Instant(), metavar="T", help="Up to this time.  [now]")
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write.  [audit.html; markdown and JSON go to standard output]",
)
@click.option("--markdown", "as_markdown", is_flag=True, help="Markdown instead of a page.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@json_option
@in_workspace
def report(
    workspace: Workspace,
    alias: str,
    start: float | None,
    end: float | None,
    file: Path | None,
    as_markdown: bool,
    force: bool,
    output: Output,
) -> None:
    """Write what an alias served when, who let it through, and on which data.

    For each period: the snapshot, who moved the alias and why, the policy with the results of its checks, approvals,
    signatures, evaluations, and the data of its setup and of each edit since. Gaps and overrides are marked. The audit
    chain is verified: exit code 5 where it does not hold, and the report says so.

    T is a date or a time in ISO 8601, UTC without a zone. The page is one file that loads nothing else. An existing file
    is overwritten only with --force.

    \b
    Examples:
      raie audit report
      raie audit report --from 2026-04-01 --to 2026-07-01 -o quarter.html
      raie audit report --alias production --markdown
    """
    from raie.output_files import require_free

    to_file = not as_markdown and not isinstance(output, JsonOutput)
    path = _PAGE if file is None and to_file else file
    if path is not None:
        require_free(path, replace=force)
    from raie.proofs.audit_report import audit_report

    made = audit_report(workspace, alias, start=start, end=end)
    _show(made, path, as_markdown, force, output)
    if not made.chain.ok:
        raise click.exceptions.Exit(INTEGRITY)


def _show(made: AuditReport, path: Path | None, as_markdown: bool, force: bool, output: Output) -> None:
    value = {"file": None if path is None else str(path), **_json(made)}
    if path is None:
        output.show(value, lambda: _text(made, as_markdown).splitlines())
        return
    from raie.output_files import whole_file

    with whole_file(path, replace=force) as stream:
        stream.write(_text(made, as_markdown).encode())
    output.show(value, lambda: [_line(made, path)])


def _text(made: AuditReport, as_markdown: bool) -> str:
    if as_markdown:
        from raie.proofs.audit_markdown import audit_markdown

        return audit_markdown(made)
    from raie.proofs.audit_page import audit_page

    return audit_page(made)


def _line(made: AuditReport, path: Path) -> str:
    chain = "the chain is whole" if made.chain.ok else accent("the chain is broken", "red")
    return f"{accent(str(path))}  {len(made.periods)} periods, {made.marked} marked, {chain}"


def _json(made: AuditReport) -> dict[str, Any]:
    return {
        "registry": made.registry,
        "model": made.model,
        "alias": made.alias,
        **times(start=made.start, end=made.end),
        "chain": {
            "ok": made.chain.ok,
            "events": made.chain.report.events,
            "head": made.chain.report.head,
            "kept_in_store": made.chain.in_store,
            "problems": list(made.chain.report.problems),
        },
        "marks": [_mark_json(mark) for mark in made.marks],
        "periods": [_period_json(period) for period in made.periods],
        "data": [_data_json(data) for data in made.data],
    }


def _mark_json(mark: Mark) -> dict[str, Any]:
    return {"kind": mark.kind, "text": mark.text}


def _period_json(period: Period) -> dict[str, Any]:
    snapshot, learned = period.snapshot, period.learned
    value: dict[str, Any] = {
        **times(start=period.start, end=period.end),
        "snapshot": None if snapshot is None else snapshot.id,
        "edit": None if snapshot is None else snapshot.edit,
        "data": [] if learned is None else list(learned.edits),
        "rolled_back": {} if learned is None else {str(edit): by for edit, by in learned.rolled_back.items()},
        "marks": [_mark_json(mark) for mark in period.marks],
    }
    return value | {"decision": None if period.decision is None else _decision_json(period.decision)}


def _decision_json(decision: Decision) -> dict[str, Any]:
    move, policy, override = decision.move, decision.policy, decision.override
    return {
        "event": move.id,
        "from": move.source,
        "to": move.target,
        "actor": move.actor,
        "reason": move.reason,
        **times(at=move.at),
        "policy": None
        if policy is None
        else {
            "version": policy.version,
            "protected": policy.policy.protected,
            "actor": policy.actor,
            "reason": policy.reason,
            **times(at=policy.at),
        },
        "checks": [check.to_json() for check in decision.checks],
        "override": None if override is None else {"event": override.id, "reason": override.reason},
        "approvals": [
            {"actor": a.actor, "reason": a.reason, "withdrawn": a.withdrawn, **times(at=a.at)}
            for a in decision.approvals
        ],
        "signatures": [
            {
                "key": then.signature.key,
                "trusted_as": then.name,
                "valid": then.valid,
                "actor": then.signature.actor,
                "reason": then.signature.reason,
                **times(at=then.signature.at),
            }
            for then in decision.signatures
        ],
        "evaluations": [
            {
                "source": measured.evaluation.source,
                "actor": measured.by,
                **times(at=measured.at),
                "changes": {
                    part: {name: vars(change) for name, change in measurement.changes.items()}
                    for part, measurement in measured.evaluation.report.parts.items()
                },
            }
            for measured in decision.evaluations
        ],
    }


def _data_json(data: DataOfEdit) -> dict[str, Any]:
    edit, rows = data.edit, data.rows
    return {
        "edit": edit.number,
        "kind": edit.kind,
        "actor": edit.actor,
        "digest": edit.data_digest,
        "rows": None if rows is None else rows.rows,
        **times(after=None if rows is None else rows.after, until=None if rows is None else rows.until),
    }
