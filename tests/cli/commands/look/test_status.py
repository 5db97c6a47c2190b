"""`raie status`: where a model stands, before and after setup, and while something is unfinished."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from raie.registry import Author, Registry
from raie.registry.db.tables import edits
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
    ran = raie("status", "--json")
    shown = json.loads(ran.out)
    assert ran.code == 7, "an alias serves what was undone"
    assert (shown["head"]["id"], shown["head"]["edit"], shown["head"]["kind"]) == (head.id, 6, "rollback")
    assert shown["head"]["learnt_until"] is None, "this history holds no log"
    assert [(alias["alias"], alias["edit"], alias["is_head"]) for alias in shown["aliases"]] == [
        ("production", 4, False),
        ("staging", 5, False),
    ]
    assert [(edit["edit"], edit["state"]) for edit in shown["open_edits"]] == [(7, "running")]
    lines = raie("status").out.splitlines()
    assert [line.split()[0] for line in lines] == [
        *("model", "database", "store", "head", "learned", "alias", "alias", "open", "mlflow"),
        *("problem", "problem", "notice", "notice"),
    ]
    assert f"head      {head.id[:12]}  edit 6  rollback" in lines[3]
    assert "· a week of bot traffic" in lines[3]
    assert "edit 7 of grace is running since" in lines[7]


def test_an_alias_that_serves_an_undone_edit_is_a_problem_with_its_remedy(raie: Raie, registry: Registry) -> None:
    production, staging, *notices = json.loads(raie("status", "--json").out)["findings"]
    assert production == {
        "severity": "problem",
        "code": "serves_undone_edit",
        "text": "production serves edit 2, which edit 6 took back",
        "advice": "raie promote head --to production",
    }
    assert staging["text"] == "staging serves edit 2, which edit 6 took back"
    assert [notice["text"] for notice in notices] == [
        "production is 3 edits behind the head: 3, 5, 6",
        "staging is 1 edit behind the head: 6",
    ]
    assert all(raie("promote", "head", "--to", alias).code == 0 for alias in ("production", "staging"))
    ran = raie("status", "--json")
    assert (ran.code, ran.json["findings"]) == (0, [])


def test_an_alias_that_serves_an_erased_user_is_a_problem_with_its_remedy(raie: Raie, registry: Registry) -> None:
    assert all(raie("promote", "head", "--to", alias).code == 0 for alias in ("production", "staging"))
    head = registry.resolve(MODEL, "head")
    erasure = registry.begin(
        MODEL, "erase", seed=0, author=Author("ada", "request 17"), parameters={"user": "hash", "first": head.id}
    )
    content = replace(head.content, shared={**head.content.shared, "settings": (registry.put(b"without"),)})
    registry.commit(MODEL, erasure.number, content, [])
    assert raie("promote", "head", "--to", "staging").code == 0
    first, *_ = raie("status", "--json").json["findings"]
    assert first == {
        "severity": "problem",
        "code": "serves_erased_user",
        "text": "production serves a snapshot that holds the user whom edit 7 erased",
        "advice": "raie promote head --to production",
    }


def test_a_lost_blob_and_an_abandoned_edit_are_problems(raie: Raie, registry: Registry) -> None:
    assert all(raie("promote", "head", "--to", alias).code == 0 for alias in ("production", "staging"))
    head = registry.head(MODEL)
    assert head is not None
    registry.store.delete(head.content.regions[2]["lora"])
    registry.begin(MODEL, "edit", seed=1, author=Author("grace"))
    with registry.engine.begin() as connection:
        connection.execute(update(edits).where(edits.c.number == 7).values(lease_expires_at=0.0))
    ran = raie("status", "--json")
    assert ran.code == 7
    codes = {finding["code"] for finding in json.loads(ran.out)["findings"]}
    assert codes == {"abandoned_edit", "missing_blob"}


def test_a_trained_model_says_until_when_it_has_learned(raie: Raie, ready: Path) -> None:
    assert raie("promote", "head").code == 0
    shown = raie("status", "--json").json
    assert shown["head"]["learnt_until"] == SETUP
    assert shown["head"]["regions"] == 3
    assert shown["aliases"][0]["is_head"]
    text = raie("status").out
    assert re.search(rf"learned   rows until {SETUP}, \d+ days ago, 3 regions\n", text)
    assert f"alias     production → {head_of(ready)[:12]}  the head since" in text


def test_a_database_that_cannot_be_reached_is_one_line(
    raie: Raie, ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAIE_DATABASE_URL", "sqlite:////nowhere/at/all.db")
    refused(raie("status"), 6)
