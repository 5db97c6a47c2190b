"""The pages as text: their fenced blocks, their prose, the targets of their links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["INLINE", "PAGES", "ROOT", "Block", "blocks", "every_block", "heading_links", "prose", "relative"]

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")})
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: the page it stands in, its language and its text."""

    page: Path
    language: str
    text: str

    @property
    def lines(self) -> list[str]:
        """The command lines of a console or shell block."""
        lines = self.text.splitlines()
        if self.language == "console":
            return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return [line for line in lines if line and not line.startswith("#")]


def every_block(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [Block(page, *parts) for parts in _BLOCK.findall(page.read_text(encoding="utf-8"))]


def blocks(page: Path, *languages: str) -> list[Block]:
    """The fenced blocks in some languages, in order."""
    return [block for block in every_block(page) if block.language in languages]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


def relative(path: Path) -> str:
    """The path from the repository's root."""
    return path.relative_to(ROOT).as_posix()


def heading_links(page: Path) -> set[str]:
    """What the headings of a page can be linked by."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
