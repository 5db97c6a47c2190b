"""Progress bars: a bar per stage that ends at 100 %, on a terminal and nowhere else."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr

import click
import pytest

from raie.cli import main
from raie.cli.ui import progress
from raie.cli.ui.output import say
from raie.cli.ui.progress import patient_bars, progress_bars, progress_bars_or_lines
from raie.workspace import Workspace


class Terminal(io.StringIO):
    """A terminal that keeps everything that was written to it."""

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        """Every line that was ever rendered, without colors and movements of the cursor."""
        return [
            line for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue())) if line
        ]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of 80 cells, to be standard error."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


def _two_stages(terminal: Terminal) -> None:
    with redirect_stderr(terminal), progress_bars() as report:
        report("backbone, validation NDCG@10 0.1000", 1, 200)
        report("backbone, validation NDCG@10 0.2000", 2, 200)
        report("regions", 0, 3)
        report("regions", 3, 3)


def test_a_stage_that_stops_early_ends_at_100_percent(terminal: Terminal) -> None:
    _two_stages(terminal)
    last = {line.split()[0].rstrip(","): line for line in terminal.lines}
    assert list(last) == ["backbone", "regions"]
    assert "NDCG@10 0.2000" in last["backbone"]
    assert all("100%" in line for line in last.values())


def test_a_bar_whose_total_grows_never_moves_back(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_REDRAWN_S", 0.0)
    with redirect_stderr(terminal), progress_bars() as report:
        for epoch, total in ((1, 4), (5, 8), (6, 12), (9, 12)):
            report(f"backbone, epoch {epoch}", epoch, total)
    shares = [int(match[1]) for line in terminal.lines if (match := re.search(r"(\d+)%", line))]
    assert shares == sorted(shares)
    assert {25, 62, 75, 100} <= set(shares)


def test_a_stage_that_fails_stays_where_it_was(terminal: Terminal) -> None:
    def fails() -> None:
        with redirect_stderr(terminal), progress_bars() as report:
            report("regions", 1, 4)
            raise ValueError("lost")

    with pytest.raises(ValueError, match="lost"):
        fails()
    assert not any("100%" in line for line in terminal.lines)


def test_markup_in_the_name_of_a_stage_is_shown_as_it_is(terminal: Terminal) -> None:
    with redirect_stderr(terminal), progress_bars() as report:
        report("[red]games[/red]", 1, 1)
    assert terminal.lines[-1].startswith("[red]games[/red] ")


def test_a_note_that_comes_meanwhile_has_a_line_of_its_own(terminal: Terminal) -> None:
    with redirect_stderr(terminal), progress_bars() as report:
        report("regions", 1, 4)
        say("note: three ids are new", err=True)
    assert "note: three ids are new" in [line.rstrip() for line in terminal.lines]


@pytest.mark.parametrize("color", [None, False])
def test_bars_have_no_color_where_none_is_wanted(terminal: Terminal, color: bool | None) -> None:
    with click.Context(click.Command("setup"), color=color):
        _two_stages(terminal)
    assert (re.search(r"\x1b\[[0-9;]+m", terminal.getvalue()) is None) == (color is False)


def test_a_terminal_that_cannot_move_its_cursor_gets_no_bar(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    _two_stages(terminal)
    assert terminal.getvalue() == ""


def test_without_a_terminal_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars() as report:
        report("regions", 1, 4)
    assert capsys.readouterr() == ("", "")


def test_a_long_command_prints_a_line_for_each_finished_step_where_no_bar_can_move(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress_bars_or_lines() as report:
        report("backbones", 0, 1)
        report("backbones of seed 1, validation NDCG@10 0.1000", 1, 200)
        report("backbones", 1, 1)
        report("steps", 1, 3)
        report("steps, RAIE, seed 1, edit 1", 2, 3)
        report("steps, RAIE, seed 1, edit 2", 3, 3)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "backbones: 1 of 1",
        "steps: 2 of 3, RAIE, seed 1, edit 1",
        "steps: 3 of 3, RAIE, seed 1, edit 2",
    ]


def test_a_long_command_has_bars_and_no_lines_on_a_terminal(terminal: Terminal) -> None:
    with redirect_stderr(terminal), progress_bars_or_lines() as report:
        report("steps, RAIE, seed 1, edit 1", 1, 2)
    assert not any(line.startswith("steps: ") for line in terminal.lines)
    assert "100%" in terminal.lines[-1]


@pytest.mark.parametrize("patience_s", [0.0, 60.0])
def test_a_command_that_is_quick_as_a_rule_has_bars_only_once_it_has_worked_for_a_while(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, patience_s: float
) -> None:
    monkeypatch.setattr(progress, "PATIENCE_S", patience_s)
    with redirect_stderr(terminal), patient_bars() as report:
        report("reading blobs back", 0, 2)
        report("reading blobs back", 1, 2)
    assert bool(terminal.lines) == (patience_s == 0.0)
    assert all("reading blobs back" in line for line in terminal.lines)
    assert not terminal.lines or "100%" in terminal.lines[-1]


@pytest.mark.parametrize("command", [["verify"], ["backup", "monday", "--blobs"], ["gc", "--grace", "0", "--yes"]])
def test_a_command_that_knows_its_total_shows_how_far_it_is(
    terminal: Terminal, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    workspace.registry().put(b"nobody's")
    monkeypatch.setattr(progress, "PATIENCE_S", 0.0)
    with redirect_stderr(terminal):
        assert main.run(command) == 0
    assert any("blobs" in line and "100%" in line for line in terminal.lines)
