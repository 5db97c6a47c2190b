"""Backbones through the commands: a file of one's own, times that are read, and titles for a language model."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from raie.edits.workflow import open_view
from raie.engine.answers import LoadedSnapshot
from raie.engine.config import BackboneConfig, EngineConfig
from raie.engine.data.readers.settings import LogSettings
from raie.engine.data.synthetic import SyntheticConfig, drifting_log, write_csv
from raie.engine.errors import InputError
from raie.engine.model import Settings
from raie.registry import Author
from raie.workspace_file import find
from tests.cli.conftest import Raie
from tests.cli.trained import FIRST, MODEL, SETUP, command, opened, refused
from tests.raie_engine.backbones.language_model import language_model

ROOT = Path(__file__).resolve().parents[2]
ENGINE = """
[engine.regions]
regions = 2

[engine.gate]
min_windows = 5

[engine.edit]
shared_epochs = 1
epochs = 1

[engine.backbone]
dim = 8
layers = 1
heads = 1
epochs = 1
"""


def workspace(folder: Path, backbone: str, *setup: str) -> Path:
    """A workspace with a small log and a setup of this backbone."""
    write_csv(drifting_log(SyntheticConfig(users=50)), folder / "log.csv")
    command(folder, "init")
    with (folder / "raie.toml").open("a", encoding="utf-8") as file:
        file.write(ENGINE + backbone)
    command(folder, "setup", str(folder / "log.csv"), "--until", SETUP, *setup)
    return folder


def example(folder: Path) -> Path:
    """The file of docs/backbones.md."""
    (text,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "backbones.md").read_text(), re.M | re.S)
    (folder / "gru4rec.py").write_text(text)
    return folder / "gru4rec.py"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    example(folder)
    made = workspace(folder, 'kind = "file"\npath = "gru4rec.py"\n')
    command(made, "edit", "apply", str(made / "log.csv"), "--until", FIRST, "--workers", "2")
    return made


COMPARE = ("compare", "log.csv", "--until", SETUP, "--edits", "1", "--json", "--strategies")
AGAIN = ("compare", "log.csv", "--ref", "edit:1", "--edits", "1", "--json", "--strategies")
STRATEGIES = "raie,full,joint,mole,lwf,lsat,random-regions"


def test_strategies_are_compared_over_a_file_of_ones_own_wherever_it_lies(
    own: Path, tmp_path: Path, raie: Raie, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(own, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    shown = json.loads(raie(*COMPARE, STRATEGIES).out)
    assert len(shown["strategies"]) == len(STRATEGIES.split(",")) + 1
    Path("gru4rec.py").rename(tmp_path / "kept.py")
    refused(raie(*AGAIN, "raie"), 5, ("RAIE_BACKBONE_FILE",))
    monkeypatch.setenv("RAIE_BACKBONE_FILE", str(tmp_path / "kept.py"))
    ran = raie(*AGAIN, "raie", "--workers", "2", "--seeds", "1,2")
    assert ran.code == 0, ran.err


ASK = ("recommend", "log.csv", "--user", "u00001", "--top", "3", "--json")


def test_a_file_of_ones_own_goes_the_whole_way_in_several_processes(
    own: Path, raie: Raie, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own)
    assert len(json.loads(raie(*ASK).out)["recommendations"][0]["items"]) == 3
    assert raie("evaluate", "log.csv").code == 0
    view = open_view(opened(own), opened(own).resolve(MODEL, "head"), find(own).backbone_file)
    assert json.loads(view.backbone_bytes[0])["source"] == (own / "gru4rec.py").read_text()


def test_a_changed_file_is_refused_and_the_old_one_named_elsewhere_serves(
    own: Path, tmp_path: Path, raie: Raie, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(own, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    wanted = json.loads(raie(*ASK).out)
    Path("gru4rec.py").rename(tmp_path / "kept.py")
    refused(raie(*ASK), 5, ("sha256", "RAIE_BACKBONE_FILE"))
    Path("gru4rec.py").write_text("raise SystemExit('it ran')")
    refused(raie(*ASK), 5, ("stored code never runs",))
    refused(raie("edit", "plan", "log.csv"), 5, ("stored code never runs",))
    assert raie("verify").code == raie("log").code == raie("regions", "list").code == 0
    monkeypatch.setenv("RAIE_BACKBONE_FILE", str(tmp_path / "kept.py"))
    assert json.loads(raie(*ASK).out) == wanted


def test_a_file_without_a_backbone_is_refused_before_anything_is_trained(
    tmp_path: Path, raie: Raie, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(drifting_log(SyntheticConfig(users=20)), Path("log.csv"))
    raie("init")
    with Path("raie.toml").open("a") as file:
        file.write('[engine.backbone]\nkind = "file"\npath = "mine.py"\n')
    refused(raie("setup", "log.csv"), 2, ("mine.py", "backbone.path"))
    Path("mine.py").write_text("class Backbone:\n    pass\n")
    refused(raie("setup", "log.csv"), 2, ("ItemModel", "docs/backbones.md"))
    assert opened(tmp_path).head(MODEL) is None


def test_a_set_up_of_the_registry_never_makes_a_file_run_that_this_workspace_does_not_name(
    tmp_path: Path, raie: Raie, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    raie("init")
    (tmp_path / "theirs.py").write_text("raise SystemExit('it ran')")
    backbone = BackboneConfig(kind="file", path=str(tmp_path / "theirs.py"))
    settings = Settings(EngineConfig(backbone=backbone), LogSettings()).to_bytes().decode()
    parameters = {"log": str(tmp_path / "log.csv"), "until": None, "settings": settings}
    opened(tmp_path).begin(MODEL, "setup", seed=1, author=Author("ada"), parameters=parameters)
    refused(raie("edit", "resume", "1", "--force"), 2, ("theirs.py", "raie.toml"))


@pytest.mark.filterwarnings("ignore")  # MLflow's own imports warn
def test_a_backbone_that_reads_times_gets_them_from_a_log_and_asks_for_them_elsewhere(
    tmp_path: Path, raie: Raie, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = workspace(tmp_path, 'kind = "tisasrec"\n')
    monkeypatch.chdir(folder)
    shown = json.loads(raie(*ASK).out)["recommendations"][0]
    assert len(shown["items"]) == 3
    refused(raie("recommend", "--items", ",".join(shown["context"])), 3, ("times", "log"))
    assert len(json.loads(raie(*COMPARE, STRATEGIES).out)["strategies"]) == len(STRATEGIES.split(",")) + 1
    view = open_view(opened(folder), opened(folder).resolve(MODEL, "head"))
    assert view.settings.engine.windows.times
    from raie.engine import serving

    windows = view.holdout.take(slice(0, 3))
    assert windows.times is not None
    histories = [view.catalogue.item_ids(row[row > 0].tolist()) for row in windows.items]
    times = [row[row > 0].tolist() for row in windows.times]
    # These are the ends of histories: what lies further back would count as repeats.
    best = view.router.top_k(windows, 2, exclude_seen=False)
    loaded = LoadedSnapshot("", view)
    served = serving.recommend(loaded, histories, 2, False, times)
    assert served["items"].tolist() == [view.catalogue.item_ids(row.tolist()) for row in best.rows]
    with pytest.raises(InputError, match="times of the items of history 0"):
        serving.recommend(loaded, histories, 2)
    with pytest.raises(InputError, match="one time for each item"):
        serving.recommend(loaded, histories, 2, None, [history[1:] for history in times])


def test_a_language_model_reads_titles_and_its_folder_is_not_needed_again(
    tmp_path: Path, raie: Raie, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One layer of Qwen-2, whose max_window_layers of 28 is no number of its layers.
    language_model(tmp_path / "model", kind="qwen2", num_hidden_layers=1)
    made = drifting_log(SyntheticConfig(users=50))
    write_csv(made, tmp_path / "log.csv")
    ids = {line.split(",")[1] for line in (tmp_path / "log.csv").read_text().splitlines()[1:]}
    (tmp_path / "items.csv").write_text("\n".join(["item_id,title", *(f"{item},the first film" for item in ids)]))
    options = 'kind = "causal_lm"\npath = "model"\nprompt = "a user has seen"\ntitle_tokens = 2\n'
    folder = workspace(tmp_path, options, "--titles", str(tmp_path / "items.csv"))
    monkeypatch.chdir(folder)
    compared = json.loads(raie(*COMPARE, "raie,full,joint,mole", "--titles", "items.csv").out)["strategies"]
    assert [row["strategy"] for row in compared] == ["raie", "full", "joint", "mole", "never"]
    shutil.rmtree(tmp_path / "model")
    assert raie("edit", "apply", "log.csv", "--until", FIRST, "--workers", "1").code == 0
    assert len(json.loads(raie(*ASK).out)["recommendations"][0]["items"]) == 3
    view = open_view(opened(folder), opened(folder).resolve(MODEL, "head"))
    assert set(view.catalogue.titles) == {"the first film"}
    assert view.item_chunks
    assert (view.backbone.appended_titles >= 0).all()  # type: ignore[attr-defined]
    assert raie(*AGAIN, "never").code == 0
    refused(raie(*AGAIN, "joint"), 2, ("model folder",))
    (tmp_path / "items.csv").unlink()
    refused(raie("edit", "plan", "log.csv"), 3, ("items.csv",))
