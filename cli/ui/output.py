"""What a command shows: one value, as text for a person or as JSON for a program.

A command builds its value once and hands it, with the function that draws it, to the output chosen by `--json`.
Times are epoch seconds in values and become ISO 8601 (UTC) here and nowhere else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import click

__all__ = [
    "JsonOutput",
    "Output",
    "TextOutput",
    "accent",
    "faint",
    "harmless",
    "iso",
    "json_option",
    "one_line",
    "say",
    "short",
    "size",
    "table",
    "times",
    "when",
]

# What moves a terminal's cursor or turns the direction of text, and halves of characters that have no UTF-8.
_HIDDEN = r"\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_UNPRINTABLE = re.compile(rf"[\x00-\x1f{_HIDDEN}]+")
_NOT_OURS = re.compile(rf"(\x1b\[(?:0|1|2|3[0-7])m)|[\x00-\x09\x0b-\x1f{_HIDDEN}]")


class Output(Protocol):
    """Where a command's value goes."""

    def show(self, value: Mapping[str, Any], draw: Callable[[], Iterable[str]]) -> None:
        """Show `value`; `draw` gives its lines of text and is called only where text is wanted."""


@dataclass(frozen=True)
class TextOutput:
    """Lines for a person; colour only where the terminal has it (click strips it elsewhere)."""

    def show(self, value: Mapping[str, Any], draw: Callable[[], Iterable[str]]) -> None:
        """Print the drawn lines."""
        for line in draw():
            say(line)


@dataclass(frozen=True)
class JsonOutput:
    """One JSON document for a program."""

    def show(self, value: Mapping[str, Any], draw: Callable[[], Iterable[str]]) -> None:
        """Print the value with its keys in the order the command gave them."""
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        say(re.sub(f"[{_HIDDEN}]", lambda hidden: f"\\u{ord(hidden[0]):04x}", text))


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--json` to a command, which receives the chosen output as its argument `output`."""
    return click.option(
        "--json",
        "output",
        is_flag=True,
        callback=lambda ctx, option, chosen: JsonOutput() if chosen else TextOutput(),
        help="Print JSON instead of text.",
    )(command)


def say(line: str, *, err: bool = False) -> None:
    """Print one line, on stdout or on stderr."""
    click.echo(harmless(line), err=err)


def harmless(text: str) -> str:
    """The text without anything that could steer a terminal, but for new lines and our own colours."""
    return _NOT_OURS.sub(lambda found: found[1] or " ", text)


def iso(epoch: float) -> str:
    """Epoch seconds as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def when(epoch: float) -> str:
    """Epoch seconds as a person reads them: UTC, to the minute."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M")


def times(**epochs: float | None) -> dict[str, Any]:
    """JSON keys of points in time: `name` in ISO 8601 and `name_epoch` in seconds; null where there is none."""
    found: dict[str, Any] = {}
    for name, epoch in epochs.items():
        found[name] = None if epoch is None else iso(epoch)
        found[f"{name}_epoch"] = epoch
    return found


def short(digest: str | None) -> str:
    """The first twelve characters of a digest: enough to name it, and to be typed back."""
    return "-" if digest is None else digest[:12]


def size(count: int) -> str:
    """Bytes in the largest binary unit that leaves at least one."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def one_line(text: str | None) -> str:
    """Someone's words on one line, without the control characters that could redraw a terminal."""
    return _UNPRINTABLE.sub(" ", text or "").strip()


def accent(text: str, colour: str = "yellow") -> str:
    """What the eye should find first."""
    return click.style(text, fg=colour, bold=True)


def faint(text: str) -> str:
    """What is there to be looked up, not read."""
    return click.style(text, dim=True)


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[int] = ()) -> list[str]:
    """Rows as aligned columns under their headers; the columns in `right` hold numbers and end at the right."""
    cells = [[faint(header) for header in headers], *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(click.unstyle(row[column])) for row in cells) for column in range(len(headers))]
    ends_right = set(right)

    def pad(cell: str, column: int) -> str:
        space = " " * (widths[column] - len(click.unstyle(cell)))
        return space + cell if column in ends_right else cell + space

    return ["  ".join(pad(cell, column) for column, cell in enumerate(row)).rstrip() for row in cells]
