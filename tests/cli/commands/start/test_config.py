"""`raie config show`: each value with who chose it, and no secret."""

from __future__ import annotations

from typing import Any

import pytest

from raie.environment.shown_settings import key_lines
from raie.workspace import Workspace
from tests.cli.conftest import Raie

TOML = """\
model = "recsys"
store = ".raie/blobs"
[mlflow]
tracking_uri = "http://ada:s3cret@mlflow.example.org"

[engine]
seed = 7
edit.epochs = 3
[engine . regions]  # how many
regions = 4
[events.pager]
format = "webhook"
url = "https://hooks.example.org/t0ken"
secret_variable = "PAGER_SECRET"
"""


@pytest.fixture
def shown(raie: Raie, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    (workspace.folder / "raie.toml").write_text(TOML, encoding="utf-8")
    monkeypatch.setenv("RAIE_DATABASE_URL", "postgresql://ada:hunter2@db/raie")
    monkeypatch.setenv("PAGER_SECRET", "sw0rdfish")
    monkeypatch.setenv("RAIE_SIGNING_PASSPHRASE", "0pen")
    ran = raie("config", "show", "--json")
    assert ran.code == 0
    for text in (ran.out, raie("config", "show").out):
        assert not [secret for secret in ("s3cret", "t0ken", "hunter2", "sw0rdfish", "0pen") if secret in text]
    return {setting["name"]: setting for setting in ran.json["settings"]}


def test_each_value_has_its_origin_and_the_line_of_the_file(shown: dict[str, Any], workspace: Workspace) -> None:
    file = workspace.folder / "raie.toml"
    chosen = {name: (s["value"], s["origin"], s["source"]) for name, s in shown.items()}
    assert chosen["store"] == (".raie/blobs", "raie.toml", f"{file}:2")
    assert chosen["engine.seed"] == (7, "raie.toml", f"{file}:7")
    assert chosen["engine.edit.epochs"] == (3, "raie.toml", f"{file}:8")
    assert chosen["engine.regions.regions"] == (4, "raie.toml", f"{file}:10")
    assert chosen["engine.backbone.kind"][1:] == ("built in", "")
    assert chosen["actor"] == ("ada", "environment", "RAIE_ACTOR")


def test_a_secret_is_hidden_wherever_it_comes_from(shown: dict[str, Any]) -> None:
    hidden = {name: s["value"] for name, s in shown.items() if s["hidden"]}
    assert hidden == {
        "database": "postgresql://ada:***@db/raie",
        "mlflow.tracking_uri": "http://***@mlflow.example.org",
        "events.pager.url": "set, hidden",
        "PAGER_SECRET": "set, hidden",
        "RAIE_SIGNING_PASSPHRASE": "set, hidden",
    }


def test_a_key_and_what_was_changed_narrow_the_list(raie: Raie, workspace: Workspace) -> None:
    (workspace.folder / "raie.toml").write_text("[engine.regions]\nregions = 4\n", encoding="utf-8")
    out = raie("config", "show", "engine.regions", "--changed").out.splitlines()
    assert out[0] == f"workspace {workspace.folder}, the nearest at or above the current folder"
    assert [line.split()[0] for line in out[2:]] == ["engine.regions.regions"]
    ran = raie("config", "show", "engine.region")
    assert (ran.code, ran.out) == (2, "")
    assert "did you mean engine.regions." in raie("config", "show", "engine.region.regions").err
    assert raie("config", "show", "engine.backbone.epchs").err.endswith("; did you mean engine.backbone.epochs?\n")


def test_a_line_in_a_text_of_several_lines_is_no_key() -> None:
    assert key_lines("a = 1\n[t]\nb.c = 2\n") == {"a": 1, "t.b.c": 3}
    assert key_lines("a = '''\nb = 2\n'''\n") == {}
