"""Reports of setups and edits as text: what scores are made of, what each part is worth, and how repeats count."""

from __future__ import annotations

from typing import Any

import click
import pytest

from raie.cli.ui.reports import mixture_lines

PARTS = {
    "last": {"power": 0.5, "scale": 1.0, "worth": 0.01, "alone": 0.12},
    "model": {"power": 0.912, "scale": 2.5, "worth": 0.031, "alone": 0.2},
}
NEVER, OFTEN, ALIKE = [-3.0] * 9, [1.5] * 9, [0.1] * 9


def mixture(**changed: Any) -> dict[str, Any]:
    fitted = {"windows": 2000, "NDCG@10": 0.2092, "chosen": "all", "parts": PARTS, "repeats": NEVER, "again": 0.1}
    return fitted | changed


def test_every_part_is_shown_with_its_worth_and_what_is_worth_most_comes_first() -> None:
    assert [click.unstyle(line) for line in mixture_lines(mixture(), "scores  ", "    ")] == [
        "scores  fitted on 2,000 validation windows: NDCG@10 0.2092",
        "    part   weight  NDCG@10 lost without  NDCG@10 alone",
        "    model    0.91                0.0310         0.2000",
        "    last     0.50                0.0100         0.1200",
        "    items a user had before: rarely again",
    ]


def test_a_part_that_was_not_measured_alone_has_dashes() -> None:
    only = {"model": {"power": 1.0, "scale": 1.0, "worth": None, "alone": None}}
    assert mixture_lines(mixture(parts=only), "", "")[2].split() == ["model", "1.00", "-", "-"]


def test_what_is_better_than_all_parts_is_named() -> None:
    first = mixture_lines(mixture(chosen="without last"), "", "")[0]
    assert first.endswith("NDCG@10 0.2092 (without last is better than all parts)")


@pytest.mark.parametrize(
    ("repeats", "words"),
    [
        (NEVER, "rarely again"),
        (ALIKE, "as often as others"),
        (OFTEN, "more often than others"),
        (NEVER[:1] + OFTEN[1:], "the last one rarely again, earlier ones more often than others"),
    ],
)
def test_one_sentence_says_how_repeats_count(repeats: list[float], words: str) -> None:
    assert mixture_lines(mixture(repeats=repeats), "", "")[-1] == f"items a user had before: {words}"


def test_a_mixture_that_nothing_could_be_fitted_on_says_so_and_none_says_nothing() -> None:
    (line,) = mixture_lines(mixture(windows=0, **{"NDCG@10": None}), "scores  ", "")
    assert line == "scores  every part counts alike: no validation window says more"
    assert mixture_lines(None, "scores  ", "") == []
