"""`raie evaluate` and `recommend`: what was asked for is what is said, and what is missing is named."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas
import pytest

from raie.edits.workflow import open_view
from raie.registry import Author
from raie.workspace_file import find
from tests.cli import trained
from tests.cli.conftest import Raie
from tests.cli.trained import FIRST, LOG, MODEL, SECOND, SETUP, head_of, opened, refused


def appended(folder: Path, *rows: str) -> None:
    """Give the log these rows too, all at one time after its end."""
    with (folder / LOG).open("a", encoding="utf-8") as file:
        file.writelines(f"{row},1735689600\n" for row in rows)


@pytest.fixture
def rare(ready: Path) -> Path:
    """A log in which newcomers have known and unknown items, and one user of the setup has no row."""
    text = (ready / LOG).read_text(encoding="utf-8")
    (ready / LOG).write_text(re.sub(r"^u00003,.*\n", "", text, flags=re.MULTILINE), encoding="utf-8")
    strange = [f"strange-{number}" for number in range(12)]
    appended(ready, "mixed,t0-core-00", "mixed,t0-core-01", *(f"mixed,{item}" for item in strange))
    appended(ready, "one,t0-core-00", "one,strange-0", "lost,strange-0", "lost,strange-1")
    return ready


def test_a_user_without_a_row_in_the_log_is_named_and_nobody_is_answered(raie: Raie, rare: Path) -> None:
    refused(raie("recommend", LOG, "--user", "nosuch"), 3, ["have a row", LOG, "'nosuch'"])
    everybody = [term for user in ("u00007", "nosuch", "u00003", "nosuch") for term in ("--user", user)]
    ran = raie("recommend", LOG, *everybody)
    refused(ran, 3, ["found none of 'nosuch', 'u00003':", LOG])
    assert "edit" not in ran.err, "a user needs rows in the log, and no edit"


def test_a_user_of_nothing_but_unknown_items_gets_what_is_popular_and_no_region(raie: Raie, rare: Path) -> None:
    users = ("--user", "u00007", "--user", "lost")
    known, lost = raie("recommend", LOG, *users, "--json").json["recommendations"]
    assert (lost["region"], lost["ignored"], lost["context"], len(lost["items"])) == (None, 2, [], 10)
    assert known["region"] in (0, 1, 2)
    view = open_view(opened(rare), opened(rare).resolve(MODEL, "head"))
    assert view.log_counts is not None
    popular = np.argsort(-view.log_counts.trend, kind="stable")[:10].tolist()
    assert [best["item"] for best in lost["items"]] == view.catalogue.item_ids(popular)
    text = raie("recommend", LOG, *users).out
    assert "\nlost  cold: what is popular; 2 items unknown, left out\n" in text
    frame = find(rare)["head"].recommend(LOG, 1, users=["u00007", "lost"])
    assert [None if value is pandas.NA else value for value in frame["region"]] == [known["region"], None]


def test_a_model_without_a_mixture_refuses_a_user_of_unknown_items_and_may_have_lost_a_setup(
    raie: Raie, rare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAIE_MODEL", "another")
    with (rare / "raie.toml").open("a", encoding="utf-8") as file:
        file.write('\n[engine.mixture]\nparts = ""\n')
    begun = opened(rare).begin("another", "setup", seed=1, author=Author("ada"))
    opened(rare).abort("another", begun.number, force=True)
    assert raie("setup", LOG, "--until", SETUP).code == 0
    assert "mixture" not in raie("edit", "show", "2").out
    ran = raie("recommend", LOG, "--user", "u00007", "--user", "lost", "--user", "mixed")
    refused(ran, 3, ["found none of 'lost':", LOG, "knows"])
    shown = raie("evaluate", LOG, "--until", FIRST, "--json").json
    assert shown["models"]["never edited"] == shown["models"][shown["snapshot"][:12]]


def test_unknown_items_are_left_out_and_said(raie: Raie, rare: Path) -> None:
    users = ("--user", "mixed", "--user", "one")
    mixed, single = raie("recommend", LOG, *users, "--json").json["recommendations"]
    assert (mixed["context"], mixed["ignored"]) == (["t0-core-00", "t0-core-01"], 12)
    assert (single["context"], single["ignored"]) == (["t0-core-00"], 1)
    text = raie("recommend", LOG, *users).out
    assert ", after t0-core-00, t0-core-01; 12 items unknown, left out\n" in text
    assert ", after t0-core-00; 1 item unknown, left out\n" in text
    same = raie("recommend", "--items", "t0-core-00,t0-core-01", "--json").json["recommendations"][0]
    assert (same["items"], same["ignored"]) == (mixed["items"], 0)
    assert "unknown" not in raie("recommend", "--items", "t0-core-00").out


def test_a_user_whose_rows_a_threshold_leaves_out_is_told_of_it(
    raie: Raie, ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, *rows = (ready / LOG).read_text(encoding="utf-8").splitlines()
    rated = [f"{header},rating", *(f"{row},{1 if row.startswith('u00007,') else 5}" for row in rows)]
    (ready / "rated.csv").write_text("\n".join(rated), encoding="utf-8")
    monkeypatch.setenv("RAIE_MODEL", "another")
    assert raie("setup", "rated.csv", "--until", SETUP, "--min-rating", "4").code == 0
    refused(raie("recommend", "rated.csv", "--user", "u00007"), 3, ["a row rated 4 or more", "'u00007'"])


def changes(text: str) -> dict[tuple[str, str], str]:
    """Windows and other model -> what changed, of every line that shows a change."""
    lines = re.findall(r"^Recall@10 on (new|setup) windows, \w+ against (.+?): (.*)$", text, re.MULTILINE)
    return {(windows, second): change for windows, second, change in lines}


def test_evaluate_says_in_text_too_what_changed_against_the_snapshot_that_was_asked_for(
    raie: Raie, edited: Path
) -> None:
    asked = ("evaluate", LOG, "--ref", "edit:2", "--against", "edit:1", "--until", SECOND)
    comparison = raie(*asked, "--json").json["comparison"]
    second = opened(edited).resolve(MODEL, "edit:1").id[:12]
    text = raie(*asked).out
    assert f"Recall@10 on new windows, {head_of(edited)[:12]} against {second}: " in text
    message = changes(text)
    assert set(message) == {("new", "never edited"), ("new", second), ("setup", second)}
    for windows, part in (("new", "adaptation"), ("setup", "retention")):
        change = comparison[part]["Recall@10 change"]
        interval = f"95 % {change['low']:+.4f} to {change['high']:+.4f}, by user"
        assert message[windows, second] == f"{change['mean']:+.4f} ({interval})"
    assert set(changes(raie(*asked[:4]).out)) == {("new", "never edited")}


def test_never_edited_is_the_setup_and_after_its_expiry_the_frozen_backbone_which_is_said(
    raie: Raie, edited: Path
) -> None:
    asked = ("evaluate", LOG, "--until", SECOND, "--json")
    before = raie(*asked)
    models = before.json["models"]
    setup = raie(*asked, "--ref", "edit:2", "--against", "edit:1").json
    assert (models["never edited"], before.err) == (setup["models"][setup["against"][:12]], "")
    assert raie("expire", "--keep-last", "1", "--reason", "disk", "--yes").code == 0
    assert raie("gc", "--grace", "0", "--yes").code == 0
    after = raie(*asked)
    head = head_of(edited)[:12]
    assert (after.code, after.json["models"][head]) == (0, models[head])
    assert after.json["models"]["never edited"] != models["never edited"]
    assert after.err.startswith("note: the snapshot of the setup has expired: ")


def test_evaluate_says_of_how_many_interactions_and_why_not_of_all(raie: Raie, rare: Path) -> None:
    shown = raie("evaluate", LOG, "--json").json
    covered = shown["coverage"]
    assert covered["evaluated"] == covered["interactions"] - covered["first"] == shown["new_windows"]
    assert (covered["first"], shown["cold"]) == (3, 1), "mixed, one and lost are new; lost has only unknown items"
    assert covered["new_items"] >= 14, "12 of mixed, one of one, one of lost, and what the setup has not seen"
    text = raie("evaluate", LOG).out
    assert (
        f"{covered['evaluated']:,} of {covered['interactions']:,} new interactions evaluated; 3 are the first of their "
        f"user; {covered['new_items']:,} of those evaluated are of items unknown to the snapshot, 1 come after no known "
        "item\n"
    ) in text


def test_evaluate_says_where_no_set_up_window_was_there_to_compare(
    raie: Raie, ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained.another_without_holdout(ready, monkeypatch)
    assert raie("setup", LOG, "--until", SETUP).code == 0
    ran = raie("evaluate", LOG, "--against", "head", "--until", FIRST)
    assert ran.code == 0, ran.err
    assert [change for (windows, _), change in changes(ran.out).items() if windows == "setup"] == ["none"]
