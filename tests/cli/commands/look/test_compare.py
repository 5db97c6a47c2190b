"""`raie compare`: a table and files from one command, which goes on where it stopped and refuses what cannot run."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raie.cli.commands.look.compare import _USUAL
from raie.cli.completion import STRATEGIES as OFFERED
from raie.compare import USUAL, ComparisonOptions, compare, result_json
from raie.engine.comparison.methods import parse_methods
from raie.engine.comparison.step_results import STEP_VERSION
from raie.engine.config import WindowConfig, from_mapping, to_mapping
from raie.engine.data.interactions import between, read_log
from raie.engine.data.readers.settings import LogSettings
from raie.engine.data.synthetic import SyntheticConfig, drifting_log, write_csv
from raie.engine.data.window_length import choose_length
from raie.engine.strategies import STRATEGIES
from raie.workspace_file import draft, find
from tests.cli.conftest import Raie
from tests.cli.trained import LOG, SETUP, refused, state

QUICK = ("--until", SETUP, "--edits", "1", "--strategies", "raie,global-lora[adapter.rank=2],popularity")
FILES = ["comparison.csv", "comparison.json", "comparison.md"]


@pytest.fixture(scope="module")
def compared(trained_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which a comparison has run, with its files in ./comparison."""
    return shutil.copytree(trained_folder, tmp_path_factory.mktemp("compared"), dirs_exist_ok=True)


def test_a_comparison_is_shown_and_written_and_goes_on_without_training_again(compared: Path, raie: Raie) -> None:
    before, out = state(compared), compared / "comparison"
    command = ("--workspace", str(compared), "compare", str(compared / LOG), *QUICK, "--out", str(out))
    ran = raie(*command)
    assert ran.code == 0, ran.err
    steps = [line for line in ran.err.splitlines() if line.startswith("steps: ")]
    assert steps[-1].startswith("steps: 8 of 8, ")
    assert len(steps) == 8, "a line per finished step where no bar can move"
    assert "backbones: 1 of 1" in ran.err
    for name in ("RAIE", "global LoRA [adapter.rank=2]", "popularity", "never edit"):
        assert name in ran.out
        assert f"| {name} |" in (out / "comparison.md").read_text()
    for term in (
        "What comes next",
        "Keeping: ",
        "next MRR",
        "catalogue",
        "BWT: what later edits did",
        "seconds of one core",
    ):
        assert term in ran.out, "every table has a heading, and every column is explained"
    assert "0 of " in ran.out, "no window of an untouched region changed its rank"
    assert ran.out.splitlines()[-1].startswith("Take "), "the last line says which strategy to take"
    assert sorted(path.name for path in out.iterdir() if path.stem == "comparison") == FILES
    assert {path.suffix for path in out.iterdir()} >= {".png", ".svg"}
    assert state(compared) == before, "a comparison commits nothing"

    cells = {path: path.stat().st_mtime_ns for path in (compared / ".raie" / "work" / "compare").rglob("*.cell")}
    assert len(cells) == 4 * 2
    again = raie(*command, "--json")
    assert again.json == json.loads((out / "comparison.json").read_text())
    assert again.json["log_digest"] == read_log(compared / LOG).digest
    assert again.json["engine"]["regions"]["regions"] == 3
    assert "seed" not in again.json["engine"]
    another_one = raie(*command, "--metric", "NDCG@5", "--json")
    assert {entry["metric"] for entry in another_one.json["strategies"][0]["regions"]} == {"NDCG@5"}
    assert {path: path.stat().st_mtime_ns for path in cells} == cells
    more = raie(*command[:-2], "--out", str(out), "--strategies", "markov", "--against", "markov", "--json")
    assert [single["name"] for single in more.json["strategies"]] == ["decayed Markov", "never edit"]
    assert more.json["reference"] == "decayed Markov"
    assert {path: path.stat().st_mtime_ns for path in cells} == cells
    fresh = raie(*command, "--strategies", "never", "--fresh", "--json")
    assert fresh.code == 0
    assert not any(path.exists() for path in cells if "raie" in path.parts[-2])


def test_a_set_ups_backbone_is_used_where_it_is_named(compared: Path, raie: Raie, tmp_path: Path) -> None:
    command = ("--workspace", str(compared), "compare", str(compared / LOG), "--ref", "head", "--edits", "1")
    ran = raie(*command, "--strategies", "never", "--out", str(tmp_path / "out"), "--json")
    assert ran.code == 0, ran.err
    assert ran.json["slices"][0]["until"] == SETUP


