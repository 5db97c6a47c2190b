"""The words that have better ones stand nowhere."""

from __future__ import annotations

import pytest

from tests.words import FILES, FOLDERS, KEPT, ROOT, hits_in


@pytest.mark.parametrize("name", [*FOLDERS, *FILES])
def test_no_word_stands_here_that_has_a_better_one(name: str) -> None:
    assert hits_in(name) == []


def test_every_line_that_keeps_its_word_is_still_there() -> None:
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    texts = [path.read_text(encoding="utf-8") for path in [*paths, *(ROOT / name for name in FILES)]]
    lines = {line.strip() for text in texts for line in text.splitlines()}
    assert [line for line in KEPT if line not in lines] == []
