"""A mistyped name is answered with the names that it may have meant."""

from __future__ import annotations

import pytest

from raie.cli.suggestions import close_names
from raie.workspace import Workspace
from tests.cli.conftest import Raie


@pytest.mark.parametrize(
    ("typed", "known", "meant"),
    [
        ("prodution", ["production", "staging"], ["production"]),
        ("Staging", ["production", "staging"], ["staging"]),
        ("stagign", ["staging", "stating"], ["staging", "stating"]),
        ("x", ["production", "staging"], []),
    ],
)
def test_the_names_most_alike_are_meant(typed: str, known: list[str], meant: list[str]) -> None:
    assert close_names(typed, known) == meant


def test_a_mistyped_alias_is_answered_with_the_one_that_is_meant(raie: Raie, workspace: Workspace) -> None:
    for arguments in (
        ("show", "prodution"),
        ("promote", "prodution"),
        ("alias", "history", "prodution"),
        ("alias", "delete", "prodution", "--reason", "x"),
        ("lineage", "prodution"),
    ):
        ran = raie(*arguments)
        assert ran.code == 1
        assert ran.err.endswith("; did you mean production?\n")
        assert ran.err.count("\n") == 1


def test_a_region_that_never_was_is_answered_with_those_that_are(raie: Raie, workspace: Workspace) -> None:
    for arguments in (("regions", "show", "33"), ("promote", "--region", "33", "--version", "1")):
        ran = raie(*arguments)
        assert ran.code == 1
        assert "found none numbered 33; there are 0, 1, 2, 3; did you mean region 3?" in ran.err


def test_a_tag_that_is_taken_for_a_snapshot_names_the_snapshot(raie: Raie, workspace: Workspace) -> None:
    assert raie("tag", "production", "black-friday").code == 0
    tagged = workspace.registry().resolve(workspace.model, "production").id[:12]
    for typed in ("black-friday", "black-firday"):
        ran = raie("show", typed)
        assert f"; did you mean {tagged}, which is tagged black-friday?" in ran.err
    removed = raie("tag", "production", "black-firday", "--remove")
    assert removed.err.endswith("; did you mean black-friday?\n")
    assert raie("tag", "production", "black-friday", "--remove").code == 0
    assert "did you mean" not in raie("show", "black-friday").err


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ('modle = "x"', "model"),
        ("[mlflow]\ntracking_url = 'x'", "mlflow.tracking_uri"),
        ("[events.pager]\nformat = 'webhook'\nsecret_varable = 'X'", "events.pager.secret_variable"),
        ("[engine]\nsed = 1", "seed"),
        ("[engine.regions]\nregion = 4", "regions.regions"),
    ],
)
def test_a_mistyped_key_of_raie_toml_is_answered_with_the_one_that_is_meant(
    raie: Raie, workspace: Workspace, text: str, meant: str
) -> None:
    (workspace.folder / "raie.toml").write_text(text + "\n", encoding="utf-8")
    ran = raie("config", "show")
    assert ran.code in (1, 2)
    assert f"; did you mean {meant}" in ran.err
