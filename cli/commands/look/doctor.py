"""`raie doctor`: whether everything that raie stands on is well."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from raie.cli.errors import ATTENTION
from raie.cli.ui.output import Output, accent, faint, json_option, one_line
from raie.cli.ui.workspace_option import in_workspace_if_any
from raie.workspace import Workspace

if TYPE_CHECKING:
    from raie.environment.doctor import Diagnosis
    from raie.environment.machine_checks import Check

__all__ = ["doctor"]

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@json_option
@in_workspace_if_any
def doctor(workspace: Workspace | None, output: Output) -> None:
    """Check the machine, and the workspace with its database, store and MLflow.

    Each check is one line: ok, warn or fail, what was found, and what to do. Nothing is changed: the store is given a
    small object, asked for it, and made to delete it. The exit code is 7 if a check fails, and 0 if none does, whatever
    it warns of. Without a workspace only the machine is checked. `raie status` says how the model stands.

    \b
    Examples:
      raie doctor
      raie doctor --json
    """
    from raie.environment import doctor as checking

    diagnosis = checking.doctor(workspace)
    value = {"failed": diagnosis.failed, "checks": [vars(check) for check in diagnosis.checks]}
    output.show(value, lambda: _lines(diagnosis))
    if diagnosis.failed:
        raise click.exceptions.Exit(ATTENTION)


def _lines(diagnosis: Diagnosis) -> list[str]:
    width = max(len(check.name) for check in diagnosis.checks)
    counts = Counter(check.state.value for check in diagnosis.checks)
    total = ", ".join(f"{counts[state]} {state}" for state in ("ok", "warn", "fail", "skipped") if counts[state])
    return [*(_check_line(check, width) for check in diagnosis.checks), total]


def _check_line(check: Check, width: int) -> str:
    state = check.state.value.ljust(7)
    marked = accent(state, _COLOURS[check.state]) if check.state in _COLOURS else faint(state)
    advice = f"; {one_line(check.advice)}" if check.advice else ""
    return f"{marked}  {check.name.ljust(width)}  {one_line(check.text)}{advice}"
