"""What a promotion would have to pass, check by check, as text and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from raie.cli.errors import REFUSED
from raie.cli.ui.output import JsonOutput, Output, accent, say, short, table
from raie.cli.ui.records import step

if TYPE_CHECKING:
    from raie.registry.promotion.aliases import Rehearsal

__all__ = ["refusal_table", "show_checks"]


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


@contextmanager
def refusal_table(rehearse: Callable[[], Rehearsal], alias: str, output: Output) -> Iterator[None]:
    """Print every check on stderr, passed or not, where the block raises PromotionRefused, which goes on to the caller.

    Args:
        rehearse: Gives the checks.
        alias: The alias that did not move.
        output: Of the command; as JSON nothing is printed beside the error.
    """
    from raie.registry.errors import PromotionRefused, RegistryError

    try:
        yield
    except PromotionRefused:
        if not isinstance(output, JsonOutput):
            # The reason of the refusal counts, whatever becomes of the table.
            with suppress(RegistryError):
                for line in _lines(rehearse(), alias):
                    say(line, err=True)
        raise


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
