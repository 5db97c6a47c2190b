"""Each question of an incident is answered by one command, with the output that the page shows."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.cli.conftest import Raie
from tests.docs.markdown import ROOT, blocks
from tests.docs.transcript import differences, exchanges

PAGE = ROOT / "docs" / "howto" / "incident-questions.md"
CODES = {"status": 7, "policy": 1}


def test_every_question_of_an_incident_is_answered_as_the_page_shows(
    incident: Raie, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [exchange for block in blocks(PAGE, "console") for exchange in exchanges(block)]
    for exchange in asked:
        words = shlex.split(exchange.typed)
        with monkeypatch.context() as patch:
            while "=" in words[0]:
                patch.setenv(*words.pop(0).split("=", 1))
            ran = incident(*words[1:])
        assert ran.code == CODES.get(words[1], 0), f"{exchange.typed}: {ran.err}"
        assert differences(exchange.shown, ran.out) == [], f"{exchange.typed} printed\n{ran.out}"


def test_there_are_twenty_questions_with_one_command_each() -> None:
    questions = re.findall(r"^## ", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(questions) == len(blocks(PAGE, "console")) == 20
    assert all(len(list(exchanges(block))) == 1 for block in blocks(PAGE, "console"))


@pytest.mark.parametrize(
    ("shown", "wrong"),
    [
        ("a\nb\nc", []),
        ("a\n…\nc", []),
        ("a\nb\n…", []),
        ("a\nc", ["c", "not shown: b"]),
        ("a\nb", ["not shown: c"]),
        ("c\n…", ["c"]),
    ],
)
def test_a_line_that_is_missing_or_left_out_without_a_mark_is_found(shown: str, wrong: list[str]) -> None:
    assert differences(tuple(shown.splitlines()), "a\nb\nc\n") == wrong
