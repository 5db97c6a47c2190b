"""Draws what a terminal shows as an SVG that reads in light and in dark mode.

    raie log | python docs/terminal_picture.py 'raie log' > docs/images/log.svg

with colours kept, as `script -qec 'raie log' /dev/null` keeps them. Every run of one colour stands at its own index,
so columns stay aligned in any fixed-width font.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html import escape

__all__ = ["picture"]

COLUMNS = 104
_ADVANCE, _LINE, _EDGE = 7.83, 19, 18  # of 13 px text; pixels
_ESCAPE = re.compile(r"\x1b\[([0-9;]*)m")
_NAMES = {"1": "bold", "2": "faint", "31": "red", "32": "green", "33": "yellow", "35": "magenta", "36": "cyan"}
_STYLE = """\
    text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #1f2328;
           white-space: pre; }
    rect { fill: #f6f8fa; stroke: #d1d9e0; }
    .bold { font-weight: 600; } .faint { fill: #6e7781; } .prompt { fill: #6e7781; }
    .red { fill: #cf222e; } .green { fill: #116329; } .yellow { fill: #7d4e00; }
    .magenta { fill: #8250df; } .cyan { fill: #0b5c8a; }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc; }
      rect { fill: #151b23; stroke: #3d444d; }
      .faint, .prompt { fill: #9198a1; }
      .red { fill: #ff7b72; } .green { fill: #56d364; } .yellow { fill: #e3b341; }
      .magenta { fill: #d2a8ff; } .cyan { fill: #76e3ea; }
    }"""


def picture(command: str, shown: str) -> str:
    """The SVG of a command line and of what it showed, with the terminal's colour codes in it."""
    lines = [[("prompt", "$ "), ("bold", command)], [], *map(_runs, shown.rstrip("\n").splitlines())]
    lines = [folded for line in lines for folded in _folded(line)]
    width, height = round(COLUMNS * _ADVANCE + 2 * _EDGE), len(lines) * _LINE + 2 * _EDGE - 4
    texts = [_text(line, _EDGE + 11 + number * _LINE) for number, line in enumerate(lines) if line]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    )
    frame = f'  <rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="6"/>'
    title = f"  <title>{escape(command)}</title>"
    return "\n".join(
        [f'{head} role="img">', title, "  <style>", _STYLE, "  </style>", frame, *texts, "</svg>", ""]
    )


def _runs(line: str) -> list[tuple[str, str]]:
    """(classes, text) of one line."""
    runs, style = [], ""
    for index, part in enumerate(_ESCAPE.split(line.replace("\r", ""))):
        if index % 2 == 0:
            runs.append((style, part))
        else:
            codes = [_NAMES[code] for code in part.split(";") if code in _NAMES]
            style = " ".join([style, *codes]).strip() if codes else ""
    return [(style, text) for style, text in runs if text]


def _folded(line: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """A line too long for the terminal goes on in the next one, at a space, as a person would break it."""
    length = sum(len(text) for _, text in line)
    while length > COLUMNS:
        whole = "".join(text for _, text in line)
        at = whole.rfind(" ", 0, COLUMNS) + 1 or COLUMNS
        yield list(_part(line, 0, at))
        line = [("", "  "), *_part(line, at, length)]
        length = sum(len(text) for _, text in line)
    yield line


def _part(line: list[tuple[str, str]], start: int, stop: int) -> Iterator[tuple[str, str]]:
    at = 0
    for style, text in line:
        piece = text[max(0, start - at) : max(0, stop - at)]
        at += len(text)
        if piece:
            yield style, piece


def _text(line: list[tuple[str, str]], y: int) -> str:
    spans, at = [], 0
    for style, text in line:
        for phrase in re.finditer(r"\S+(?: \S+)*", text):
            x = _EDGE + (at + phrase.start()) * _ADVANCE
            stretch = f'x="{x:.1f}" textLength="{len(phrase[0]) * _ADVANCE:.1f}"'
            about = f' class="{style}"' if style else ""
            spans.append(f"<tspan {stretch}{about}>{escape(phrase[0], quote=False)}</tspan>")
        at += len(text)
    return f'  <text y="{y}">{"".join(spans)}</text>'


if __name__ == "__main__":
    sys.stdout.write(picture(sys.argv[1], sys.stdin.read()))
