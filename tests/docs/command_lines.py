"""Every `raie ...` that a page spells out, and what click says to it without running it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

import click

from raie.cli.main import raie
from raie.cli.reference import commands
from tests.docs.markdown import INLINE, Block, every_block, prose

__all__ = ["TREE", "Line", "lines", "options_alone", "problem"]

TREE = {context.command_path: command for command, context in commands()}

_OPERATORS = set("();<>|&")
_PROMPT = re.compile(r"^\s*(?:\$ |- run: |run: |(?:[\d*/,-]+ ){5})?(?=(?:\w+=\S* )*raie(?:\s|$))")
_ELLIPSES = {"…", "..."}


@dataclass(frozen=True)
class Line:
    """A command as a page spells it: its words after `raie`, and whether it is meant to be typed as it stands."""

    words: tuple[str, ...]
    whole: bool

    def __str__(self) -> str:
        return shlex.join(["raie", *self.words])


def lines(page: Path) -> Iterator[Line]:
    """Every command of a page: in fenced blocks of any language, and in code within a sentence."""
    texts = [prose(page)]
    for block in every_block(page):
        if block.language == "python":
            continue
        texts.append(block.text)
        yield from (line for text in _typed(block) for line in _of(text, whole=True))
    for code in (code for text in texts for code in INLINE.findall(text)):
        if re.match(r"(\w+=\S+ )*raie( |$)", code):
            yield from _of(code.replace("&nbsp;", " "), whole=False)


def _typed(block: Block) -> Iterator[str]:
    joined = re.sub(r"\\\n\s*", "", block.text)
    for line in joined.splitlines():
        match = _PROMPT.match(line)
        if match and not line.lstrip().startswith("#"):
            yield line[match.end() :]


def _of(text: str, *, whole: bool) -> Iterator[Line]:
    """The commands of one line, which pipes, `&&` and redirections separate."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    for separates, run in groupby(lexer, key=lambda term: bool(term) and set(term) <= _OPERATORS):
        words = list(run)
        while words and re.fullmatch(r"\w+=.*", words[0]):
            del words[0]
        if not separates and words[:1] == ["raie"]:
            # After an option an ellipsis stands for its value, elsewhere for more words.
            pairs = pairwise(words)
            written = tuple(term for left, term in pairs if term not in _ELLIPSES or left.startswith("--"))
            yield Line(written, whole and len(written) == len(words) - 1)


def problem(line: Line) -> str | None:
    """Why click would refuse a line before it runs: no such command, option, value of a choice, or argument."""
    # Click keeps the help option of the first context that a command meets: it has to be the one that users get.
    context = click.Context(raie, info_name="raie", **raie.context_settings)
    command: click.Command = raie
    words = list(line.words)
    try:
        while isinstance(command, click.Group):
            _, words, _ = command.make_parser(context).parse_args(words)
            if not words:
                return None if command is raie or not line.whole else f"{context.command_path} asks for a command"
            below = command.get_command(context, words[0])
            if below is None and words[0].isupper() and not line.whole:
                # A sentence may leave open which command it is.
                return None
            if below is None:
                return f"{context.command_path} has no command {words[0]!r}"
            context = click.Context(below, info_name=words[0], parent=context, **below.context_settings)
            command, words = below, words[1:]
        return _refused(command, context, words, whole=line.whole)
    except click.BadOptionUsage as error:
        # A sentence may name an option without its value.
        return f"{context.command_path}: {error.format_message()}" if line.whole else None
    except click.UsageError as error:
        return f"{context.command_path}: {error.format_message()}"


def _refused(command: click.Command, context: click.Context, words: list[str], *, whole: bool) -> str | None:
    values, extra, _ = command.make_parser(context).parse_args(words)
    if extra:
        return f"{context.command_path}: unexpected argument {extra[0]!r}"
    if {"help"} & {name for name, value in values.items() if value is True}:
        return None
    for parameter in command.params:
        value = values.get(str(parameter.name))
        given = isinstance(value, str | tuple | list) and bool(value)
        if whole and parameter.required and not given:
            return f"{context.command_path}: {parameter.human_readable_name} is missing"
        if given and isinstance(parameter.type, click.Choice):
            for choice in [value] if isinstance(value, str) else value or []:
                parameter.type.convert(choice, parameter, context)
    return None


def options_alone(page: Path) -> Iterator[str]:
    """Options that stand by themselves in a sentence, as `--json` does."""
    for code in INLINE.findall(prose(page)):
        if code.startswith("--"):
            yield code.split()[0].partition("=")[0]
