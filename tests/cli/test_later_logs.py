"""A model's later log: ids that are known ones respelt stop an edit, and the advice of a refusal can be followed."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from raie.edits.workflow import plan_edit
from tests.cli.conftest import Raie
from tests.cli.trained import FIRST, LOG, MODEL, SECOND, opened, refused, state

PLAN = ("edit", "plan", LOG, "--until", FIRST)
APPLY = ("edit", "apply", LOG, "--until", FIRST, "--workers", "1")
SPELLINGS: dict[str, tuple[Callable[[str, str], tuple[str, str]], str]] = {
    "item float": (lambda user, item: (user, f"{item}.0"), 'item ids end in ".0"'),
    "user blank": (lambda user, item: (f"{user} ", item), "user ids differ in blanks around them"),
    "item case": (lambda user, item: (user, item.swapcase()), "item ids differ in upper and lower case"),
    "swapped": (lambda user, item: (item, user), "the columns of users and items look swapped"),
    "another scheme": (lambda user, item: (user, f"#{item}#"), "their ids are others"),
}


def respelt(folder: Path, how: str, *, separator: str = ",") -> None:
    """The log with every row spelt otherwise."""
    spell = SPELLINGS[how][0] if how in SPELLINGS else lambda user, item: (user, item)
    lines = (folder / LOG).read_text().splitlines()
    rows = [line.split(",") for line in lines[1:]]
    text = [separator.join((*spell(user, item), at)) for user, item, at in rows]
    (folder / LOG).write_text("\n".join([lines[0].replace(",", separator), *text]) + "\n")


@pytest.mark.parametrize("how", SPELLINGS)
def test_an_edit_of_ids_that_are_known_ones_respelt_is_refused_with_the_cause(
    raie: Raie, ready: Path, how: str
) -> None:
    respelt(ready, how)
    before = state(ready)
    for command in (PLAN, APPLY):
        refused(raie(*command), 3, [LOG, "known users", "known items", SPELLINGS[how][1], "--accept-new-ids"])
    assert state(ready) == before


def test_new_ids_pass_on_purpose_and_the_plan_shows_how_few_are_known(raie: Raie, ready: Path) -> None:
    honest = raie(*PLAN, "--json").json["known"]
    assert honest["items"]["row_share"] > 0.9
    assert honest["reference"]["items"]["rows"] > 0.9
    assert honest["doubt"] is None
    respelt(ready, "item float")
    ran = raie(*PLAN, "--accept-new-ids")
    assert ran.code == 0, ran.err
    assert "known items 0.0% of rows (0 of " in ran.out
    assert "known users 100.0% of rows" in ran.out
    known = raie(*PLAN, "--accept-new-ids", "--json").json["known"]
    assert (known["items"]["known_ids"], known["users"]["id_share"]) == (0, 1.0)
    for command in (("drift", LOG, "--until", FIRST), ("evaluate", LOG, "--until", FIRST)):
        looked = raie(*command)
        assert looked.code == 0, looked.err
        assert "known items 0.0% of rows" in looked.out
        assert 'item ids end in ".0"' in looked.err
        assert raie(*command, "--json").json["known"]["items"]["known_ids"] == 0


def test_what_later_slices_are_measured_against_is_kept_with_every_edit(raie: Raie, edited: Path) -> None:
    registry = opened(edited)
    first, second = (registry.edit(MODEL, number).report["known"] for number in (1, 2))
    for role in ("users", "items"):
        for share, of in (("row_share", "rows"), ("id_share", "ids")):
            assert second["reference"][role][of] == min(first["reference"][role][of], second[role][share])
    assert "known items" in raie("edit", "show", "2").out


def test_the_gain_on_known_items_is_told_apart_and_a_policy_can_ask_for_it(raie: Raie, edited: Path) -> None:
    report = opened(edited).edit(MODEL, 2).report
    assert 0 < report["adaptation_known"]["windows"] <= report["adaptation"]["windows"]
    assert "of known items" in raie("edit", "show", "2").out
    against = ("evaluate", LOG, "--against", "edit:1", "--until", SECOND)
    comparison = raie(*against, "--json").json["comparison"]
    assert comparison["adaptation_known"]["windows"] <= comparison["adaptation"]["windows"]
    assert "on known items' new windows" in raie(*against).out
    assert raie("promote", "edit:1").code == 0
    assert raie("policy", "set", "production", "--adaptation-known", "1").code == 0
    ran = raie("promote", "head")
    assert ran.code == 1
    assert "adaptation, known items: expected Recall@10 to change by +1 or more" in ran.err.splitlines()[-1]
    assert raie("policy", "show", "--json").json["policies"][0]["adaptation_known"] == 1.0
    assert raie("policy", "set", "production", "--adaptation-known", "-1").code == 0
    assert raie("promote", "head").code == 0


def test_the_advice_on_duplicate_rows_of_a_later_log_can_be_followed(raie: Raie, ready: Path) -> None:
    honest = raie(*PLAN, "--json").json
    lines = (ready / LOG).read_text().splitlines(keepends=True)
    (ready / LOG).write_text("".join([*lines, lines[-1]]))
    for command in (PLAN, ("drift", LOG), ("evaluate", LOG)):
        refused(raie(*command), 3, ["--duplicates drop"])
    assert raie(*PLAN, "--duplicates", "drop", "--json").json["plan"] == honest["plan"]
    for command in (("drift", LOG, "--duplicates", "drop"), ("evaluate", LOG, "--duplicates", "keep")):
        ran = raie(*command)
        assert ran.code == 0, ran.err


def test_an_edit_reads_its_log_otherwise_only_when_told_and_keeps_what_it_was_told(
    raie: Raie, ready: Path
) -> None:
    honest = raie(*PLAN, "--json").json["plan"]
    respelt(ready, "", separator="^")
    refused(raie(*PLAN), 3, ["'user_id'"])
    assert raie(*PLAN, "--separator", "^", "--json").json["plan"] == honest
    reading = {"separator": "^", "duplicates": "drop"}
    plan = plan_edit(opened(ready), MODEL, ready / LOG, FIRST, None, reading=reading, accept_new_ids=True)
    assert plan.facts["reading"] == reading, "the edit's parameters"
    assert plan.facts["accepted_new_ids"] is True
    assert plan.known.least is not None
    assert plan.facts["known"]["reference"] == plan.known.least.to_mapping(), "accepted ids lower nothing"


def test_a_log_of_another_kind_is_read_with_a_note_and_plans_the_same(raie: Raie, ready: Path) -> None:
    honest = raie(*PLAN, "--json").json["plan"]
    text = (ready / LOG).read_text().replace(",", "\t").replace("user_id\titem_id", "userId\tmovieId", 1)
    (ready / LOG).write_bytes(gzip.compress(text.encode()))
    ran = raie(*PLAN, "--json")
    assert ran.json["plan"] == honest
    assert ran.err == "note: read as MovieLens' ratings.csv, separated by tabs: userId, movieId, timestamp\n"
    described = raie("data", "describe", LOG, "--json").json
    assert described["read_as"].startswith("read as MovieLens' ratings.csv")


@pytest.mark.parametrize("separator", ["", "::", "\n", "tabs", '"'])
def test_a_separator_that_is_none_is_wrong_usage(raie: Raie, separator: str) -> None:
    ran = raie("data", "describe", LOG, "--separator", separator)
    assert ran.code == 2
    assert "comma, tab, semicolon, pipe or one character" in ran.err


def test_a_demo_hands_on_how_its_log_is_read() -> None:
    from raie.cli.ui.log_options import option_words

    given = {"user_column": "1", "item_column": None, "separator": ";", "header": False}
    assert option_words(given) == ["--user-column", "1", "--separator", ";", "--no-header"]
