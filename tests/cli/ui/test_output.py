"""Values as text and as JSON."""

from __future__ import annotations

import json

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raie.cli.ui.output import JsonOutput, TextOutput, iso, one_line, short, size, table, times, when


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
