"""raie.toml: found from anywhere below it, overruled by the environment, and never a place for a password."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from raie.actor import actor
from raie.configuration.database_url import without_password
from raie.configuration.settings import Origin, Setting, from_options
from raie.engine.config import EngineConfig, to_mapping
from raie.errors import UsageError, WorkspaceError
from raie.lines import leaves
from raie.registry.mlflow.client import checked_uri
from raie.workspace_file import all_settings, draft, find, read
from tests.cli.conftest import Raie

WITH_PASSWORD = "postgresql://ada:s3cret@db.example.org/raie"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "raie.toml").write_text(draft(None, None, None), encoding="utf-8")
    return tmp_path


def test_a_workspace_is_found_from_a_folder_below_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = here / "reports" / "july"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert find().folder == here


def test_relative_paths_start_at_the_workspace_and_not_at_the_current_folder(here: Path) -> None:
    workspace = find(here)
    assert workspace.database == f"sqlite:///{here}/.raie/registry.db"
    assert workspace.store == f"{here}/.raie/blobs"
    assert workspace.tracking_uri == f"sqlite:///{here}/.raie/mlflow.db"


def test_without_a_workspace_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="raie init"):
        find()
    with pytest.raises(WorkspaceError, match="raie init"):
        find(tmp_path / "elsewhere")


def test_the_environment_comes_before_the_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAIE_DATABASE_URL", WITH_PASSWORD)
    monkeypatch.setenv("RAIE_STORE", "s3://models/raie")
    monkeypatch.setenv("RAIE_MODEL", "books")
    workspace = find(here)
    assert (workspace.database, workspace.store, workspace.model) == (WITH_PASSWORD, "s3://models/raie", "books")
    assert "s3cret" not in repr(workspace)


def test_options_of_the_engine_are_kept_as_they_are_nested(here: Path) -> None:
    file = here / "raie.toml"
    file.write_text("[engine]\nseed = 7\n[engine.regions]\nregions = 4\n", encoding="utf-8")
    assert read(file).engine == {"seed": 7, "regions": {"regions": 4}}


def test_every_value_says_who_chose_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'model = "books"\nstore = "blobs"\n[engine]\nseed = 7\n[engine.regions]\nregions = 4\n'
    (here / "raie.toml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("RAIE_STORE", "s3://models/raie")
    monkeypatch.setenv("RAIE_BACKBONE_FILE", "mine.py")
    settings = all_settings(find(here))
    shown = {name: (setting.value, setting.origin, setting.name) for name, setting in settings.items()}
    assert shown == shown | {
        "model": ("books", "raie.toml", "model"),
        "store": ("s3://models/raie", "environment", "RAIE_STORE"),
        "database": ("sqlite:///.raie/registry.db", "built in", "database"),
        "mlflow.tracking_uri": ("sqlite:///.raie/mlflow.db", "built in", "mlflow.tracking_uri"),
        "engine.seed": (7, "raie.toml", "engine.seed"),
        "engine.regions.regions": (4, "raie.toml", "engine.regions.regions"),
        "engine.regions.max_regions": (8, "built in", "engine.regions.max_regions"),
        "backbone_file": ("mine.py", "environment", "RAIE_BACKBONE_FILE"),
        "actor": ("ada", "environment", "RAIE_ACTOR"),
    }
    assert {name for name, _ in leaves(to_mapping(EngineConfig()), "engine.")} < set(settings)


def test_an_option_comes_before_every_other_origin(here: Path) -> None:
    before = all_settings(find(here))
    after = from_options(before, [("engine.seed", "--seed", 3), ("engine.regions.regions", "--regions", None)])
    assert after["engine.seed"] == Setting(3, Origin.OPTION, "--seed")
    assert {name for name in before if before[name] != after[name]} == {"engine.seed"}


def test_a_backbone_that_the_file_names_and_an_actor_that_nobody_names_say_so(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "raie.toml").write_text('[engine.backbone]\nkind = "file"\npath = "mine.py"\n', encoding="utf-8")
    monkeypatch.delenv("RAIE_ACTOR")
    settings = all_settings(find(here))
    assert settings["backbone_file"] == Setting(str(here / "mine.py"), Origin.FILE, "engine.backbone.path")
    assert settings["actor"].origin is Origin.BUILT_IN


def test_no_setting_prints_its_value_which_may_hold_a_password(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAIE_DATABASE_URL", WITH_PASSWORD)
    assert "s3cret" not in repr(all_settings(find(here)))


def test_a_variable_that_is_no_value_is_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAIE_MODEL", " ")
    with pytest.raises(WorkspaceError, match=r"^RAIE_MODEL must be a text that is not empty, found ' '$"):
        find(here)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('databse = "x"', "databse"),
        ("model = 3", "model"),
        ('model = ""', "model"),
        ("mlflow = 1", "mlflow"),
        ('[mlflow]\nuri = "x"', "mlflow.uri"),
        ("engine = []", "engine"),
        ("model = ", "TOML"),
    ],
)
def test_a_mistake_in_the_file_is_named_and_never_passes_silently(here: Path, text: str, named: str) -> None:
    (here / "raie.toml").write_text(text, encoding="utf-8")
    with pytest.raises(WorkspaceError, match=named):
        find(here)


def test_a_file_that_is_not_text_is_refused(here: Path) -> None:
    (here / "raie.toml").write_bytes(b'model = "\xff"')
    with pytest.raises(WorkspaceError, match="TOML"):
        find(here)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_name_written_to_the_file_is_read_back(name: str) -> None:
    assert tomllib.loads(draft(name, name, name))["model"] == name


@pytest.mark.parametrize("url", [WITH_PASSWORD, "postgresql://ada@db.example.org/raie?password=s3cret"])
def test_a_password_is_left_out_of_a_url_wherever_it_stands(url: str) -> None:
    assert without_password(url) == "postgresql://ada@db.example.org/raie"


def test_a_text_that_is_no_url_is_refused_without_repeating_it() -> None:
    with pytest.raises(UsageError) as refused:
        without_password("ada:s3cret at db")
    assert "s3cret" not in str(refused.value)


def test_who_acts_is_named_even_where_the_system_does_not_know_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    assert actor() == "ada"
    for name in ("RAIE_ACTOR", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 4_000_000)
    assert actor() == "uid 4000000"


ODD_NAMES = (
    "feature%2Flora",
    "100%25",
    "what?now",
    "sharp#one",
    "a b'\"c",
    "line\nbreak",
    "über",
    "a+b@c:d&e=f;g",
)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_folder_of_any_name_keeps_its_database_inside(
    raie: Raie, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    assert raie("init").code == raie("verify").code == 0
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / ".raie" / "registry.db").is_file()
    uri = checked_uri(find().tracking_uri)
    assert make_url(uri).database == str(tmp_path / name / ".raie" / "mlflow.db")
    # MLflow makes the folder of the text behind sqlite:/// itself.
    made = uri.removeprefix("sqlite:///")
    assert made == uri or Path(made).parent == tmp_path / name / ".raie"


def test_a_database_in_raie_toml_is_a_url_and_stays_one(here: Path) -> None:
    (here / "raie.toml").write_text('database = "sqlite:///a%20b.db?timeout=3"\n', encoding="utf-8")
    url = make_url(find(here).database)
    assert (url.database, url.query) == (str(here / "a b.db"), {"timeout": "3"})


def test_a_folder_whose_name_is_no_text_is_one_line(
    raie: Raie, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "b\udcffd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    ran = raie("init")
    assert (ran.code, ran.out) == (1, "")
    assert "whose name is UTF-8" in ran.err
    assert list(folder.iterdir()) == []
