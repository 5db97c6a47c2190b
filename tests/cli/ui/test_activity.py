"""The bar of a command that takes long: it comes late, ends at 100 %, and never stands in a line of output."""

from __future__ import annotations

import re
import time
from contextlib import redirect_stderr

import click
import pytest

from raie.cli.ui import activity
from raie.cli.ui.activity import activity_bar
from raie.cli.ui.output import say
from raie.cli.ui.progress import progress_bars
from tests.cli.ui.test_progress import Terminal


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal, to be standard error, and a patience of a moment."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(activity, "PATIENCE_S", 0.01)
    return Terminal()


def command(name: str = "verify", *, color: bool | None = None) -> click.Context:
    return click.Context(click.Command(name), info_name=name, color=color)


def until_rendered(terminal: Terminal) -> None:
    end = time.monotonic() + 10
    while not terminal.lines and time.monotonic() < end:
        time.sleep(0.01)


def test_a_command_that_takes_long_has_a_bar_that_ends_at_100_percent(terminal: Terminal) -> None:
    with redirect_stderr(terminal), command() as context, activity_bar(context):
        until_rendered(terminal)
    assert terminal.lines[0].startswith("verify ")
    assert "100%" in terminal.lines[-1]


def test_a_command_that_is_quick_has_none(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "PATIENCE_S", 60)
    with redirect_stderr(terminal), command() as context, activity_bar(context):
        pass
    assert terminal.getvalue() == ""


def test_a_bar_has_no_color_where_none_is_wanted(terminal: Terminal) -> None:
    with redirect_stderr(terminal), command(color=False) as context, activity_bar(context):
        until_rendered(terminal)
    assert terminal.lines
    assert re.search(r"\x1b\[[0-9;]+m", terminal.getvalue()) is None


def test_what_a_command_prints_ends_its_bar_and_stands_below_it(terminal: Terminal) -> None:
    with redirect_stderr(terminal), command() as context, activity_bar(context):
        until_rendered(terminal)
        say("note: done", err=True)
        time.sleep(0.15)
    assert terminal.lines[-1] == "note: done"
    assert "100%" in terminal.lines[-2]


def test_bars_of_stages_take_its_place(terminal: Terminal) -> None:
    with redirect_stderr(terminal), command() as context, activity_bar(context):
        until_rendered(terminal)
        with progress_bars() as report:
            report("regions", 3, 3)
    assert terminal.lines[-1].startswith("regions ")


def test_a_command_that_fails_leaves_its_bar_unfinished(terminal: Terminal) -> None:
    def fails() -> None:
        with redirect_stderr(terminal), command() as context, activity_bar(context):
            until_rendered(terminal)
            raise ValueError("lost")

    with pytest.raises(ValueError, match="lost"):
        fails()
    assert terminal.lines
    assert not any("100%" in line for line in terminal.lines)


@pytest.mark.parametrize(("name", "dumb"), [("ui", False), ("export", False), ("verify", True)])
def test_none_where_the_screen_is_the_commands_own_or_cannot_show_one(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, name: str, dumb: bool
) -> None:
    if dumb:
        monkeypatch.setenv("TERM", "dumb")
    with redirect_stderr(terminal), command(name) as context, activity_bar(context):
        time.sleep(0.1)
    assert terminal.getvalue() == ""
