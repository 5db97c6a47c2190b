"""Questions on a terminal."""

from __future__ import annotations

import io

import pytest

from raie.cli.errors import Refused
from raie.cli.ui.confirm import ask


class Terminal(io.StringIO):
    """Somebody who has typed an answer."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("answer", ["n\n", "\n"])
def test_no_is_the_answer_unless_yes_is_given(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    with pytest.raises(Refused, match="nothing was changed"):
        ask("Delete it?", yes=False)


def test_yes_is_asked_for_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    ask("Delete it?", yes=False)
    assert "Delete it?" in capsys.readouterr().err
    ask("Delete it?", yes=True)
    assert capsys.readouterr().err == ""


def test_without_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(Refused, match="--yes"):
        ask("Delete it?", yes=False)
