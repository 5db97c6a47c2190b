"""Every command explains itself, and docs/cli.md says the same as --help."""

from __future__ import annotations

import re

import click
import pytest

from raie.cli.lazy import LazyGroup
from raie.cli.reference import DOCUMENT, commands, document

COMMANDS = list(commands())
PATHS = [context.command_path for _, context in COMMANDS]


@pytest.mark.parametrize(("command", "context"), COMMANDS, ids=PATHS)
def test_every_command_says_what_it_does_with_an_example(command: click.Command, context: click.Context) -> None:
    assert command.help
    assert "Examples:" in command.help
    assert context.command_path in command.help, "the example shows another command"
    assert all(option.help for option in command.params if isinstance(option, click.Option))


@pytest.mark.parametrize(("command", "context"), COMMANDS, ids=PATHS)
def test_the_line_in_a_groups_help_is_the_commands_own_first_sentence(
    command: click.Command, context: click.Context
) -> None:
    group = context.parent.command if context.parent else None
    if not isinstance(group, LazyGroup) or isinstance(command, click.Group):
        return
    entries = {name: entry for section in group.sections.values() for name, entry in section.items()}
    said, own = group.summary(entries[str(context.info_name)]), str(command.help).strip()
    assert own.startswith(re.split("[;:,.]", said)[0]), f"the table says {said!r}"


def test_the_reference_is_what_the_help_says_today() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run `python -m raie.cli.reference`"


def test_the_reference_names_every_command() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert [path for path in PATHS if f"# {path}\n" not in text] == []


def test_no_line_of_help_wraps_in_the_middle_of_an_example() -> None:
    examples = [line for line in document().splitlines() if line.startswith("    raie ")]
    assert examples
    assert [line for line in examples if len(line) > 100] == []
