"""A small trained model, made through the command line alone; every test works on a copy of its own."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from raie.cli import main
from raie.engine.data.synthetic import SyntheticConfig, drifting_log, write_csv
from raie.registry import Registry
from raie.registry.maintenance import verify
from raie.workspace_file import find

MODEL = "recsys"
LOG = "log.csv"
CONFIG = SyntheticConfig(users=180)
SETUP, FIRST, SECOND = "2024-04-30T00:00:00Z", "2024-05-30T00:00:00Z", "2024-06-29T00:00:00Z"
# No patience: every region trains all its epochs, which is long enough to be stopped half-way.
ENGINE = """
[engine.backbone]
dim = 16
layers = 1
heads = 1
epochs = 2

[engine.regions]
regions = 3

[engine.edit]
shared_epochs = 2
epochs = 20
patience = 0
max_validation = 100
"""


def made(folder: Path) -> Path:
    """The folder as a workspace with a drifting log and its setup."""
    log = drifting_log(CONFIG)
    assert list(log.truth.cuts.values())[:3] == [SETUP, FIRST, SECOND]
    write_csv(log, folder / LOG)
    command(folder, "init")
    with (folder / "raie.toml").open("a", encoding="utf-8") as file:
        file.write(ENGINE)
    command(folder, "setup", str(folder / LOG), "--until", SETUP)
    return folder


def edited(trained: Path, folder: Path) -> Path:
    """A copy of that workspace after one edit that nothing interrupted."""
    shutil.copytree(trained, folder, dirs_exist_ok=True)
    command(folder, "edit", "apply", str(folder / LOG), "--until", FIRST, "--workers", "1")
    return folder


def command(folder: Path, *arguments: str) -> None:
    """Run one command line that must succeed, as nobody but ada."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DATABASE_URL", "STORE", "MODEL", "EXECUTOR", "WORKSPACE", "DEBUG"):
            patch.delenv(f"RAIE_{name}", raising=False)
        patch.setenv("RAIE_ACTOR", "ada")
        assert main.run(["--workspace", str(folder), *arguments]) == 0


def another_without_holdout(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Make the workspace one of another model, which will be set up with nothing held out."""
    file = folder / "raie.toml"
    text = file.read_text(encoding="utf-8").replace("[engine.edit]", "[engine.edit]\nholdout = 0.0001")
    file.write_text(text, encoding="utf-8")
    patch.setenv("RAIE_MODEL", "another")


def opened(folder: Path) -> Registry:
    """The registry of a workspace."""
    return find(folder).registry()


def state(folder: Path) -> tuple[Any, ...]:
    """What no refused command may change: the head, the edits and their states, aliases, and every blob."""
    registry = opened(folder)
    head = registry.head(MODEL)
    return (
        head and head.id,
        [(edit.number, edit.state) for edit in registry.edits(MODEL)],
        registry.aliases(MODEL),
        sorted(blob.digest for blob in registry.store.iterate()),
    )


def head_of(folder: Path) -> str:
    """The id of the head, of a registry in which nothing is damaged or half-written."""
    registry = opened(folder)
    report = verify.verify(registry)
    assert report.ok, report
    head = registry.head(MODEL)
    assert head is not None
    return head.id


def refused(ran: Any, code: int, words: Sequence[str] = ()) -> None:
    """Assert that a command ended in this code with one clear line and nothing else."""
    assert ran.code == code, ran.err
    assert ran.err.startswith("error: "), ran.err
    assert ran.err.count("\n") == 1, ran.err
    assert "this is a bug" not in ran.err
    assert ran.out == ""
    assert [text for text in words if text not in ran.err] == [], ran.err
