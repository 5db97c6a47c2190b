"""What a command shows: one value, as text for a person or as JSON for a program.

A command builds its value once and hands it, with the function that renders it, to the output chosen by `--json`.
Times are epoch seconds in values and become ISO 8601 (UTC) here and nowhere else.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import click

from raie.cli.ui.activity import end_activity

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
_NOT_OURS = re.compile(rf"(\x1b\[(?:[0-2]|(?:[12];)*3[0-7])m)|[\x00-\x09\x0b-\x1f{_HIDDEN}]")
_GAP = 2
_FOLDED_TO = (12, 9, 4)
"""Cells that every column of text keeps before one of them is folded further: some words, one word, part of one."""


class Output(Protocol):
    """Where a command's value goes."""

    def show(self, value: Mapping[str, Any], render: Callable[[], Iterable[str]]) -> None:
        """Show a value.

        Args:
            value: The JSON object of the command.
            render: Gives the lines of text; called only where text is wanted.
        """


@dataclass(frozen=True)
class TextOutput:
    """Lines for a person; colour only where the terminal has it (click strips it elsewhere)."""

    def show(self, value: Mapping[str, Any], render: Callable[[], Iterable[str]]) -> None:
        """Print the rendered lines."""
        for line in render():
            say(line)


@dataclass(frozen=True)
class JsonOutput:
    """One JSON document for a program."""

    def show(self, value: Mapping[str, Any], render: Callable[[], Iterable[str]]) -> None:
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
    end_activity()
    # sys.stderr by name: click would write past the progress bars that stand on it, into one of their lines.
    click.echo(harmless(line), file=sys.stderr if err else None)


def harmless(text: str) -> str:
    """The text without anything that could steer a terminal, but for new lines and our own colors."""
    return _NOT_OURS.sub(lambda match: match[1] or " ", text)


def iso(epoch: float) -> str:
    """Epoch seconds as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def when(epoch: float) -> str:
    """Epoch seconds as a person reads them: UTC, to the minute."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M")


def times(**epochs: float | None) -> dict[str, Any]:
    """JSON keys of points in time: `name` in ISO 8601 and `name_epoch` in seconds; null where there is none."""
    keys: dict[str, Any] = {}
    for name, epoch in epochs.items():
        keys[name] = None if epoch is None else iso(epoch)
        keys[f"{name}_epoch"] = epoch
    return keys


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
    """Rows as aligned columns under their headers.

    Piped, a row is always one line. On a terminal that is too narrow the least important column, which is the last one
    of text, is folded into several lines. Where that is not enough the one before it is folded too, and so on.

    Args:
        headers: One per column.
        rows: Texts and numbers, one per column; a text may carry the colors of `accent` and `faint`.
        right: Columns of numbers, which end at the right.

    Returns:
        Lines without a border. Every text is shown as it is: nothing in it is markup.
    """
    lines = [[faint(header) for header in headers], *[[_on_one_line(value) for value in row] for row in rows]]
    ends_right = set(right)
    widths = [max(_width(line[column]) for line in lines) for column in range(len(headers))]
    limit = _terminal_width()
    if limit is not None and sum(widths) + _GAP * (len(widths) - 1) > limit:
        return _folded(lines, widths, ends_right, limit)

    def pad(value: str, column: int) -> str:
        space = " " * (widths[column] - _width(value))
        return space + value if column in ends_right else value + space

    return [(" " * _GAP).join(pad(value, column) for column, value in enumerate(line)).rstrip() for line in lines]


def _on_one_line(value: object) -> str:
    """A value of a table on one line, whatever a user wrote into it."""
    return harmless(str(value)).replace("\n", " ")


def _width(text: str) -> int:
    """Cells that a text takes on a terminal: two for a wide character, none for a combining one or a color."""
    from rich.cells import cell_len  # alone: a table that fits needs no more of rich, which takes longer to import

    return cell_len(click.unstyle(text))


def _terminal_width() -> int | None:
    """Cells in a line of the terminal; None where standard output is not one."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _folded(lines: Sequence[Sequence[str]], widths: Sequence[int], right: set[int], limit: int) -> list[str]:
    """The lines of a table in `limit` cells; a text that its column has no space for goes on in the next line."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, _GAP, 0, 0))
    for column, width in enumerate(_narrowed(widths, right, limit)):
        grid.add_column(justify="right" if column in right else "left", overflow="fold", width=width)
    for line in lines:
        grid.add_row(*map(Text.from_ansi, line))
    console = Console(
        file=io.StringIO(), width=limit, color_system="standard", force_terminal=True, no_color=False
    )
    with console.capture() as captured:
        console.print(grid)
    # A line is empty where only the space between two words was folded.
    return [line.rstrip() for line in captured.get().splitlines() if click.unstyle(line).strip()]


def _narrowed(widths: Sequence[int], right: set[int], limit: int) -> list[int]:
    """Widths that fit in `limit` cells: columns of text give way, the last one first, and numbers only at the end."""
    narrowed = list(widths)
    columns = sorted(range(len(widths)), key=lambda column: (column in right, -column))
    texts = [column for column in columns if column not in right]
    for order, least in (*((texts, least) for least in _FOLDED_TO), (columns, 1)):
        for column in order:
            excess = sum(narrowed) + _GAP * (len(narrowed) - 1) - limit
            narrowed[column] -= max(0, min(excess, narrowed[column] - least))
    return narrowed
