"""`raie status`: where a model stands, before and after setup, and while something is unfinished."""

from __future__ import annotations

from pathlib import Path

import pytest

from raie.registry import Author, Registry
from tests.cli.conftest import Raie
from tests.cli.history import MODEL
from tests.cli.trained import SETUP, head_of, refused


def test_a_workspace_without_a_model_says_what_comes_first(raie: Raie) -> None:
    assert raie("init").code == 0
    ran = raie("status")
    assert (ran.code, ran.err) == (0, "")
    assert "head      none; `raie setup LOG` makes the first one" in ran.out.splitlines()
    assert raie("status", "--json").json["head"] is None


def test_the_head_the_aliases_and_what_is_unfinished_are_on_one_screen(raie: Raie, registry: Registry) -> None:
    registry.begin(MODEL, "edit", seed=1, author=Author("grace", "half done"))
    head = registry.head(MODEL)
    assert head is not None
    shown = raie("status", "--json").json
    assert (shown["head"]["id"], shown["head"]["edit"], shown["head"]["kind"]) == (head.id, 6, "rollback")
    assert shown["head"]["learnt_until"] is None, "this history holds no log"
    assert [(alias["alias"], alias["edit"], alias["is_head"]) for alias in shown["aliases"]] == [
        ("production", 4, False),
        ("staging", 5, False),
    ]
    assert [(edit["edit"], edit["state"]) for edit in shown["open_edits"]] == [(7, "running")]
    lines = raie("status").out.splitlines()
    assert [line.split()[0] for line in lines] == [
        *("model", "database", "store", "head", "learned", "alias", "alias", "open")
    ]
    assert f"head      {head.id[:12]}  edit 6  rollback" in lines[3]
    assert "· a week of bot traffic" in lines[3]
    assert "edit 7 of grace is running since" in lines[-1]


def test_a_trained_model_says_until_when_it_has_learned(raie: Raie, ready: Path) -> None:
    assert raie("promote", "head").code == 0
    shown = raie("status", "--json").json
    assert shown["head"]["learnt_until"] == SETUP
    assert shown["head"]["regions"] == 3
    assert shown["aliases"][0]["is_head"]
    text = raie("status").out
    assert f"learned   rows until {SETUP}, 3 regions\n" in text
    assert f"alias     production → {head_of(ready)[:12]}  the head since" in text


def test_a_database_that_cannot_be_reached_is_one_line(
    raie: Raie, ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAIE_DATABASE_URL", "sqlite:////nowhere/at/all.db")
    refused(raie("status"), 6)
