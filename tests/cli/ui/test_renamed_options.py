"""Options under the name that they had in the version before: they work, and say how they are called now."""

from __future__ import annotations

import pytest

from raie.cli.reference import commands
from raie.workspace import Workspace
from tests.cli.conftest import Raie

_CHECKPOINT = "--anchor"
_ORPHANS = "--strays"
RENAMED = {
    ("verify", _CHECKPOINT): ("--checkpoint", "{head}"),
    ("audit", "verify", _CHECKPOINT): ("--checkpoint", "{head}"),
    ("gc", "--dry-run", _ORPHANS): ("--orphans",),
}
"""A command line with the old name -> the new name, and the value that follows either."""


@pytest.mark.parametrize("old", RENAMED, ids=" ".join)
def test_an_old_name_does_what_the_new_one_does_and_says_so_in_one_line(
    raie: Raie, workspace: Workspace, old: tuple[str, ...]
) -> None:
    *command, name = old
    new, *values = RENAMED[old]
    head = raie("audit", "verify", "--json").json["head"]
    values = [value.format(head=head) for value in values]
    now, before = raie(*command, new, *values, "--json"), raie(*command, name, *values, "--json")
    assert (before.code, before.out) == (now.code, now.out) == (0, now.out)
    assert before.err == f"note: {name} is called {new} now; the old name goes with the next version\n"
    assert now.err == ""


def test_a_value_under_an_old_name_is_looked_at(raie: Raie, workspace: Workspace) -> None:
    assert raie("audit", "verify", _CHECKPOINT, "nonsense").code == 2
    assert raie("audit", "verify", _CHECKPOINT, f"1:{'0' * 64}").code == 5


def test_every_old_name_is_hidden_and_has_a_test() -> None:
    hidden = {
        (*context.command_path.split()[1:], option.opts[0])
        for command, context in commands()
        for option in command.params
        if getattr(option, "hidden", False)
    }
    assert hidden == {tuple(part for part in old if part != "--dry-run") for old in RENAMED}
