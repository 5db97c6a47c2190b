"""What a promotion would have to pass, gate by gate, as text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from raie.cli.errors import REFUSED
from raie.cli.ui.output import Output, accent, short, table
from raie.cli.ui.records import step

if TYPE_CHECKING:
    from raie.registry.promotion.aliases import Rehearsal

__all__ = ["show_rehearsal"]


def show_rehearsal(rehearsal: Rehearsal, alias: str, output: Output) -> None:
    """Show every gate, and end with exit code 1 where one is not passed."""
    value: dict[str, Any] = {
        "alias": alias,
        "from": rehearsal.source,
        "to": rehearsal.target,
        "passes": rehearsal.accepted,
        "gates": [gate.to_json() for gate in rehearsal.checks],
    }
    output.show(value, lambda: _draw(rehearsal, alias))
    if not rehearsal.accepted:
        raise click.exceptions.Exit(REFUSED)


def _draw(rehearsal: Rehearsal, alias: str) -> list[str]:
    lines = [f"{accent(alias, 'green')} {step(rehearsal.source, rehearsal.target)}"]
    if not rehearsal.checks:
        return [*lines, "no gate: nothing is asked of this alias"]
    rows = [
        [accent("pass", "green") if gate.passed else accent("FAIL", "red"), gate.name, gate.expected, gate.actual]
        for gate in rehearsal.checks
    ]
    advice = dict.fromkeys(gate.advice for gate in rehearsal.checks if not gate.passed)
    verdict = f"{short(rehearsal.target)} may be promoted" if rehearsal.accepted else "it would be refused"
    return [*lines, *table(["", "gate", "expected", "found"], rows), *advice, verdict]
