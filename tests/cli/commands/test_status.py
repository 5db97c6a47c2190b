"""`raie status`: where a model stands, before and after its set-up, and while something is unfinished."""

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
    found = raie("status", "--json").json
    assert (found["head"]["id"], found["head"]["edit"], found["head"]["kind"]) == (head.id, 6, "rollback")
    assert found["head"]["learnt_until"] is None, "this history holds no log"
    assert [(one["alias"], one["edit"], one["is_head"]) for one in found["aliases"]] == [
        ("production", 4, False),
        ("staging", 5, False),
    ]
    assert [(one["edit"], one["state"]) for one in found["open_edits"]] == [(7, "running")]
    lines = raie("status").out.splitlines()
    assert [line.split()[0] for line in lines] == [
        *("model", "database", "store", "head", "learnt", "alias", "alias", "open")
    ]
    assert f"head      {head.id[:12]}  edit 6  rollback" in lines[3]
    assert "· a week of bot traffic" in lines[3]
    assert "edit 7 of grace is running since" in lines[-1]


def test_a_trained_model_says_until_when_it_has_learnt(raie: Raie, ready: Path) -> None:
    assert raie("promote", "head").code == 0
    found = raie("status", "--json").json
    assert found["head"]["learnt_until"] == SETUP
    assert found["head"]["regions"] == 3
    assert found["aliases"][0]["is_head"]
    shown = raie("status").out
    assert f"learnt    rows until {SETUP}, 3 regions\n" in shown
    assert f"alias     production → {head_of(ready)[:12]}  the head since" in shown


def test_a_database_that_cannot_be_reached_is_one_line(
    raie: Raie, ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAIE_DATABASE_URL", "sqlite:////nowhere/at/all.db")
    refused(raie("status"), 6)
