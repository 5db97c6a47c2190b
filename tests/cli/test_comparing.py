"""`raie compare`: a table and files from one command, which goes on where it stopped and refuses what cannot run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

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
    assert (ran.code, ran.err) == (0, "")
    for name in ("RAIE", "global LoRA [adapter.rank=2]", "popularity", "never edit"):
        assert name in ran.out
        assert f"| {name} |" in (out / "comparison.md").read_text()
    assert "0 of " in ran.out, "no window of an untouched region changed its rank"
    assert sorted(path.name for path in out.iterdir() if path.stem == "comparison") == FILES
    assert {path.suffix for path in out.iterdir()} >= {".png", ".svg"}
    assert state(compared) == before, "a comparison commits nothing"

    cells = {path: path.stat().st_mtime_ns for path in (compared / ".raie" / "work" / "compare").rglob("*.cell")}
    assert len(cells) == 4 * 2
    again = raie(*command, "--json")
    assert again.json == json.loads((out / "comparison.json").read_text())
    assert {path: path.stat().st_mtime_ns for path in cells} == cells
    more = raie(*command[:-2], "--out", str(out), "--strategies", "markov", "--against", "markov", "--json")
    assert [one["name"] for one in more.json["strategies"]] == ["decayed Markov", "never edit"]
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


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--strategies", "raie,best"), 2, ["'best'", "global-lora"]),
        (("--strategies", "raie[windows.length=3]"), 2, ["the same for all"]),
        (("--strategies", "raie", "--against", "peso"), 2, ["--against", "'peso'"]),
        (("--edits", "500"), 3, ["fewer --edits"]),
        (("--until", "2031-01-01"), 3, ["earlier --until"]),
        (("--ref", "nothing"), 1, ["nothing"]),
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


def test_seeds_are_whole_numbers(ready: Path, raie: Raie) -> None:
    ran = raie("compare", LOG, "--seeds", "1,two")
    assert ran.code == 2
    assert "1,two" in ran.err
