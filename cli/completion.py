"""What a shell completes: commands and options as click knows them, and values as the workspace has them.

Whatever fails, nothing is printed: an error in the middle of a command line that somebody is typing would be in the way.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from raie.environment.completion_values import Kind, Value, config_keys, values

__all__ = ["SHELLS", "complete", "kind_of", "script"]

SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_RAIE_COMPLETE"
_PATIENCE_S = 2.0
"""A database that does not answer ends the completion, not the shell's patience."""

STRATEGIES = (
    "raie",
    "never",
    "popularity",
    "markov",
    "item-knn",
    "ease",
    "tale",
    "full",
    "global-lora",
    "wide-lora",
    "replay",
    "lwf",
    "lsat",
    "mole",
    "e-bpr",
    "peso",
    "random-regions",
    "joint",
)
"""By name here, because importing them imports torch; a test compares."""

_BY_METAVAR = {"REF": Kind.REF, "ALIAS": Kind.ALIAS, "EDIT": Kind.EDIT, "R": Kind.REGION}
_BY_NAME = {
    "ref": Kind.REF,
    "older": Kind.REF,
    "newer": Kind.REF,
    "alias": Kind.ALIAS,
    "old": Kind.ALIAS,
    "edit": Kind.EDIT,
    "region": Kind.REGION,
}

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]


def complete(cli: click.Command, instruction: str) -> int:
    """Answer the shell: its script, or what may follow a command line.

    Args:
        cli: The root command.
        instruction: SHELL_source or SHELL_complete, as the shell's script says it.

    Returns:
        The exit code.
    """
    shell, _, what = instruction.partition("_")
    if what == "source" and shell in SHELLS:
        click.echo(script(cli, shell), nl=False)
        return 0
    with _no_longer_than(_PATIENCE_S), contextlib.suppress(Exception), contextlib.redirect_stderr(io.StringIO()):
        answer = _answer(cli, shell)
        click.echo(answer.encode())
    return 0


def script(cli: click.Command, shell: str) -> str:
    """The script that makes a shell ask raie.

    Args:
        cli: The root command.
        shell: bash, zsh or fish.
    """
    # Not of the class itself, whose source() runs bash to learn its version.
    return ShellComplete.source(_completer(cli, shell))


def _completer(cli: click.Command, shell: str) -> ShellComplete:
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"expected {' or '.join(SHELLS)}, found {shell!r}")
    return kind(cli, {}, "raie", _VARIABLE)


def _answer(cli: click.Command, shell: str) -> str:
    made = _completer(cli, shell)
    words, start = made.get_completion_args()
    cut = ""
    if shell == "bash":
        words, start, cut = _joined(words, start)
    _attach(cli, words)
    items = [_without(item, cut) for item in made.get_completions(words, start)]
    return "\n".join(made.format_completion(item) for item in items)


def _joined(words: list[str], start: str) -> tuple[list[str], str, str]:
    """The words with edit:3 in one piece, which bash takes apart, and what bash has of it already."""
    if words and words[-1] == "edit" and start == ":":
        return words[:-1], "edit:", "edit:"
    if words[-2:] == ["edit", ":"]:
        return words[:-2], f"edit:{start}", "edit:"
    return words, start, ""


def _without(item: CompletionItem[str], cut: str) -> CompletionItem[str]:
    return CompletionItem(item.value.removeprefix(cut), item.type, item.help) if cut else item


@contextlib.contextmanager
def _no_longer_than(seconds: float) -> Iterator[None]:
    """End the process without a word when the time is over."""

    def give_up(number: int, frame: FrameType | None) -> None:
        os._exit(0)

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _attach(cli: click.Command, words: Sequence[str]) -> None:
    """Let the parameters of the command that the words lead to complete what they name."""
    command, path = cli, list[str]()
    for name in words:
        if not isinstance(command, click.Group):
            break
        inner = command.get_command(click.Context(command), name)
        if inner is not None:
            command, path = inner, [*path, name]
    for owner, parameter in [*(([], p) for p in cli.params), *((path, p) for p in command.params)]:
        completer = _completer_of(owner, parameter)
        if completer is not None:
            parameter.shell_complete = _as_method(completer, parameter)  # type: ignore[method-assign]


def _as_method(completer: Completer, parameter: click.Parameter) -> Any:
    return lambda context, start: completer(context, parameter, start)


def _completer_of(path: Sequence[str], parameter: click.Parameter) -> Completer | None:
    if path == ["config", "show"] and parameter.name == "key":
        return lambda context, parameter, start: _items(config_keys(start))
    if path == ["compare"] and parameter.name in ("strategies", "against"):
        return lambda context, parameter, start: _items(_strategies(start))
    if path == ["tag"] and parameter.name == "name":
        return _of_kind(Kind.TAG)
    if not path and parameter.name == "model":
        return _of_kind(Kind.MODEL)
    kind = kind_of(parameter)
    return None if kind is None else _of_kind(kind)


def kind_of(parameter: click.Parameter) -> Kind | None:
    """What a parameter names, as its metavar or its own name says; None for anything else.

    Args:
        parameter: An option or an argument of a command.
    """
    if parameter.metavar is not None:
        return _BY_METAVAR.get(parameter.metavar)
    return _BY_NAME.get(parameter.name or "") if isinstance(parameter, click.Argument) else None


def _of_kind(kind: Kind) -> Completer:
    def completer(context: click.Context, parameter: click.Parameter, start: str) -> list[CompletionItem[str]]:
        root = context.find_root().params
        folder: Path | None = root.get("workspace")
        return _items(values(kind, start, folder, root.get("model")))

    return completer


def _strategies(start: str) -> list[Value]:
    """The strategies that may follow the last comma."""
    before, comma, last = start.rpartition(",")
    return [Value(f"{before}{comma}{name}") for name in STRATEGIES if name.startswith(last)]


def _items(offered: Sequence[Value]) -> list[CompletionItem[str]]:
    return [CompletionItem(value.text, help=value.help or None) for value in offered]
