"""The checks of a promotion, as text and as JSON."""

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
    """Show every check.

    Raises: click's Exit with code 1 where one does not pass.
    """
    value: dict[str, Any] = {
        "alias": alias,
        "from": rehearsal.source,
        "to": rehearsal.target,
        "passes": rehearsal.passes,
        "gates": [vars(gate) for gate in rehearsal.gates],
    }
    output.show(value, lambda: _lines(rehearsal, alias))
    if not rehearsal.passes:
        raise click.exceptions.Exit(REFUSED)


def _lines(rehearsal: Rehearsal, alias: str) -> list[str]:
    lines = [f"{accent(alias, 'green')} {step(rehearsal.source, rehearsal.target)}"]
    if not rehearsal.gates:
        return [*lines, "no check: nothing is asked of this alias"]
    rows = [
        [accent("pass", "green") if gate.passed else accent("FAIL", "red"), gate.name, gate.expected, gate.found]
        for gate in rehearsal.gates
    ]
    advice = dict.fromkeys(gate.advice for gate in rehearsal.gates if not gate.passed)
    verdict = f"{short(rehearsal.target)} may be promoted" if rehearsal.passes else "it would be refused"
    return [*lines, *table(["", "check", "expected", "found"], rows), *advice, verdict]