# --- Without a workspace


@pytest.fixture
def small_log(tmp_path: Path) -> Path:
    write_csv(drifting_log(SyntheticConfig(users=150)), tmp_path / LOG)
    return tmp_path / LOG


COUNTED = ("--until", SETUP, "--edits", "1", "--strategies", "markov,item-knn,ease", "--json")


def test_a_log_is_all_that_a_comparison_needs(
    small_log: Path, raie: Raie, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    quick = {"backbone": {"epochs": 1, "dim": 16, "layers": 1}, "regions": {"regions": 2}}
    monkeypatch.setattr("raie.compare.EngineConfig", lambda: from_mapping(quick))
    ran = raie("compare", str(small_log), *COUNTED)
    assert ran.code == 0, ran.err
    assert {row["strategy"] for row in ran.json["strategies"]} == {"markov", "item-knn", "ease", "never"}
    assert ran.json["choice"]["line"].startswith("Take ")
    assert not (tmp_path / ".raie").exists()
    (kept,) = (tmp_path / "cache" / "raie" / "compare").iterdir()
    cells = sorted(kept.rglob("*.cell"))
    assert len(cells) == 4 * 2
    options = ComparisonOptions(strategies="markov,item-knn,ease", edits=1, until=SETUP)
    again = compare(None, small_log, options, work=kept.parent)
    assert result_json(again) == ran.json, "nothing is computed again, seconds are the same"


def test_a_setup_cannot_be_named_without_a_workspace(small_log: Path, raie: Raie) -> None:
    refused(
        raie("compare", str(small_log), "--ref", "edit:1"), 2, ["expected a workspace", "--workspace", "--ref"]
    )


def test_a_workspace_that_is_named_must_be_there(small_log: Path, raie: Raie, tmp_path: Path) -> None:
    refused(raie("--workspace", str(tmp_path / "nope"), "compare", str(small_log)), 1, ["no raie.toml"])


def test_the_usual_strategies_are_known_and_are_the_default(raie: Raie) -> None:
    assert ComparisonOptions().strategies == ",".join(USUAL)
    assert [method.strategy for method in parse_methods(USUAL)] == list(USUAL)
    assert ",".join(USUAL) == _USUAL, "the command line repeats it, so that its help needs no torch"


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--strategies", "raie,best"), 2, ["'best'", "global-lora"]),
        (("--strategies", "raie[windows.length=3]"), 2, ["the same for all"]),
        (("--strategies", "raie", "--against", "peso"), 2, ["--against", "'peso'"]),
        (("--against", "all"), 2, ["--against", "'all'"]),
        (("--strategies", "raie", "--against", "all"), 2, ["--against", "'all'"]),
        (("--edits", "500"), 3, ["fewer --edits"]),
        (("--until", "2031-01-01"), 3, ["earlier --until"]),
        (("--strategies", ""), 2, ["--strategies", "found ''", "leave it out"]),
        (("--strategies", " , ", "--ablations"), 2, ["--strategies"]),
        (("--ref", "edit:1"), 2, ["--until", "--ref"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_compared_is_refused_before_anything_trains(
    ready: Path, raie: Raie, options: tuple[str, ...], code: int, words: list[str]
) -> None:
    ran = raie("compare", LOG, "--until", SETUP, *options)
    refused(ran, code, words)
    assert not (ready / ".raie" / "work" / "compare").exists()
    assert not (ready / "comparison").exists()


@pytest.mark.parametrize(
    "option",
    [
        ("--until", "yesterday"),
        ("--user-column", "nope"),
        ("--item-column", "item_id"),
        ("--time-column", "nope"),
        ("--rating-column", "nope"),
        ("--min-rating", "4"),
        ("--title-column", "nope"),
        ("--titles", "nope.csv"),
        ("--duplicates", "error"),
    ],
    ids=" ".join,
)
def test_what_a_set_up_has_fixed_is_refused_beside_its_name(
    ready: Path, raie: Raie, option: tuple[str, str]
) -> None:
    refused(
        raie("compare", LOG, "--ref", "edit:1", *option), 2, [f"found {option[0]}: ", "--ref", "leave them out"]
    )
    refused(raie("compare", LOG, "--ref", "nothing"), 1, ["nothing"])
    assert not (ready / "comparison").exists()


def test_seeds_are_whole_numbers(ready: Path, raie: Raie) -> None:
    ran = raie("compare", LOG, "--seeds", "1,two")
    assert ran.code == 2
    assert "1,two" in ran.err


# --- What is kept, and for which comparisons


Kept = Callable[..., tuple[Path, Any]]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """Where the cells of a comparison with this backbone would lie, and its course; nothing is trained."""
    write_csv(drifting_log(SyntheticConfig(users=100)), tmp_path / LOG)
    ids = sorted({line.split(",")[1] for line in (tmp_path / LOG).read_text().splitlines()[1:]})
    ran: list[tuple[Path, Any]] = []
    monkeypatch.setattr(
        "raie.compare.run", lambda protocol, settings, chosen, seeds, work, **options: ran.append((work, protocol))
    )
    monkeypatch.setattr("raie.compare.comparison_result", lambda *values, **names: None)

    def folder(backbone: str, title: str | None = None) -> tuple[Path, Any]:
        text = f"{draft(None, None, None)}[engine.backbone]\n{backbone}"
        (tmp_path / "raie.toml").write_text(text, encoding="utf-8")
        titles = None
        if title is not None:
            titles = str(tmp_path / "items.csv")
            Path(titles).write_text("\n".join(["item_id,title", *(f"{entry},{title}" for entry in ids)]))
        reading = LogSettings(titles=titles)
        options = ComparisonOptions(strategies="never", edits=1, until=SETUP, reading=reading)
        compare(find(tmp_path), tmp_path / LOG, options)
        return ran[-1]

    return folder


@pytest.mark.parametrize("kind", ["sasrec", "bert4rec", "tisasrec"])
def test_results_of_a_backbone_that_reads_rows_alone_are_found_as_ever_whatever_titles_there_are(
    kept: Kept, kind: str
) -> None:
    (folder, protocol), (titled, _) = kept(f'kind = "{kind}"'), kept(f'kind = "{kind}"', "the first film")
    log = read_log(folder.parents[3] / LOG)
    length = choose_length(between(log, None, protocol.ends[0]), WindowConfig()).length
    windows = {"times": kind == "tisasrec", "length": length}
    engine = to_mapping(from_mapping({"windows": windows, "backbone": {"kind": kind}}))
    del engine["seed"]
    key = {"log": log.digest, "ends": protocol.ends, "engine": engine, "version": STEP_VERSION}
    values = json.dumps(key, sort_keys=True)
    assert folder.name == titled.name == hashlib.sha256(values.encode()).hexdigest()[:16]


FILE = """
from raie.engine.backbones import SasRec


class Backbone(SasRec):
    reads_titles = {reads}
"""


def test_another_text_in_a_file_of_ones_own_is_another_comparison(kept: Kept, tmp_path: Path) -> None:
    options = 'kind = "file"\npath = "mine.py"'
    (tmp_path / "mine.py").write_text(FILE.format(reads=False))
    first, _ = kept(options)
    assert kept(options, "the first film")[0] == first, "it reads no titles"
    (tmp_path / "mine.py").write_text(FILE.format(reads=False) + "    scale = 2\n")
    assert kept(options)[0] != first
    (tmp_path / "mine.py").write_text(FILE.format(reads=True))
    seen = [kept(options)[0], kept(options, "the first film")[0], kept(options, "the second film")[0]]
    assert len({first, *seen}) == 4
    (tmp_path / "mine.py").write_text(FILE.format(reads=False))
    assert kept(options)[0] == first


def test_another_model_in_the_same_folder_is_another_comparison(kept: Kept, tmp_path: Path) -> None:
    options, model = 'kind = "causal_lm"\npath = "model"', tmp_path / "model"
    (model / ".cache").mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"one")
    first, _ = kept(options, "the first film")
    (model / ".cache" / "lock").write_text("by whoever fetched it")
    assert kept(options, "the first film")[0] == first
    assert kept(options, "the second film")[0] != first
    (model / "model.safetensors").write_bytes(b"two")
    second, _ = kept(options, "the first film")
    (model / "model.safetensors").rename(model / "model-1.safetensors")
    assert len({first, second, kept(options, "the first film")[0]}) == 3


def test_the_strategies_that_a_shell_is_offered_are_those_there_are() -> None:
    assert set(OFFERED) == set(STRATEGIES)
