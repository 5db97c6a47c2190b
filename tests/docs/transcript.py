"""A page's console blocks as what was typed and what came back, and whether that is what comes back today."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.docs.markdown import Block

__all__ = ["Exchange", "differences", "exchanges"]

LEFT_OUT = "…"
_TIMES = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d")


@dataclass(frozen=True)
class Exchange:
    """One command line and the lines that a page shows below it."""

    typed: str
    shown: tuple[str, ...]


def exchanges(block: Block) -> Iterator[Exchange]:
    """The commands of a block, each with its output."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        typed, *shown = part.rstrip().splitlines()
        yield Exchange(typed, tuple(shown))


def differences(shown: tuple[str, ...], printed: str) -> list[str]:
    """The lines of a page that do not stand in the output, in this order.

    Args:
        shown: Lines of the page. `…` stands for any lines, and at the end of a line for its rest.
        printed: What the command printed. Times differ and are not compared.
    """
    rest = [_TIMES.sub("TIME", line.rstrip()) for line in printed.rstrip().splitlines()]
    wrong, skipped = [], False
    for line in (_TIMES.sub("TIME", text.rstrip()) for text in shown):
        if line == LEFT_OUT:
            skipped = True
            continue
        start = line.removesuffix(LEFT_OUT).rstrip() if line.endswith(LEFT_OUT) else None
        fits = [text == line if start is None else text.startswith(start) for text in rest]
        index = fits.index(True) if True in fits else None
        if index is None or (index and not skipped):
            wrong.append(line)
            continue
        rest, skipped = rest[index + 1 :], False
    if rest and not skipped:
        wrong.append(f"not shown: {rest[0]}")
    return wrong
