"""Values as text and as JSON."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from raie.cli.ui.output import JsonOutput, TextOutput, harmless, iso, one_line, short, size, table, times, when


class Terminal(io.StringIO):
    """Standard output that somebody looks at."""

    def isatty(self) -> bool:
        return True


def test_times_are_shown_in_utc_and_in_json_as_iso_and_epoch() -> None:
    assert when(1_750_000_000) == "2025-06-15 15:06"
    assert times(at=1_750_000_000.5, closed_at=None) == {
        "at": "2025-06-15T15:06:40Z",
        "at_epoch": 1_750_000_000.5,
        "closed_at": None,
        "closed_at_epoch": None,
    }
    assert iso(0) == "1970-01-01T00:00:00Z"


def test_columns_stay_aligned_around_colour_and_numbers_end_at_the_right() -> None:
    rows = [["a", click.style("long name", fg="red"), 7], ["b", "x", 1234]]
    assert [click.unstyle(line) for line in table(["id", "name", "rows"], rows, right=[2])] == [
        "id  name       rows",
        "a   long name     7",
        "b   x          1234",
    ]


WIDE = [
    [1, click.style("abandoned", fg="red"), "日本語の理由 [red]not markup[/red] and so on"],
    [22, "e\u0301", "-"],
]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[str]]:
    """The table WIDE on a terminal of so many cells, without its colors."""

    def rendered(cells: int) -> list[str]:
        monkeypatch.setattr("sys.stdout", Terminal())
        monkeypatch.setenv("COLUMNS", str(cells))
        return [click.unstyle(line) for line in table(["edit", "state", "why"], WIDE, right=[0])]

    return rendered


def test_a_wide_character_takes_two_cells_and_a_combining_one_none() -> None:
    assert [click.unstyle(line) for line in table(["edit", "state", "why"], WIDE, right=[0])] == [
        "edit  state      why",
        "   1  abandoned  日本語の理由 [red]not markup[/red] and so on",
        "  22  e\u0301          -",
    ]


def test_a_narrow_terminal_folds_the_least_important_column_and_no_other(
    narrow: Callable[[int], list[str]],
) -> None:
    assert narrow(48) == [
        "edit  state      why",
        "   1  abandoned  日本語の理由 [red]not",
        "                 markup[/red] and so on",
        "  22  e\u0301          -",
    ]
    assert len(narrow(80)) == 3


def test_no_line_of_a_table_is_longer_than_the_terminal_and_no_text_is_lost(
    narrow: Callable[[int], list[str]],
) -> None:
    whole = Counter("".join(narrow(200)).replace(" ", ""))
    for cells in range(14, 60, 5):
        lines = narrow(cells)
        assert max(map(cell_len, lines)) <= cells
        assert Counter("".join(lines).replace(" ", "")) == whole


def test_colors_of_a_folded_table_are_ours(narrow: Callable[[int], list[str]]) -> None:
    assert narrow(48)
    lines = table(["edit", "state", "why"], WIDE, right=[0])
    assert any("\x1b[31mabandoned" in line for line in lines)
    assert [harmless(line) for line in lines] == lines


@pytest.mark.parametrize(
    "text", ["a\nb", "\r\x1b[2Ka", "\x1b]0;title\x07", "\u202eabc", "\x85", "[bold]a[/bold]", "\x9b1A"]
)
def test_a_text_in_a_table_can_neither_break_its_line_nor_redraw_the_terminal(text: str) -> None:
    lines = table(["why", "n"], [[text, 1]])
    assert len(lines) == 2
    assert harmless(lines[1]) == lines[1]


@given(st.text())
def test_somebodys_words_can_neither_break_a_line_nor_redraw_the_terminal(text: str) -> None:
    shown = one_line(text)
    assert len(shown.splitlines()) <= 1
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 * 1024**3, "3.0 GiB"), (2**51, "2048.0 TiB")],
)
def test_sizes_are_shown_in_the_unit_a_person_would_choose(count: int, shown: str) -> None:
    assert size(count) == shown


def test_a_digest_is_shortened_to_what_can_be_typed_back() -> None:
    assert short("0123456789abcdef") == "0123456789ab"
    assert short(None) == "-"


def test_json_is_one_document_and_draws_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    JsonOutput().show({"name": "Zoë"}, lambda: pytest.fail("text was drawn"))
    assert json.loads(capsys.readouterr().out) == {"name": "Zoë"}


def test_a_number_that_json_does_not_have_is_never_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        JsonOutput().show({"loss": float("nan")}, list)


def test_text_has_no_colour_where_it_is_not_shown_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    TextOutput().show({}, lambda: [click.style("x", fg="red")])
    assert capsys.readouterr().out == "x\n"
