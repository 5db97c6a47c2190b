"""What a promotion would have to pass, check by check, as text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from raie.cli.errors import REFUSED
from raie.cli.ui.output import Output, accent, short, table
from raie.cli.ui.records import step

if TYPE_CHECKING:
    from raie.registry.promotion.aliases import Rehearsal

__all__ = ["show_checks"]


def show_checks(rehearsal: Rehearsal, alias: str, output: Output) -> None:
    """Show every check, and end with exit code 1 where one is not passed."""
    value: dict[str, Any] = {
        "alias": alias,
        "from": rehearsal.source,
        "to": rehearsal.target,
        "passes": rehearsal.accepted,
        "gates": [check.to_json() for check in rehearsal.checks],
    }
    output.show(value, lambda: _lines(rehearsal, alias))
    if not rehearsal.accepted:
        raise click.exceptions.Exit(REFUSED)


def _lines(rehearsal: Rehearsal, alias: str) -> list[str]:
    lines = [f"{accent(alias, 'green')} {step(rehearsal.source, rehearsal.target)}"]
    if not rehearsal.checks:
        return [*lines, "no check: nothing is asked of this alias"]
    rows = [
        [
            accent("pass", "green") if check.passed else accent("FAIL", "red"),
            check.name,
            check.expected,
            check.actual,
        ]
        for check in rehearsal.checks
    ]
    advice = dict.fromkeys(check.advice for check in rehearsal.checks if not check.passed)
    verdict = f"{short(rehearsal.target)} may be promoted" if rehearsal.accepted else "it would be refused"
    return [*lines, *table(["", "check", "expected", "found"], rows), *advice, verdict]
