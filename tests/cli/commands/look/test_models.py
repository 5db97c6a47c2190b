"""One registry keeps several models, and a command is run on one of them."""

from __future__ import annotations

import pytest

from raie.registry import Author
from raie.workspace import Workspace
from tests.cli import history
from tests.cli.conftest import Raie


@pytest.fixture
def two(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace whose registry has a model beside its own."""
    monkeypatch.setattr(history, "MODEL", "books")
    history.set_up(workspace.registry(), regions=2)
    workspace.registry().promote("books", "head", "live", Author("ada"))
    monkeypatch.undo()
    monkeypatch.setenv("RAIE_ACTOR", "ada")
    monkeypatch.chdir(workspace.folder)
    return workspace


def test_every_model_is_listed_and_the_workspaces_own_is_marked(raie: Raie, two: Workspace) -> None:
    books, recsys = raie("models", "--json").json["models"]
    assert (books["model"], books["chosen"], books["edits"], books["aliases"]) == ("books", False, 1, ["live"])
    assert (recsys["model"], recsys["chosen"], recsys["edits"]) == ("recsys", True, 6)
    lines = raie("models").out.splitlines()
    assert [line[:8].strip() for line in lines[1:]] == ["books", "* recsys"]


def test_a_command_runs_on_the_model_that_is_named(raie: Raie, two: Workspace) -> None:
    assert raie("--model", "books", "alias", "list", "--json").json["model"] == "books"
    assert raie("alias", "list", "--json").json["model"] == "recsys"
    chosen = raie("--model", "books", "config", "show", "model", "--json").json["settings"][0]
    assert (chosen["value"], chosen["origin"], chosen["source"]) == ("books", "option", "--model")
    assert raie("--model", "books", "models", "--json").json["models"][0]["chosen"] is True


def test_the_option_comes_before_the_environment(
    raie: Raie, two: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAIE_MODEL", "recsys")
    assert raie("--model", "books", "alias", "list", "--json").json["model"] == "books"


def test_a_model_that_is_not_there_is_answered_with_the_one_that_is_meant(raie: Raie, two: Workspace) -> None:
    ran = raie("--model", "boks", "show")
    assert ran.code == 1
    assert ran.err.endswith("; did you mean books?\n")
    assert "no model boks yet" in raie("--model", "boks", "models").out


def test_a_shell_completes_models_and_what_the_named_one_has(
    raie: Raie, two: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_RAIE_COMPLETE", "bash_complete")
    for line, count, offered in (
        ("raie --model b", "2", "plain,books\n"),
        ("raie --model books alias delete ", "5", "plain,live\n"),
    ):
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", count)
        assert raie().out == offered
